"""LanceDB: a folder of tables, embedded, versioned. The default target, since it needs no server.

A reader pins the version that it saw first, so that a scan is one snapshot even while somebody writes. LanceDB has no unique key:
two rows may stand under one id, and the scan shows both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from vecforensics.arrow_columns import is_vector_type, list_dimension, usual_length
from vecforensics.errors import TargetError, TargetNotThere, printable
from vecforensics.list_lengths import counted_length
from vecforensics.records import target_schema
from vecforensics.stores.keeping import whole_rows
from vecforensics.stores.protocol import Ack, CollectionInfo, Columns, Freshness, VectorReader, VectorWriter
from vecforensics.stores.shape import as_target_batch, own_columns, some_have_ids

__all__ = ["LanceReader", "LanceWriter"]

# A thousand ids make a filter of some 20 KB; LanceDB plans it in about 60 ms.
_FETCH_IDS = 1_000
_FIRST_ROWS = 1_024
_READ_ROWS = 8_192


class LanceReader(VectorReader):
    """Reads the tables of one LanceDB folder."""

    def __init__(self, path: Path, columns: Columns = Columns(), *, uri: str = "") -> None:  # noqa: B008  frozen
        self.uri = uri or f"lancedb:{path}"
        self._path, self._columns = path, columns
        self._lengths: dict[str, tuple[tuple[int, ...], int]] = {}
        if not path.is_dir():
            raise TargetNotThere(
                "there is no such LanceDB folder",
                where=self.uri,
                hint=f"Check {columns.section}.uri in the case file",
            )
        self._db = _connect(path)

    def collections(self) -> list[str]:
        """The names at hand, sorted."""
        names: list[str] = []
        token: str | None = None
        while True:
            page = self._db.list_tables(page_token=token)
            names += page.tables
            token = page.page_token
            if not token:
                return sorted(names)

    def describe(self, collection: str) -> CollectionInfo:
        """Rows, dimension and version of one table."""
        table = self._open(collection)
        rows, without = table.count_rows(), table.count_rows(f"{self._id} IS NULL")
        return CollectionInfo(
            collection,
            rows,
            self._dimension(table, collection),
            f"version {table.version}",
            some_have_ids(without, rows, self._columns, where=f"{self.uri} {collection}"),
        )

    def scan(self, collection: str, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every row of the newest version, as target batches."""
        table = self._open(collection)
        table.checkout(table.version)
        dimension = self._dimension(table, collection)
        for batch in table.search().to_batches(batch_size=batch_rows):
            if batch.num_rows:
                yield as_target_batch(batch, self._columns, dimension, where=f"{self.uri} {collection}")

    def fetch(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids`."""
        table = self._open(collection)
        dimension = self._dimension(table, collection, counted_before=True)
        parts = [target_schema(dimension).empty_table()]
        for start in range(0, len(ids), _FETCH_IDS):
            found = table.search().where(self._filter(ids[start : start + _FETCH_IDS])).to_arrow()
            if found.num_rows:
                batch = as_target_batch(found, self._columns, dimension, where=f"{self.uri} {collection}")
                parts.append(pa.Table.from_batches([batch]))
        return pa.concat_tables(parts)

    def preimage(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids` with every column that the table has."""
        table = self._open(collection)
        parts = [table.schema.empty_table()]
        for start in range(0, len(ids), _FETCH_IDS):
            found = table.search().where(self._filter(ids[start : start + _FETCH_IDS])).to_arrow()
            parts.append(found.select(table.schema.names).cast(table.schema))
        return pa.concat_tables(parts)

    def freshness(self, collection: str) -> Freshness:
        """Embedded and read at the newest version: an acknowledged write is visible."""
        return Freshness(True, "LanceDB reads the newest committed version")

    def write_blocked(self) -> str:
        """By type only: a folder that can be read can be written by another handle."""
        return "the handle has no write method; LanceDB itself cannot refuse a write to a folder that we may write"

    def _open(self, collection: str) -> Any:
        try:
            table = self._db.open_table(collection)
        except (ValueError, FileNotFoundError, RuntimeError) as error:
            there = self.collections()
            if collection in there:
                raise TargetError(
                    f"the table {collection!r} is damaged ({printable(error)})",
                    where=self.uri,
                    hint="Restore it from a copy, or remove its folder",
                ) from None
            raise TargetNotThere(
                f"there is no table {collection!r}",
                where=self.uri,
                hint=f"Check {self._columns.section}.collection; tables there: {', '.join(there) or 'none'}",
            ) from None
        for role in ("id", "vector"):
            name = getattr(self._columns, role)
            if name not in table.schema.names:
                raise TargetError(
                    f"the table {collection!r} has no column {name!r}",
                    where=self.uri,
                    hint=f"Set {self._columns.section}.{role} to one of: {', '.join(table.schema.names)}",
                )
        return table

    def _dimension(self, table: Any, collection: str, *, counted_before: bool = False) -> int:
        kind = table.schema.field(self._columns.vector).type
        if not is_vector_type(kind):
            raise TargetError(
                f"the column {self._columns.vector!r} of {collection!r} holds {kind}, no vectors",
                where=self.uri,
                hint=f"Set {self._columns.section}.vector to the column that holds the vectors",
            )
        return list_dimension(kind) or self._length_of_most(table, collection, counted_before)

    def _length_of_most(self, table: Any, collection: str, counted_before: bool) -> int:
        """The length that most lists of the vector column have, which is read alone, and again only for another version.

        `counted_before`: what was counted for an earlier version will do if the first rows say the same: a writer fetches what it
        wrote after every batch.
        """
        stats = table.stats()
        # Another table of that name may have come to the same version, but hardly with as many rows and bytes.
        same = (table.version, stats["num_rows"], stats["total_bytes"])
        known, length = self._lengths.get(collection, ((), 0))
        if known == same:
            return length
        vector = self._columns.vector
        if counted_before and length and length == usual_length(table.head(_FIRST_ROWS).column(vector)):
            return length
        batches = table.search().select([vector]).to_batches(batch_size=_READ_ROWS)
        length = counted_length((batch.column(0) for batch in batches), stats["num_rows"])
        self._lengths[collection] = same, length
        return length

    def _filter(self, ids: Sequence[str]) -> str:
        quoted = ", ".join("'" + one.replace("'", "''") + "'" for one in ids)
        return f"{self._id} IN ({quoted})"

    @property
    def _id(self) -> str:
        """The id column, as a filter names it."""
        name = self._columns.id.replace("`", "``")
        return f"`{name}`"


class LanceWriter(LanceReader, VectorWriter):
    """A reader that may also change the tables. Upserts go by `merge_insert` on the id."""

    def __init__(self, path: Path, columns: Columns = Columns(), *, uri: str = "") -> None:  # noqa: B008  frozen
        path.mkdir(parents=True, exist_ok=True)
        super().__init__(path, columns, uri=uri)

    def create(self, collection: str, dimension: int) -> None:
        """An empty table with the columns id, vector, metadata."""
        if collection in self.collections():
            return
        schema = pa.schema(
            [
                pa.field(self._columns.id, pa.string(), nullable=False),
                pa.field(self._columns.vector, pa.list_(pa.float32(), dimension)),
                pa.field(self._columns.metadata, pa.string()),
            ]
        )
        self._db.create_table(collection, schema=schema)

    def upsert(self, collection: str, batch: pa.Table, kept: pa.Table | None = None) -> Ack:
        """Replace the rows under the batch's ids, or insert them."""
        table = self._open(collection)
        result = (
            table.merge_insert(self._columns.id)
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute(whole_rows(batch, kept, self._columns, table.schema, where=self.uri))
        )
        return Ack(batch.num_rows, f"version {result.version}")

    def append(self, collection: str, batch: pa.Table) -> Ack:
        """Add rows as they come, without looking for their ids: what a migrator does that only inserts."""
        table = self._open(collection)
        result = table.add(own_columns(batch, self._columns, table.schema, where=self.uri))
        return Ack(batch.num_rows, f"version {result.version}")

    def delete(self, collection: str, ids: Sequence[str]) -> Ack:
        """Remove all rows under `ids`."""
        table = self._open(collection)
        token = ""
        for start in range(0, len(ids), _FETCH_IDS):
            token = f"version {table.delete(self._filter(ids[start : start + _FETCH_IDS])).version}"
        return Ack(len(ids), token)

    def restore(self, collection: str, ids: Sequence[str], rows: pa.Table) -> Ack:
        """Remove what stands under `ids`, then add `rows` as they are: two commits, so that duplicates come back too."""
        ack = self.delete(collection, ids)
        if not rows.num_rows:
            return ack
        return Ack(len(ids), f"version {self._open(collection).add(rows).version}")

    def refuses(self, collection: str, batch: pa.Table) -> str:
        """Why the rows of `batch` have no place in the columns of the table, "" where they have."""
        try:
            own_columns(batch, self._columns, self._open(collection).schema, where=self.uri)
        except TargetError as error:
            return error.what
        return ""

    def optimize(self, collection: str) -> None:
        """Merge the fragments that many small writes leave: after 2,000 of them the next takes 230 ms, then 35 again."""
        self._open(collection).optimize()


def _connect(path: Path) -> Any:
    # Lance logs a warning for every new table; ours is the only voice on the terminal.
    os.environ.setdefault("LANCE_LOG", "error")
    import lancedb

    return lancedb.connect(str(path), read_consistency_interval=timedelta(0))
