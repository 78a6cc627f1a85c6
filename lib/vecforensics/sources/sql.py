"""A table or view of a database, read as a stream through SQLAlchemy; only the columns that the case names are selected.

SQL has no order, and the place of a record in its source is evidence. So rows come in the order of the table's primary key, and
where it has none (a view) in that of the id and then of all other columns that are named: what is still equal then is the same.

Values are taken as the driver gives them. SQLAlchemy's own types would break on what a database lets in and they do not expect,
above all in SQLite, where a column declared DATETIME may hold anything. What only the declaration says is applied where the
value fits: 0 and 1 in a BOOLEAN of SQLite are truth values, JSON text in a column of JSON is what it spells.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.records import FieldType
from vecforensics.sources.columns import wanted_columns
from vecforensics.sources.databases import open_database
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds
from vecforensics.sources.rows import batches_of_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection, Inspector, Select
    from sqlalchemy.types import TypeEngine

__all__ = ["SqlSource"]

# Rows that a server sends at a time. As lists of Python, their vectors come to some tens of megabytes.
_FETCHED: Final = 1_024
_AS_THEY_ARE: Final = frozenset({str, int, float, bool, type(None), Decimal, date, time, dict})
_BYTES: Final = (bytes, bytearray, memoryview)

_Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Table:
    """What the database says of a table or view. `key`: its primary key, empty where it has none."""

    name: str
    schema: str | None
    types: Mapping[str, TypeEngine[Any]]
    key: tuple[str, ...]


class SqlSource:
    """Reads a table or view. The database is asked for it at once, so that what cannot be read is refused early."""

    def __init__(
        self,
        uri: str,
        folder: Path,
        source: Source,
        vector: str | None,
        doubles: Mapping[str, DoubleIds] = NOTHING_KNOWN,
    ) -> None:
        self._source, self._vector, self._doubles = source, vector, doubles
        self._database = open_database(uri, folder, written=uri == source.uri)
        self._wanted = wanted_columns(source, vector)
        self.where = f"{self._database.name}, table {source.table}"
        with self._database.connected() as connection:
            with (
                self._database.refusing(connection, lambda: "cannot be looked at"),
                warnings.catch_warnings(),
            ):
                # Of a type that it does not know, such as pgvector's, SQLAlchemy warns.
                warnings.simplefilter("ignore")
                self._table = self._find(connection)
            self._dialect = connection.dialect.name

    def scan(self, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every record as source batches, in the order of the primary key."""
        if self._vector is not None:
            batch_rows = min(batch_rows, _FETCHED)
        yield from batches_of_rows(
            self._rows, self._source, self._vector, self._doubles, self.where, batch_rows
        )

    def field_types(self) -> dict[str, FieldType]:
        """As the database declares its columns."""
        types = {name: self._field_type(self._table.types[name]) for name in self._source.metadata}
        return {name: kind for name, kind in types.items() if kind is not None}

    def _rows(self, every: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each row, or each `every`-th, with its place: the record's id, since a row of a database has no number."""
        at_id, place, last = self._wanted.index(self._source.id), "", None
        with (
            self._database.connected() as connection,
            self._database.refusing(
                connection, lambda: f"breaks off behind {place}" if place else "cannot be read", self.where
            ),
        ):
            readers = [self._reader(name) for name in self._wanted]
            streamed = connection.execution_options(yield_per=_FETCHED)
            with streamed.execute(self._select(connection)) as rows:
                for number, row in enumerate(rows, 1):
                    if row[at_id] is not None:
                        last = str(row[at_id])
                        place = f"the row with the id {last!r}"
                    else:
                        place = (
                            "the first row"
                            if last is None
                            else f"the row behind the one with the id {last!r}"
                        )
                    if number % every == 0:
                        yield place, self._object(row, readers, place)

    def _object(self, row: Sequence[Any], readers: list[_Read | None], place: str) -> dict[str, Any]:
        found = dict(zip(self._wanted, row, strict=True))
        for (name, value), reader in zip(found.items(), readers, strict=True):
            if reader is None and type(value) in _AS_THEY_ARE:
                continue
            try:
                found[name] = _plain(value) if reader is None else reader(value)
            except _Unfit as unfit:
                raise SourceError(f"{place}: {name!r} {unfit}", where=self.where, hint=unfit.hint) from None
        return found

    def _reader(self, name: str) -> _Read | None:
        """What makes of a column's values what they are, where they do not come as such. An id, or a text that was embedded, is
        what lies there, whatever the column is declared as."""
        from sqlalchemy import types

        kind, source = self._table.types[name], self._source
        if name == self._vector:
            return _vector
        spelt = {source.id, source.version, *source.text, *source.depends_on.values()}
        if self._dialect != "sqlite" or name in spelt:
            return None
        return (
            _flag if isinstance(kind, types.Boolean) else _structure if isinstance(kind, types.JSON) else None
        )

    def _select(self, connection: Connection) -> Select[Any]:
        """The one statement that is sent."""
        import sqlalchemy as sa

        table, dialect = self._table, connection.dialect

        def named(name: str) -> sa.sql.elements.quoted_name:
            # Quoted always, since a word may be reserved in a database that is newer than SQLAlchemy; but where names come with
            # their case changed (Oracle), quotes would make them others.
            return sa.sql.elements.quoted_name(name, None if dialect.requires_name_normalize else True)

        def column(name: str) -> sa.ColumnClause[Any]:
            json_type = dialect.name != "sqlite" and isinstance(table.types[name], sa.types.JSON)
            return sa.column(named(name), table.types[name] if json_type else None)

        def place(one: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
            if dialect.name == "sqlite":
                return sa.collate(one, "BINARY")  # `a` and `A` are two, whatever the table says
            unordered = dialect.name == "postgresql" and _without_order(table.types[str(one.name)])
            return sa.cast(one, sa.Text) if unordered else one

        relation = sa.table(
            named(table.name),
            *(column(name) for name in dict.fromkeys([*self._wanted, *table.key])),
            schema=None if table.schema is None else named(table.schema),
        )
        order: list[sa.ColumnElement[Any]] = [relation.c[name] for name in table.key] or [
            place(relation.c[name]) for name in self._wanted
        ]
        return sa.select(*(relation.c[name] for name in self._wanted)).order_by(*order)

    def _find(self, connection: Connection) -> _Table:
        from sqlalchemy import inspect
        from sqlalchemy.exc import NoSuchTableError

        inspector = inspect(connection)
        for schema, name in _meant(self._source.table, inspector):
            if not inspector.has_table(name, schema=schema):
                continue
            types = {one["name"]: one["type"] for one in inspector.get_columns(name, schema=schema)}
            for wanted in self._wanted:
                if wanted not in types:
                    raise SourceError(
                        f"has no column {wanted!r}",
                        where=self.where,
                        hint=f"Columns there: {', '.join(types)}",
                    )
            try:
                key = inspector.get_pk_constraint(name, schema=schema)["constrained_columns"]
            except (NoSuchTableError, NotImplementedError):  # a view, to some dialects
                key = []
            return _Table(name, schema, types, tuple(key))
        there = f"Tables and views there: {', '.join(_tables(inspector, self._source.table)) or 'none'}"
        if self._source.table is None:
            raise SourceError(
                "source.table is not given", where=self._database.name, hint=f"Name one. {there}"
            )
        raise SourceError(f"has no table {self._source.table!r}", where=self._database.name, hint=there)

    def _field_type(self, kind: TypeEngine[Any]) -> FieldType | None:
        from sqlalchemy import types

        if isinstance(kind, types.DateTime):
            return FieldType.TIME_STAMP
        if isinstance(kind, types.Numeric) and not isinstance(kind, types.Float):
            return FieldType.DECIMAL
        single = {"postgresql": "REAL", "mssql": "REAL", "mysql": "FLOAT", "mariadb": "FLOAT"}.get(
            self._dialect
        )
        return FieldType.SINGLE if type(kind).__name__ == single else None


class _Unfit(ValueError):
    def __init__(self, what: str, hint: str) -> None:
        self.hint = hint
        super().__init__(what)


def _meant(table: str | None, inspector: Inspector) -> Iterator[tuple[str | None, str]]:
    """The schema and name that `table` can stand for: a name may itself hold a dot."""
    if table is None:
        return
    yield None, table
    if "." in table:
        schemas = set(inspector.get_schema_names())
        for at in (at for at, letter in enumerate(table) if letter == "."):
            if table[:at] in schemas:
                yield table[:at], table[at + 1 :]


def _tables(inspector: Inspector, table: str | None) -> list[str]:
    schemas = {schema for schema, _ in _meant(table, inspector)} | {None}
    return sorted(
        name if schema is None else f"{schema}.{name}"
        for schema in schemas
        for name in {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}
    )


def _without_order(kind: TypeEngine[Any]) -> bool:
    """Whether PostgreSQL may have no order for a type: it has one for `jsonb` and none for `json`."""
    from sqlalchemy import types

    return isinstance(kind, types.JSON | types.NullType) and type(kind).__name__ != "JSONB"


def _plain(value: Any) -> Any:
    """A value of a driver as one that has a spelling in ours: an instant in UTC, whatever the zone of the session; what only that
    database has (an address, a range) as its text."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, _BYTES):
        raise _Unfit("holds bytes", "Leave the column out, or read a view that spells them as text")
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _flag(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else _plain(value)


def _structure(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else _plain(value)
    except (ValueError, RecursionError):
        return value


def _vector(value: Any) -> Any:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = value
    if isinstance(value, list | tuple):
        return [float(item) if isinstance(item, Decimal) else item for item in value]
    if found is None or isinstance(found, list):
        return found
    held = "bytes" if isinstance(found, _BYTES) else "text" if isinstance(found, str) else "no list"
    raise _Unfit(
        f"holds {held} where a vector should be",
        "Understood are JSON text ([0.1, 0.2]), a JSON or array column, and pgvector: read a view that has one of these",
    )
