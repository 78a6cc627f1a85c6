"""Parquet, read as a stream of row batches; only the columns that the case names are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from vecforensics.arrow_columns import is_vector_type, list_dimension, usual_length
from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.parquet_files import open_parquet
from vecforensics.sources.columns import source_batch, wanted_columns
from vecforensics.sources.parents import DoubleIds

__all__ = ["ParquetSource"]


class ParquetSource:
    """Reads a .parquet file."""

    def __init__(
        self, path: Path, source: Source, vector: str | None, doubles: Mapping[str, DoubleIds]
    ) -> None:
        self.path, self._source, self._vector, self._doubles = path, source, vector, doubles

    def scan(self, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every record as source batches; the first are read at once."""
        wanted = wanted_columns(self._source, self._vector)
        file = open_parquet(self.path, wanted, SourceError, hint="Set the columns under source")
        return self._batches(file.batches(wanted, batch_rows))

    def _batches(self, raws: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        row, dimension = 0, None
        for raw in raws:
            if self._vector is not None and dimension is None:
                dimension = self._dimension(raw)
            yield source_batch(
                raw, self._source, self._vector, dimension, self.path, row, doubles=self._doubles
            )
            row += raw.num_rows

    def _dimension(self, raw: pa.RecordBatch) -> int:
        column = raw.column(raw.schema.names.index(str(self._vector)))
        if not is_vector_type(column.type):
            raise SourceError(
                f"the column {self._vector!r} holds {column.type}, no vectors",
                where=str(self.path),
                hint="Check expected.column",
            )
        return list_dimension(column.type) or usual_length(column)
