"""The commented case file that `vecforensics init` writes: what a person reads first, so it explains itself.

Given one of the person's own source files, its columns are listed and the likely id and text columns filled in; what is a
guess says so. No embedder is ever filled in: a repair would write its vectors over those of the person's own model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vecforensics.case import CASE_ID, Source
from vecforensics.errors import CaseError, SourceError, printable, without_userinfo
from vecforensics.run_folder import write_whole

__all__ = ["write_case_file"]

_TEMPLATE: Final = """\
# A case file for vecforensics. Relative paths are relative to this file. Check it with: vecforensics collect {name}
case: {case}                # letters, digits, - and _; names the folder under reports/
# title: What happened, in one line     # heads the report

collections:
  {collection}:                       # any name; one entry for each pair of source and target
    source:
      uri: {uri}
                                # .csv .tsv .json .jsonl .parquet (.gz too, but for Parquet), or sqlite:///FILE, env:DATABASE_URL
{columns}      id: {id}                    # the column that identifies a record; ids stay text
      text: [{text}]               # the columns whose text was embedded, in order
      metadata: []              # source columns that the target should carry, e.g. [plan, country]
      # join: " "               # what stands between the text columns
      # version: updated_at     # only where an id may stand on several rows: the highest counts
      # depends_on: {{users: user_id}}   # collection: column with the parent's id
      # table: users            # of a database its table or view; for .json the key that holds the list
    target:
      uri: "{target}"           # lancedb:FOLDER, pinecone:INDEX, or parquet:FILE or FOLDER with one file a collection
      collection: {collection}
      # id: id                  # the target's own column names, where they differ
      # vector: vector
      # metadata: metadata
    # What the vectors should be. A repair writes what is expected, so name the very model that made the target. As long as
    # nothing is, contents are not compared, only ids, duplicates, NaN, zero, dimension and dependencies, and nothing is repaired.
    # Take "# " from the front of one line, the space too:
    # expected: {{embedder: my_model.py:embed}}     # your function: list of texts in, array (n, d) out
{expected}
    # expected: {{uri: "parquet:backup", collection: {collection}}}   # another store that is known to be good
    # expected: {{embedder: hashing-384}}           # n-gram hashing, where that is what made the target

# logs: [migration.log]         # parsed for times, ids, batches and stacks
# suspect: migration.js         # or file.py:function, package.module:function
tolerance: {{cosine: 1.0e-5}}     # cosine distance up to which two vectors are the same
settle_s: 0                     # recheck mismatches younger than this before calling them corrupt
# A password or key is never written here: env:NAME refers to an environment variable.
"""

_ID_NAMES: Final = re.compile(r"(.*_)?(id|uuid|key)$", re.IGNORECASE)
_TEXT_NAMES: Final = re.compile(
    r".*(text|body|bio|content|title|name|description|summary|question)$", re.IGNORECASE
)
_VECTOR_NAMES: Final = re.compile(r".*(embedding|vector)s?$", re.IGNORECASE)


def write_case_file(folder: Path, source: Path | None, target: str) -> Path:
    """Write `folder/case.yaml` and return its path.

    Raises CaseError where one stands there already, SourceError for a source that cannot be read.
    """
    file = folder / "case.yaml"
    if file.exists():
        raise CaseError(
            "there is a case file already", where=str(file), hint="Edit it, or name another folder"
        )
    if without_userinfo(target) != target:
        raise CaseError(
            "user and password do not belong into a case file",
            where=target,
            hint="Keep the address in an environment variable and write env:NAME for it",
        )
    columns = _columns(source) if source is not None else {}
    identity = next((name for name in columns if _ID_NAMES.match(name)), next(iter(columns), "id"))
    texts = [name for name, value in columns.items() if _TEXT_NAMES.match(name) and isinstance(value, str)]
    vector = next(
        (name for name, value in columns.items() if _VECTOR_NAMES.match(name) and isinstance(value, list)),
        None,
    )
    collection = re.sub(r"[^A-Za-z0-9_-]", "-", source.stem.split(".")[0]) if source is not None else "items"
    case = re.sub(r"[^A-Za-z0-9_-]", "-", folder.resolve().name)[:64]
    listed = ", ".join(map(printable, columns))
    text = _TEMPLATE.format(
        name=file,
        case=case if CASE_ID.fullmatch(case) else "my-case",
        collection=collection,
        uri=_quoted(_relative(source, folder)) if source is not None else "items.jsonl",
        columns=f"      # columns of that file: {listed}; id and text below are guesses\n" if columns else "",
        id=_quoted(identity),
        text=", ".join(map(_quoted, texts)) or ("title, body" if not columns else ""),
        target=_target(target, folder),
        expected=f"    expected: {{column: {_quoted(vector)}}}   # a guess: that column of the source holds vectors"
        if vector
        else "    # expected: {column: embedding}               # the source has the right vectors in a column",
    )
    write_whole(file, text)
    return file


def _columns(source: Path) -> Mapping[str, Any]:
    """The columns of a source's first record with their values."""
    name = source.name.removesuffix(".gz")
    if not source.is_file():
        raise SourceError("there is no such file", where=str(source), hint="Name a file with source records")
    if name.endswith(".parquet"):
        from vecforensics.arrow_values import rows_of
        from vecforensics.parquet_files import open_parquet

        batch = open_parquet(source, (), SourceError, hint="").first(None, 1)
        return rows_of(batch.slice(0, 1))[0] if batch is not None and batch.num_rows else {}
    if name.endswith((".csv", ".tsv")):
        from vecforensics.sources.csv import CsvSource

        return dict.fromkeys(CsvSource(source, Source(uri=str(source), id="id"), None).header(), "")
    from vecforensics.sources.json import JsonSource
    from vecforensics.sources.jsonl import JsonLinesSource

    kind = JsonSource if name.endswith(".json") else JsonLinesSource
    first = next(kind(source, Source(uri=str(source), id="id"), None).rows(), None)
    return dict(first[1]) if first is not None and isinstance(first[1], dict) else {}


def _target(uri: str, folder: Path) -> str:
    """The target as the case file has to name it. It was typed as a path from here, like the source's."""
    scheme, _, place = uri.partition(":")
    if scheme in ("lancedb", "parquet") and place and Path(place).exists():
        return f"{scheme}:{_relative(Path(place), folder)}"
    return uri


def _relative(source: Path, folder: Path) -> str:
    try:
        return str(source.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(source.resolve())


def _quoted(text: str) -> str:
    """Text as YAML reads it back: plain where that is safe, else double-quoted."""
    return text if re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", text) else json.dumps(text)
