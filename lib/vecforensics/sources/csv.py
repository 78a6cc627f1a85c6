"""CSV and TSV, read as a stream; every value is text, so that an id keeps its leading zeros. An empty unquoted field is null.

A quote that is opened and never closed swallows all rows behind it, and Arrow takes the end of the file for its end without a
word. So one more row is read behind the last: where that does not come out, something swallowed it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

from vecforensics.arrow_columns import as_numpy, flags, numbers
from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.list_lengths import commonest
from vecforensics.records import FieldType
from vecforensics.sources.columns import source_batch, wanted_columns
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds

__all__ = ["CsvSource"]

_BLOCK_BYTES = 8 << 20
# One row in so many is looked at beyond the first batch: no stretch that could be most of a file is shorter.
_LOOKED_AT = 64
# A JSON list that is not empty.
_FILLED = r"^\s*\[\s*[^\]\s]"


class CsvSource:
    """Reads a .csv or .tsv file, gzipped or not. A vector column holds JSON lists."""

    def __init__(
        self,
        path: Path,
        source: Source,
        vector: str | None,
        doubles: Mapping[str, DoubleIds] = NOTHING_KNOWN,
    ) -> None:
        self.path, self.where = path, str(path)
        self._source, self._vector, self._doubles = source, vector, doubles

    def scan(self, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every record as source batches."""
        row, dimension = 1, None
        wanted = wanted_columns(self._source, self._vector)
        end, ended = uuid.uuid4().hex, False
        try:
            for block in self._open(end, wanted):
                ended = bool(block.num_rows) and block.column(self._source.id)[-1].as_py() == end
                block = block.slice(0, block.num_rows - ended)
                for start in range(0, block.num_rows, batch_rows):
                    raw = block.slice(start, batch_rows)
                    if self._vector is not None:
                        if dimension is None:
                            dimension = self._length_of_most(self._vector, raw.column(self._vector))
                        raw = self._with_vectors(raw, row)
                    yield source_batch(
                        raw,
                        self._source,
                        self._vector,
                        dimension,
                        self.path,
                        row,
                        doubles=self._doubles,
                        typed=False,
                    )
                    row += raw.num_rows
        except pa.ArrowInvalid as error:
            raise self._broken(error, row - 1) from None
        except OSError as error:
            raise SourceError(
                f"breaks off after row {row - 1} ({error})", where=str(self.path), hint="Copy the file again"
            ) from None
        if not ended:
            raise self._open_quote()

    def field_types(self) -> dict[str, FieldType]:
        """None has one."""
        return dict.fromkeys(self._source.metadata, FieldType.UNTYPED)

    def _open(self, end: str, wanted: Sequence[str]) -> pc_csv.CSVStreamingReader:
        """The rows of the `wanted` columns, and behind them one with `end` in each column."""
        header = self.header()
        for name in wanted:
            if header.count(name) != 1:
                raise SourceError(
                    f"has {'no' if name not in header else 'more than one'} column {name!r}",
                    where=str(self.path),
                    hint=f"Columns there: {', '.join(header)}",
                )
        last = self._delimiter.join([end] * len(header))
        return pc_csv.open_csv(
            _Extended(pa.input_stream(str(self.path)), f"\n{last}\n".encode()),
            read_options=pc_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=self._parse(),
            convert_options=pc_csv.ConvertOptions(
                include_columns=list(wanted),
                column_types=dict.fromkeys(wanted, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _broken(self, error: pa.ArrowInvalid, row: int) -> SourceError:
        """What Arrow met after `row`, in words that help."""
        if "UTF8" in str(error):
            return self._not_utf_8()
        if "straddling" in str(error):
            return self._open_quote()
        return SourceError(f"broken after row {row} ({error})", where=str(self.path), hint="Mend that row")

    def _not_utf_8(self) -> SourceError:
        """Says where: the first byte that is not, counted from 0 like the line from 1."""
        decoder, line, place = codecs.getincrementaldecoder("utf-8")(), 1, 0
        with pa.input_stream(str(self.path)) as stream:
            while block := stream.read(_BLOCK_BYTES):
                held = len(decoder.getstate()[0])
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    line += block[: max(error.start - held, 0)].count(b"\n")
                    place += error.start - held
                    break
                line, place = line + block.count(b"\n"), place + len(block)
        return SourceError(
            f"line {line} is not UTF-8 (byte {place} of the file)",
            where=str(self.path),
            hint="Save it as UTF-8",
        )

    def _open_quote(self) -> SourceError:
        """Says where: Arrow counts rows, and Python's own reader also the lines."""
        line = 1
        with pa.input_stream(str(self.path)) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
            records = csv.reader(text, delimiter=self._delimiter, strict=True)
            try:
                for _ in records:
                    line = records.line_num + 1
            except csv.Error:
                pass
        return SourceError(
            f"a quote that is opened on line {line} is not closed, and swallows what follows",
            where=str(self.path),
            hint='Close it; a quote inside a quoted field is written twice: ""',
        )

    def header(self) -> list[str]:
        """The column names."""
        try:
            with pa.input_stream(str(self.path)) as stream:
                first = stream.read(1 << 20)
            # Rows of another width are the scan's to report, with their number.
            reader = pc_csv.open_csv(
                pa.BufferReader(first[: first.rfind(b"\n") + 1] or first + b"\n"),
                parse_options=self._parse(invalid_row_handler=lambda row: "skip"),
            )
            return list(reader.schema.names)
        except UnicodeDecodeError:
            raise self._not_utf_8() from None
        except OSError as error:
            raise SourceError(
                f"cannot be read ({error})", where=str(self.path), hint="Copy the file again"
            ) from None
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"is no CSV with a header ({error})", where=str(self.path), hint="Put the column names first"
            ) from None

    @property
    def _delimiter(self) -> str:
        return "\t" if ".tsv" in self.path.suffixes else ","

    def _parse(self, **more: Any) -> pc_csv.ParseOptions:
        return pc_csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True, **more)

    def _length_of_most(self, vector: str, first: pa.StringArray) -> int:
        """The length that most of the expected vectors have: of all rows, since those of one length may stand together. All are
        counted only where some of the `first`, or of a few all over the file, have another length than the others."""
        counts = _lengths(first)
        try:
            for block in self._open("", [vector]):
                counts += _lengths(block.column(0).take(numbers(np.arange(0, block.num_rows, _LOOKED_AT))))
            if len(counts) != 1:
                counts = Counter()
                for block in self._open("", [vector]):
                    counts += _lengths(block.column(0))
        except (pa.ArrowInvalid, OSError):
            # What is broken is for the scan to report, which knows the row.
            pass
        return commonest(counts)

    def _with_vectors(self, raw: pa.RecordBatch, row: int) -> pa.RecordBatch:
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
        return raw.set_column(index, str(self._vector), lists)


def _lengths(cells: pa.StringArray) -> Counter[int]:
    """How many JSON lists there are of each length. One of numbers has one comma less than numbers: none has to be decoded."""
    commas = as_numpy(pc.count_substring(cells, ","))[flags(pc.match_substring_regex(cells, _FILLED))]
    sizes, rows = np.unique(commas + 1, return_counts=True)
    return Counter(dict(zip(sizes.tolist(), rows.tolist(), strict=True)))


class _Extended(io.RawIOBase):
    """A stream and some bytes behind it."""

    def __init__(self, stream: pa.NativeFile, behind: bytes) -> None:
        self._stream, self._behind = stream, behind

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As many bytes as asked for, until both are used up: Arrow wants the header in its first block."""
        block: bytes = self._stream.read(size)
        while len(block) < size and (more := self._stream.read(size - len(block))):
            block += more
        room = size - len(block)
        block, self._behind = block + self._behind[:room], self._behind[room:]
        return block
