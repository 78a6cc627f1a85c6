"""The frozen form of both sides: what every stage after collect reads, and what nothing ever changes again.

A collection lies in `evidence/<directory>/` as Arrow IPC files, one set a hash bucket (`xxh3_64(id) mod buckets`):
`source-NNNN` holds the records, `target-NNNN` what the store held, `earlier-NNNN` the lower versions of records, where there
are any. A source row and its target row share a bucket, so a bucket is a task of its own. Vectors are fixed-size lists,
uncompressed, which a reader maps instead of decoding; a target vector of another length stands in `ragged`. Beside the columns
of `records.py` a row has

* `position`: its row number in the source, or in the scan of the target, from 0; * `id_hash`: xxh3_64 of the id's UTF-8, by
which buckets are cut and joined; * `digest`: xxh3_64 of the vector's bytes, 0 where it holds a NaN or an infinity, null where
there is no vector of the right length; * `rank`, of earlier versions only: the place of this one among those of its record, 0 for
the lowest.

`evidence.json` is written last and names every file with its SHA-256; without it nothing here counts as evidence. Each side also
has a digest of its *content*, the sum over its rows of a 128-bit hash of everything in the row but its position: bucket count,
batch sizes and the order of rows do not change it, so two runs over the same data can be compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import markupsafe
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vecforensics.arrow_columns import as_numpy, numbers, present
from vecforensics.errors import EvidenceError, VecforensicsError, printable
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import NO_ID, canonical_json

__all__ = [
    "FORMAT",
    "INDEX",
    "SAMPLE",
    "Bucket",
    "Evidence",
    "FrozenCollection",
    "damage_named",
    "directory_name",
    "hash_text",
]

FORMAT: Final = 4
INDEX: Final = "evidence.json"
SAMPLE: Final = "sample.arrow"
SIDES: Final = ("source", "target", "earlier")


def bucket_file(side: str, bucket: int) -> str:
    """The name of the file that holds one side of one bucket, in the folder of its collection."""
    return f"{side}-{bucket:04d}.arrow"


# Columns of a source side that freezing makes; `position` is given out with the record.
_ADDED: Final = frozenset({"id_hash", "digest", "sketch"})

_PLAIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def directory_name(collection: str) -> str:
    """A folder name for a collection whose name a stranger chose: plain lower-case names as they are, others with a hash."""
    if _PLAIN_NAME.fullmatch(collection):
        return collection
    slug = re.sub(r"[^a-z0-9]+", "-", collection.casefold()).strip("-")[:32] or "collection"
    return f"{slug}-{xxhash.xxh3_64_hexdigest(collection.encode('utf-8', 'surrogatepass'))}"


def hash_text(column: pa.Array) -> npt.NDArray[np.uint64]:
    """xxh3_64 of each text's UTF-8 bytes, uint64 (n,); 0 for a null."""
    # Bytes, since a stranger's text need not be valid UTF-8.
    texts = column.cast(
        pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
    ).to_pylist()
    if column.null_count:
        texts = [b"" if text is None else text for text in texts]
    hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, texts), np.uint64, len(texts))
    hashes[~present(column)] = 0
    return hashes


@dataclass(frozen=True, slots=True)
class Bucket:
    """One hash bucket of a collection: memory-mapped tables. `earlier` is empty where no record has earlier versions."""

    source: pa.Table
    target: pa.Table
    earlier: pa.Table


@dataclass(frozen=True, slots=True)
class FrozenCollection:
    """What the index says of one collection.

    `dimension`: length of the expected vectors, or without them the usual length in the target. `rows` by side. `expected`: how
    the expected vectors came about (`hashing-384`, `column embedding`, …), None where there are none. `metadata`: the source
    fields that the target should carry. `facts`: what the reader of the store said of itself. `digests` by side.
    """

    name: str
    directory: str
    dimension: int
    buckets: int
    rows: Mapping[str, int]
    parents: tuple[str, ...]
    metadata: tuple[str, ...]
    expected: str | None
    digests: Mapping[str, str]
    facts: Mapping[str, Any]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person has to know of the target before anything is said of its rows: that there are none, and why, or that
        some have no id."""
        without = self.without_id
        rows, they = ("1 row has", "it is") if without == 1 else (f"{without:,} rows have", "they are")
        said = f"{rows} no id (null) in the target; {they} shown under the id {NO_ID!r}, and must be removed by hand"
        return tuple(filter(None, [self.facts.get("note"), said if without else None]))

    @property
    def without_id(self) -> int:
        """How many rows of the target have no id; they are frozen under `NO_ID`."""
        return int(self.facts.get("without_id", 0))

    def as_dict(self) -> dict[str, Any]:
        """The entry of the index."""
        return {
            "directory": self.directory,
            "dimension": self.dimension,
            "buckets": self.buckets,
            "rows": dict(self.rows),
            "parents": list(self.parents),
            "metadata": list(self.metadata),
            "expected": self.expected,
            "digests": dict(self.digests),
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """A frozen evidence folder, read-only.

    `files` maps each file (relative to `path`) to its SHA-256; `facts` are the collector's own (when it ran, with what).
    """

    path: Path
    collections: Mapping[str, FrozenCollection]
    files: Mapping[str, str]
    facts: Mapping[str, Any]
    _opened: dict[str, pa.Table] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path) -> Evidence:
        """Read the index in `path`. Raises EvidenceError where there is none, or one that this version cannot read."""
        folder = Path(path)
        file = folder / INDEX
        try:
            index = json.loads(file.read_text(encoding="utf-8"))
            if index["format"] != FORMAT:
                raise EvidenceError(
                    f"is evidence of format {index['format']}; this version reads {FORMAT}",
                    where=str(file),
                    hint="Collect again with this version",
                )
            collections = {name: _collection(name, entry) for name, entry in index["collections"].items()}
            return cls(folder, collections, dict(index["files"]), dict(index["facts"]))
        except FileNotFoundError:
            raise EvidenceError(
                "no evidence has been frozen here", where=str(folder), hint="Run first: vecforensics collect"
            ) from None
        except OSError as error:
            raise EvidenceError(
                f"the index cannot be read ({error.strerror})", where=str(file), hint="Collect again"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvidenceError(
                f"the index is damaged ({type(error).__name__}: {error})",
                where=str(file),
                hint="Collect again",
            ) from None

    @property
    def digest(self) -> str:
        """SHA-256 over the content of all collections; the same for the same data, whatever the files look like."""
        content = {
            name: {
                key: value
                for key, value in one.as_dict().items()
                if key not in {"buckets", "facts", "directory"}
            }
            # By these it is decided which metadata are the same.
            | {key: one.facts[key] for key in ("source_types",) if one.facts.get(key)}
            for name, one in self.collections.items()
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()

    @property
    def sampled(self) -> bool:
        """Whether an embedder made vectors for a sample of the records only; which, `SAMPLE` says."""
        return SAMPLE in self.files

    def in_order(self, names: Iterable[str]) -> Evidence:
        """The same, with its collections shown in the order of `names`; what they do not name follows."""
        order = {name: number for number, name in enumerate(names)}
        known = sorted(self.collections, key=lambda name: order.get(name, len(order)))
        return replace(self, collections={name: self.collections[name] for name in known})

    def verify(self) -> tuple[str, ...]:
        """One line for each file that is absent or no longer what was frozen; empty when everything is as it was."""
        wrong = []
        for name, recorded in sorted(self.files.items()):
            try:
                with (self.path / name).open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                wrong.append(f"{name}: cannot be read ({error.strerror})")
                continue
            if found != recorded:
                wrong.append(f"{name}: SHA-256 {found[:16]}… instead of {recorded[:16]}…")
        return tuple(wrong)

    def collection(self, name: str) -> FrozenCollection:
        """One collection's index entry. Raises EvidenceError naming those that there are."""
        try:
            return self.collections[name]
        except KeyError:
            raise EvidenceError(
                f"no collection {name!r} was frozen",
                where=str(self.path),
                hint="There are: " + ", ".join(sorted(self.collections)),
            ) from None

    def table(self, name: str, side: str, bucket: int) -> pa.Table:
        """One side of one bucket, memory-mapped: nothing is copied until it is touched."""
        one = self.collection(name)
        relative = f"{one.directory}/{bucket_file(side, bucket)}"
        if side == "earlier" and relative not in self.files:
            none = self.table(name, "source", bucket).slice(0, 0)
            return none.append_column("rank", numbers(np.empty(0, np.int64)))
        if relative in self._opened:
            return self._opened[relative]
        path = self.path / relative
        try:
            with pa.memory_map(str(path)) as mapped:
                table = pa.ipc.open_file(mapped).read_all()
            _check(table, sum(one.rows[of] for of in SIDES if (of == "target") == (side == "target")))
        except (OSError, pa.ArrowException) as error:
            raise EvidenceError(
                f"is damaged ({printable(error)})", where=str(path), hint="Collect again"
            ) from None
        self._opened[relative] = table
        return table

    def bucket(self, name: str, bucket: int) -> Bucket:
        """All sides of one bucket."""
        source, target, earlier = (self.table(name, side, bucket) for side in SIDES)
        return Bucket(source, target, earlier)

    def iter_source(self, name: str, batch_rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """The records in the order of the source: the columns of a source batch and `position`; newest versions only.

        The buckets are merged window by window, so memory is bounded by `batch_rows` rows.
        """
        one = self.collection(name)
        tables = [
            table.select([column for column in table.schema.names if column not in _ADDED])
            for table in (self.table(name, "source", number) for number in range(one.buckets))
        ]
        positions = [as_numpy(table["position"].combine_chunks()) for table in tables]
        last = max((int(column[-1]) for column in positions if len(column)), default=-1)
        for start in range(0, last + 1, batch_rows):
            parts = []
            for table, column in zip(tables, positions, strict=True):
                low, high = np.searchsorted(column, (start, start + batch_rows))
                if high > low:
                    parts.append(table.slice(low, high - low))
            if not parts:
                continue
            window = pa.concat_tables(parts)
            try:
                window["text"].validate(full=True)
            except pa.ArrowInvalid as error:
                raise EvidenceError(
                    f"the texts of {name!r} are damaged ({error})", where=str(self.path), hint="Collect again"
                ) from None
            if len(parts) > 1:
                window = window.take(
                    numbers(np.argsort(as_numpy(window["position"].combine_chunks()), kind="stable"))
                )
            yield window.combine_chunks().to_batches()[0]

    def __str__(self) -> str:
        lines = [f"Evidence in {printable(self.path)}"]
        for name, one in self.collections.items():
            lines.append(
                f"  {printable(name)}: {one.rows['source']:,} records, {one.rows['target']:,} vectors of {one.dimension}"
                + (f", expected by {printable(one.expected)}" if one.expected else ", no expected vectors")
            )
            lines += [f"    {printable(note)}" for note in one.notes]
        return "\n".join([*lines, f"  content digest {self.digest}"])

    def _repr_html_(self) -> str:
        rows = markupsafe.Markup("").join(
            markupsafe.Markup(
                "<tr><td style='text-align:left'>{}</td><td>{:,}</td><td>{:,}</td><td>{:,}</td><td>{}</td>"
                "<td style='text-align:left'>{}</td></tr>"
            ).format(
                name,
                one.rows["source"],
                one.rows["target"],
                one.rows.get("earlier", 0),
                one.dimension,
                one.expected or "none",
            )
            for name, one in self.collections.items()
        )
        left, right = "<th style='text-align:left'>", "<th>"
        titles = ("records", "vectors", "earlier versions", "dimension")
        head = f"<tr>{left}collection</th>{''.join(f'{right}{title}</th>' for title in titles)}{left}expected by</th></tr>"
        notes = markupsafe.Markup("").join(
            markupsafe.Markup("<p>{}: {}</p>").format(name, note)
            for name, one in self.collections.items()
            for note in one.notes
        )
        return f"<table>{head}{rows}</table>{notes}<p>content digest <code>{self.digest}</code></p>"


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """What breaks on evidence that is no longer what was frozen ends in an EvidenceError that says so; the digests decide."""
    try:
        yield
    except VecforensicsError:
        raise
    except Exception as error:
        damaged = Evidence.open(folder).verify()
        if not damaged:
            raise
        raise EvidenceError(
            f"the evidence is damaged ({damaged[0]})", where=str(folder), hint="Collect again"
        ) from error


def _check(table: pa.Table, rows: int) -> None:
    """What one wrong byte could turn into a read beyond the file, or into more memory than there is: `rows` bounds positions.

    The texts of the source are left out: only `iter_source` gives them to anybody.
    """
    table.validate()
    for column in table.schema:
        if column.name != "text" and (pa.types.is_string(column.type) or pa.types.is_list(column.type)):
            table[column.name].validate(full=True)
    bounds = pc.min_max(table["position"])
    if table.num_rows and not 0 <= bounds["min"].as_py() <= bounds["max"].as_py() < rows:
        raise pa.ArrowInvalid(f"{rows} rows, and a position {bounds['max']}")


def _collection(name: str, entry: Mapping[str, Any]) -> FrozenCollection:
    directory = str(entry["directory"])
    if directory != directory_name(name):
        raise ValueError(f"collection {name!r} lies in {directory!r}")
    one = FrozenCollection(
        name=name,
        directory=directory,
        dimension=int(entry["dimension"]),
        buckets=int(entry["buckets"]),
        rows={side: int(entry["rows"][side]) for side in SIDES},
        parents=tuple(entry["parents"]),
        metadata=tuple(entry["metadata"]),
        expected=entry["expected"],
        digests=dict(entry["digests"]),
        facts=dict(entry["facts"]),
    )
    # What is no number and no known type is found here, and not in the midst of a diff.
    _ = one.without_id, MetadataRule.of(one.facts)
    return one
