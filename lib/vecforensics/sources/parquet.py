"""Parquet, read as a stream of row batches; only the columns that the case names are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from vecforensics.arrow_columns import is_vector_type, list_dimension
from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.parquet_files import ParquetRows, length_of_most, open_parquet
from vecforensics.records import FieldType
from vecforensics.sources.columns import source_batch, wanted_columns
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds

__all__ = ["ParquetSource"]


class ParquetSource:
    """Reads a .parquet file."""

    def __init__(
        self,
        path: Path,
        source: Source,
        vector: str | None,
        doubles: Mapping[str, DoubleIds] = NOTHING_KNOWN,
    ) -> None:
        self.path, self.where = path, str(path)
        self._source, self._vector, self._doubles = source, vector, doubles
        self._wanted = wanted_columns(source, vector)

    def scan(self, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every record as source batches; the first are read at once."""
        file = self._open()
        dimension = self._dimension(file, self._vector) if self._vector is not None and file.rows else None
        return self._batches(file.batches(self._wanted, batch_rows), dimension)

    def field_types(self) -> dict[str, FieldType]:
        """As the file declares its columns."""
        schema = self._open().schema
        types = {name: _field_type(schema.field(name).type) for name in self._source.metadata}
        return {name: kind for name, kind in types.items() if kind is not None}

    def _open(self) -> ParquetRows:
        return open_parquet(self.path, self._wanted, SourceError, hint="Set the columns under source")

    def _batches(self, raws: Iterator[pa.RecordBatch], dimension: int | None) -> Iterator[pa.RecordBatch]:
        row = 0
        for raw in raws:
            yield source_batch(
                raw, self._source, self._vector, dimension, self.path, row, doubles=self._doubles
            )
            row += raw.num_rows

    def _dimension(self, file: ParquetRows, vector: str) -> int:
        kind = file.schema.field(vector).type
        if not is_vector_type(kind):
            raise SourceError(
                f"the column {vector!r} holds {kind}, no vectors",
                where=str(self.path),
                hint="Check expected.column",
            )
        return list_dimension(kind) or length_of_most(file, vector)


def _field_type(kind: pa.DataType) -> FieldType | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        return FieldType.TIME_STAMP
    if pa.types.is_decimal(kind):
        return FieldType.DECIMAL
    if pa.types.is_float32(kind):
        return FieldType.SINGLE
    return FieldType.HALF if pa.types.is_float16(kind) else None
