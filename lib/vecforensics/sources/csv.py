"""CSV and TSV, read as a stream; every value is text, so that an id keeps its leading zeros. An empty unquoted field is null."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc_csv

from vecforensics.arrow_columns import usual_length
from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.sources.columns import source_batch, wanted_columns

__all__ = ["CsvSource"]

_BLOCK_BYTES = 8 << 20


class CsvSource:
    """Reads a .csv or .tsv file, gzipped or not. A vector column holds JSON lists."""

    def __init__(self, path: Path, source: Source, vector: str | None) -> None:
        self.path, self._source, self._vector = path, source, vector

    def scan(self, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every record as source batches."""
        row, dimension = 1, None
        try:
            for block in self._open():
                for start in range(0, block.num_rows, batch_rows):
                    raw = block.slice(start, batch_rows)
                    if self._vector is not None:
                        raw, dimension = self._with_vectors(raw, dimension, row)
                    yield source_batch(raw, self._source, self._vector, dimension, self.path, row)
                    row += raw.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(
                f"broken after row {row - 1} ({error})", where=str(self.path), hint="Mend that row"
            ) from None

    def _open(self) -> pc_csv.CSVStreamingReader:
        header = self.header()
        wanted = wanted_columns(self._source, self._vector)
        for name in wanted:
            if header.count(name) != 1:
                raise SourceError(
                    f"has {'no' if name not in header else 'more than one'} column {name!r}",
                    where=str(self.path),
                    hint=f"Columns there: {', '.join(header)}",
                )
        return pc_csv.open_csv(
            self.path,
            read_options=pc_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=self._parse(),
            convert_options=pc_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def header(self) -> list[str]:
        """The column names."""
        try:
            with pa.input_stream(str(self.path)) as stream:
                first = stream.read(1 << 20)
            # Rows of another width are the scan's to report, with their number.
            reader = pc_csv.open_csv(
                pa.BufferReader(first[: first.rfind(b"\n") + 1] or first),
                parse_options=self._parse(invalid_row_handler=lambda row: "skip"),
            )
            return list(reader.schema.names)
        except OSError as error:
            raise SourceError(
                f"cannot be read ({error})", where=str(self.path), hint="Copy the file again"
            ) from None
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"is no CSV with a header ({error})", where=str(self.path), hint="Put the column names first"
            ) from None

    def _parse(self, **more: Any) -> pc_csv.ParseOptions:
        return pc_csv.ParseOptions(
            delimiter="\t" if ".tsv" in self.path.suffixes else ",", newlines_in_values=True, **more
        )

    def _with_vectors(
        self, raw: pa.RecordBatch, dimension: int | None, row: int
    ) -> tuple[pa.RecordBatch, int]:
        index = raw.schema.names.index(str(self._vector))
        try:
            lists = pa.array(
                [None if t is None else json.loads(t) for t in raw.column(index).to_pylist()],
                pa.list_(pa.float32()),
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise SourceError(
                f"the column {self._vector!r} holds no JSON lists of numbers ({error})",
                where=f"{self.path}, rows from {row}",
                hint="Check expected.column in the case file",
            ) from None
        return raw.set_column(index, str(self._vector), lists), dimension or usual_length(lists)
