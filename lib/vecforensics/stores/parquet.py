"""Parquet: a dump of a store, one file a collection, with the columns `id`, `vector` and, where there is any, `metadata`
as JSON text.

The reader of a dump cannot be late or stale, so it is also what tests and backups use. The writer replaces the whole file, since
Parquet knows no update; it is meant for dumps that fit on one machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics.arrow_columns import id_text, is_vector_type, list_dimension, whole
from vecforensics.errors import TargetError, TargetNotThere
from vecforensics.parquet_files import ParquetRows, length_of_most, open_parquet
from vecforensics.records import target_schema
from vecforensics.stores.keeping import whole_rows
from vecforensics.stores.protocol import Ack, CollectionInfo, Columns, Freshness, VectorReader, VectorWriter
from vecforensics.stores.shape import as_target_batch, some_have_ids

__all__ = ["ParquetReader", "ParquetWriter"]


class ParquetReader(VectorReader):
    """Reads `PATH/<collection>.parquet`, or the one file PATH whatever the collection is called."""

    def __init__(self, path: Path, columns: Columns = Columns(), *, uri: str = "") -> None:  # noqa: B008  frozen
        self.uri = uri or f"parquet:{path}"
        self._path, self._columns = path, columns
        self._lengths: dict[Path, tuple[tuple[int, ...], int]] = {}
        if not path.exists():
            raise TargetNotThere(
                "there is no such file or folder",
                where=self.uri,
                hint=f"Check {columns.section}.uri in the case file",
            )

    def collections(self) -> list[str]:
        """The names at hand, sorted."""
        return (
            sorted(p.stem for p in self._path.glob("*.parquet")) if self._path.is_dir() else [self._path.stem]
        )

    def describe(self, collection: str) -> CollectionInfo:
        """Rows and dimension; a list column has the length that most of its rows have."""
        file = self._open(collection)
        without = some_have_ids(
            file.nulls(self._columns.id), file.rows, self._columns, where=f"{self.uri} {collection}"
        )
        return CollectionInfo(collection, file.rows, self._dimension(file), without_id=without)

    def scan(self, collection: str, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every row, as target batches; the first are read at once."""
        file = self._open(collection)
        dimension, where = self._dimension(file), f"{self.uri} {collection}"
        batches = file.batches(None, batch_rows)
        return (as_target_batch(batch, self._columns, dimension, where=where) for batch in batches)

    def fetch(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids`; reads the whole file, since Parquet has no index."""
        wanted, file = pa.array(list(ids), pa.string()), self._open(collection)
        dimension, where = self._dimension(file), f"{self.uri} {collection}"
        parts = [target_schema(dimension).empty_table()]
        for batch in file.batches(None, 8_192):
            found = batch.filter(pc.is_in(self._ids(batch), value_set=wanted))
            if found.num_rows:
                shaped = as_target_batch(found, self._columns, dimension, where=where)
                parts.append(pa.Table.from_batches([shaped]))
        return pa.concat_tables(parts)

    def preimage(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids` with every column that the file has."""
        file = self._open(collection)
        if not ids:
            return file.schema.empty_table()
        rows = file.table()
        return rows.filter(pc.is_in(self._ids(rows), value_set=pa.array(list(ids), pa.string())))

    def freshness(self, collection: str) -> Freshness:
        """A file is what it is."""
        return Freshness(True, "a Parquet file does not change while it is read")

    def write_blocked(self) -> str:
        """By type only."""
        return "the handle has no write method and opens the file for reading"

    def _file(self, collection: str) -> Path:
        if not self._path.is_dir():
            return self._path
        if collection not in self.collections():
            known = ", ".join(self.collections()) or "none"
            raise TargetNotThere(
                f"there is no {collection!r}.parquet",
                where=self.uri,
                hint=f"Check {self._columns.section}.collection; collections there: {known}",
            )
        return self._path / f"{collection}.parquet"

    def _open(self, collection: str) -> ParquetRows:
        wanted, section = [self._columns.id, self._columns.vector], self._columns.section
        hint = f"Set {section}.id and {section}.vector"
        return open_parquet(self._file(collection), wanted, TargetError, hint=hint)

    def _ids(self, rows: pa.Table | pa.RecordBatch) -> pa.Array:
        """The ids as text; null where a row has none."""
        column = rows.column(self._columns.id)
        ids = whole(column) if isinstance(column, pa.ChunkedArray) else column
        return id_text(ids, TargetError, where=self.uri, nulls_allowed=True)

    def _dimension(self, file: ParquetRows) -> int:
        kind = file.schema.field(self._columns.vector).type
        if not is_vector_type(kind):
            raise TargetError(
                f"the column {self._columns.vector!r} holds {kind}, no vectors",
                where=self.uri,
                hint=f"Set {self._columns.section}.vector to the column that holds the vectors",
            )
        if list_dimension(kind):
            return list_dimension(kind)
        # Asked several times in a run; a writer may have put another file there since.
        there = file.path.stat()
        same = (there.st_ino, there.st_size, there.st_mtime_ns)
        known, length = self._lengths.get(file.path, ((), 0))
        if known != same:
            length = length_of_most(file, self._columns.vector)
            self._lengths[file.path] = same, length
        return length


class ParquetWriter(ParquetReader, VectorWriter):
    """Rewrites a collection's file: the new one is complete before it takes the name."""

    def __init__(self, path: Path, columns: Columns = Columns(), *, uri: str = "") -> None:  # noqa: B008  frozen
        if path.suffix != ".parquet":
            path.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(path, _empty(columns, 0))
        super().__init__(path, columns, uri=uri)

    def create(self, collection: str, dimension: int) -> None:
        """An empty file where there is none."""
        if collection not in self.collections() and self._path.is_dir():
            self._replace(self._path / f"{collection}.parquet", _empty(self._columns, dimension))

    def upsert(self, collection: str, batch: pa.Table, kept: pa.Table | None = None) -> Ack:
        """Replace the rows under the batch's ids, or add them at the end."""
        others = self._without(self._open(collection).table(), batch.column("id"))
        new = self._shaped(batch, kept, others.schema, others.num_rows)
        self._replace(self._file(collection), pa.concat_tables([_in(others, new.schema), new]))
        return Ack(batch.num_rows)

    def refuses(self, collection: str, batch: pa.Table) -> str:
        """Why the rows of `batch` have no place in the columns of the file, "" where they have."""
        file = self._open(collection)
        try:
            self._shaped(batch, None, file.schema, file.rows)
        except TargetError as error:
            return error.what
        return ""

    def delete(self, collection: str, ids: Sequence[str]) -> Ack:
        """Remove all rows under `ids`."""
        kept = self._without(self._open(collection).table(), pa.array(list(ids), pa.string()))
        self._replace(self._file(collection), kept)
        return Ack(len(ids))

    def restore(self, collection: str, ids: Sequence[str], rows: pa.Table) -> Ack:
        """One new file without what stood under `ids` and with `rows` at its end.

        Columns that the file has got since are gone again, unless they hold something. Where a migration replaced every row, the
        vectors may have another type now; the rows put back bring their own again.
        """
        kept = self._without(self._open(collection).table(), pa.array(list(ids), pa.string()))
        schema = rows.schema
        for name in kept.column_names:
            if name not in schema.names and kept.column(name).null_count < kept.num_rows:
                schema = schema.append(kept.schema.field(name).with_nullable(True))
        at, mine = schema.get_field_index(self._columns.vector), kept.schema.field(self._columns.vector).type
        if list_dimension(mine) != list_dimension(schema.field(at).type) and kept.num_rows:
            try:
                kept.column(self._columns.vector).cast(schema.field(at).type)
            except pa.ArrowInvalid:
                schema = schema.set(at, schema.field(at).with_type(pa.list_(mine.value_type)))
        self._replace(self._file(collection), pa.concat_tables([_in(kept, schema), _in(rows, schema)]))
        return Ack(len(ids))

    def _without(self, rows: pa.Table, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
        return rows.filter(pc.invert(pc.is_in(self._ids(rows), value_set=ids)))

    def _shaped(self, batch: pa.Table, kept: pa.Table | None, schema: pa.Schema, others: int) -> pa.Table:
        """Our rows in the columns of the file, `schema`, of which `others` rows stay. A column for metadata is made where
        there is none at all."""
        names = self._columns
        ours = {names.id, names.vector, names.metadata}
        asked_for = any(json.loads(text or "{}") for text in batch.column("metadata").to_pylist())
        if asked_for and not any(
            name == names.metadata or (name not in ours and name[:1] != "_") for name in schema.names
        ):
            schema = schema.append(pa.field(names.metadata, pa.string()))
        at, size = schema.get_field_index(names.vector), list_dimension(batch.schema.field("vector").type)
        vector = schema.field(at)
        held = list_dimension(vector.type)
        if held != size and (held or not others):
            number = vector.type.value_type
            schema = schema.set(at, vector.with_type(pa.list_(number) if others else pa.list_(number, size)))
        return whole_rows(batch, kept, names, schema, where=self.uri)

    @staticmethod
    def _replace(path: Path, table: pa.Table) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(table, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _in(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in the columns of `schema`: those that they lack are null, those that it lacks are left out."""
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _empty(columns: Columns, dimension: int) -> pa.Table:
    vector = pa.list_(pa.float32(), dimension) if dimension else pa.list_(pa.float32())
    return pa.schema(
        [(columns.id, pa.string()), (columns.vector, vector), (columns.metadata, pa.string())]
    ).empty_table()
