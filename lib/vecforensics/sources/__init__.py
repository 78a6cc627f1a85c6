"""Source records, one format a file; `open_source` chooses by the ending of the URI, or by its scheme.

    .csv .tsv           comma or tab separated, with a header; all values are text (also .gz)
    .json               a list of objects, or an object whose key `table` holds one
    .jsonl .ndjson      one object a line (also .gz)
    .parquet            typed columns
    sqlite:///PATH, postgresql://HOST/NAME, ...     a table or view of any database that SQLAlchemy knows

Only the columns that the case file names are read: what is not named cannot end up in a report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from vecforensics.case import Case, Source, resolve_env
from vecforensics.errors import SourceError
from vecforensics.records import FieldType
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds, are_doubles

__all__ = ["SourceReader", "format_of", "open_source", "open_sources"]

_FORMATS: Final = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
_SQLITE: Final = b"SQLite format 3\0"


class SourceReader(Protocol):
    """Reads one source, read-only and in order. Errors are SourceError with the row or line as the place.

    `where`: the source as messages call it.
    """

    where: str

    def scan(self, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every record as source batches (`records.source_schema`), in the order of the source."""
        ...

    def field_types(self) -> dict[str, FieldType]:
        """Of which type the metadata fields are, where their JSON does not show it."""
        ...


def open_sources(case: Case, *, vectors: bool = False) -> dict[str, SourceReader]:
    """A reader of each collection's source; `vectors`: with the expected vectors, where the source has them."""

    @cache
    def doubles(collection: str) -> bool:
        one = case.collections[collection].source
        bare = Source(uri=one.uri, id=one.id, table=one.table)
        first = next(open_source(bare, case.folder).scan(), None)
        return first is not None and are_doubles(first["id"])

    return {
        name: open_source(
            one.source,
            case.folder,
            vector=one.expected.column if vectors and one.expected else None,
            doubles={parent: partial(doubles, parent) for parent in one.source.depends_on},
        )
        for name, one in case.collections.items()
    }


def open_source(
    source: Source,
    folder: Path,
    *,
    vector: str | None = None,
    doubles: Mapping[str, DoubleIds] = NOTHING_KNOWN,
) -> SourceReader:
    """A reader of `source`. `vector`: the column that holds the expected vectors, where the source has one. `doubles`: by parent
    collection, whether its ids are doubles; where nothing is said they count as such.

    `folder`: where a relative path starts. Raises SourceError where there is no such file or table, or its format is unknown;
    MissingExtra for a database without SQLAlchemy.
    """
    uri = resolve_env(source.uri, where="source.uri")
    if "://" in uri and not uri.startswith("file://"):
        from vecforensics.sources.sql import SqlSource

        return SqlSource(uri, folder, source, vector, doubles)
    path = Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else (folder / uri).resolve()
    if not path.is_file():
        raise SourceError("there is no such file", where=str(path), hint="Check source.uri in the case file")
    match format_of(path, folder):
        case ".csv" | ".tsv":
            from vecforensics.sources.csv import CsvSource

            return CsvSource(path, source, vector, doubles)
        case ".jsonl" | ".ndjson":
            from vecforensics.sources.jsonl import JsonLinesSource

            return JsonLinesSource(path, source, vector, doubles)
        case ".json":
            from vecforensics.sources.json import JsonSource

            return JsonSource(path, source, vector, doubles)
    from vecforensics.sources.parquet import ParquetSource

    return ParquetSource(path, source, vector, doubles)


def format_of(path: Path, folder: Path = Path()) -> str:
    """The ending that says which format a file has, without `.gz`. Raises SourceError for one that is not read as a file."""
    with path.open("rb") as file:
        begins = file.read(len(_SQLITE))
    if begins == _SQLITE:
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        raise SourceError(
            "is an SQLite database, of which one table or view is read",
            where=str(path),
            hint=f'In the case file, and relative to it, write uri: "sqlite:///{shown.as_posix()}" and table: NAME',
        )
    endings = path.suffixes[-2:-1] if path.suffix == ".gz" else path.suffixes[-1:]
    ending = "".join(endings)
    if ending not in _FORMATS:
        raise SourceError(
            f"unknown format {path.suffix or path.name!r}",
            where=str(path),
            hint=f"Known: {', '.join(_FORMATS)}",
        )
    return ending
