"""Reading a stranger's Parquet file: is it one, does it hold these columns, and does it unfold to something sane?

A file of 186 KB can unfold to 200 MB and more, and its footer need not say so: a dictionary page holds one long text, and each
row merely points at it. So the longest text of each dictionary is looked at first (one row, read *as* a dictionary), and batches
have no more rows than that text could fill. What the rows of a file come to is counted while they are read; beyond a multiple of
the file's size the file is refused. Reading all of it as dictionaries would be as safe, but Arrow then keeps every distinct text
of the file in memory.

Decoding lists of numbers is most of the work of a collection. It happens on a thread of its own, a few batches ahead, and in
batches of some megabytes, however wide a row is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics.arrow_columns import usual_length
from vecforensics.errors import InputError
from vecforensics.list_lengths import counted_length
from vecforensics.read_ahead import ahead

__all__ = ["ParquetRows", "length_of_most", "open_parquet"]

# Honest vectors compress by 16 % at most and honest text perhaps twentyfold; beyond this a file is a bomb. The floor spares
# small files full of equal rows.
_MAX_UNFOLD = 200
_UNFOLD_FLOOR_BYTES = 64 << 20
_FIRST_ROWS = 16
# A whole column chunk (often a million rows) would be held in memory unless it is read piece by piece.
_READ_BYTES = 1 << 20
_BATCH_BYTES = 8 << 20
# Honest text of five kilobytes a row is still read in batches of ten thousand rows.
_TEXT_BYTES = 64 << 20

_WIDTHS = {"FLOAT": 4, "DOUBLE": 8, "INT32": 4, "INT64": 8}


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """An opened file. `batches` streams its rows; `rows` and `schema` are the footer's.

    `folded` reads the same file with text as dictionaries.
    """

    path: Path
    error: type[InputError]
    file: pq.ParquetFile
    folded: pq.ParquetFile

    @property
    def rows(self) -> int:
        return int(self.file.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """The columns as the file declares them."""
        return self.file.schema_arrow

    def first(self, columns: Sequence[str] | None, rows: int = 1_024) -> pa.RecordBatch | None:
        """The first rows, or None where there are none."""
        return next(self._counted(self._read(columns, rows)), None)

    def nulls(self, column: str) -> int:
        """How many rows have none in a column, by the footer where it says so."""
        groups = [self.file.metadata.row_group(number) for number in range(self.file.metadata.num_row_groups)]
        at = [group.column(place) for group in groups for place in range(group.num_columns)]
        said = [one.statistics for one in at if one.path_in_schema == column]
        if len(said) == len(groups) and all(one is not None and one.has_null_count for one in said):
            return sum(int(one.null_count) for one in said)
        return sum(batch.column(0).null_count for batch in self._counted(self._read([column], 65_536)))

    def batches(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """The rows as plain columns, at most `batch_rows` of them a batch and fewer where they are wide. Reading begins at once.

        Raises `error` for a damaged file, and for one that unfolds beyond reason.
        """
        first = self.first(columns, _FIRST_ROWS)
        if first is not None:
            batch_rows = max(1, min(batch_rows, _BATCH_BYTES * first.num_rows // max(first.nbytes, 1)))
        return self._counted(ahead(self._read(columns, batch_rows)))

    def _read(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow reads them: as dictionaries where the file's own schema has some."""
        wanted = None if columns is None else list(columns)
        metadata, group = self.file.metadata, 0
        while group < metadata.num_row_groups:
            groups, rows, text_bytes = [], 0, 1
            while group < metadata.num_row_groups and rows < batch_rows:
                groups.append(group)
                rows += metadata.row_group(group).num_rows
                text_bytes = max(text_bytes, self._longest_texts(group, columns))
                group += 1
            most = max(1, min(batch_rows, _TEXT_BYTES // text_bytes))
            # Nearly all the work is one column's, so that more threads would only hand it to one another.
            yield from self.file.iter_batches(
                batch_size=most, row_groups=groups, columns=wanted, use_threads=False
            )

    def _longest_texts(self, group: int, columns: Sequence[str] | None) -> int:
        """What a row of this row group can come to that takes the longest text of each dictionary, in bytes."""
        text = [
            field.name
            for field in self.folded.schema_arrow
            if pa.types.is_dictionary(field.type)
            and _is_text(field.type.value_type)
            and (columns is None or field.name in columns)
        ]
        if not text:
            return 0
        row = next(self.folded.iter_batches(batch_size=1, row_groups=[group], columns=text), None)
        if row is None:
            return 0
        return sum(int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0) for column in row.columns)

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit = max(_UNFOLD_FLOOR_BYTES, _MAX_UNFOLD * self.path.stat().st_size)
        unfolded = done = 0
        try:
            for batch in batches:
                unfolded += sum(_unfolded_bytes(column) for column in batch.columns)
                done += batch.num_rows
                if unfolded > limit or unfolded / done * self.rows > limit:
                    raise self._bomb(unfolded / done * self.rows)
                plain = _plain(batch)
                self._check_text(plain, done - plain.num_rows)
                yield plain
        except (pa.ArrowInvalid, OSError) as broken:
            raise self.error(
                f"is damaged after row {done} ({broken})", where=str(self.path), hint="Copy the file again"
            ) from None

    def _check_text(self, batch: pa.RecordBatch, first_row: int) -> None:
        """Arrow hands on any bytes as text; Python would break on them much later."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                if "string" in str(column.type):  # also inside a struct or a list
                    column.validate(full=True)
            except pa.ArrowInvalid:
                raise self.error(
                    f"the column {name!r} holds text that is not UTF-8 in the rows from {first_row} on",
                    where=str(self.path),
                    hint="Write the file again with its texts as UTF-8",
                ) from None

    def table(self) -> pa.Table:
        """The whole file, with the types and the notes of its own schema."""
        own = pq.read_schema(self.path)
        if not self.rows:
            return own.empty_table()
        return pa.Table.from_batches(self.batches(None, 65_536)).cast(own)

    def _bomb(self, unfolded: float) -> InputError:
        size = self.path.stat().st_size
        return self.error(
            f"{self.rows:,} rows unfold to some {unfolded / 1e6:,.0f} MB, {unfolded / size:,.0f} times the file",
            where=str(self.path),
            hint="Refused as a decompression bomb; if it is honest, write it again without a dictionary",
        )


def open_parquet(path: Path, columns: Sequence[str], error: type[InputError], *, hint: str) -> ParquetRows:
    """Open `path` and check that it holds `columns`. Raises `error`; `hint` says what to do about a missing column.

    `pre_buffer` is off: it reads a whole row group ahead, 1.8 GB on a million vectors (0.6 GB still without `buffer_size`).
    """
    try:
        plain = pq.read_schema(path)
        text = [field.name for field in plain if _is_text(field.type)]
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES)
        folded = pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES, read_dictionary=text)
    except FileNotFoundError:
        raise error("there is no such file", where=str(path), hint="Check the uri in the case file") from None
    except (pa.ArrowInvalid, OSError) as broken:
        raise error(
            f"is no Parquet file ({broken})", where=str(path), hint="Check the uri in the case file"
        ) from None
    for name in columns:
        if plain.names.count(name) != 1:
            count = "no" if name not in plain.names else "more than one"
            raise error(
                f"has {count} column {name!r}",
                where=str(path),
                hint=f"{hint} to one of: {', '.join(plain.names)}",
            )
    opened = ParquetRows(path, error, file, folded)
    declared = _declared_bytes(file.metadata)
    if declared > max(_UNFOLD_FLOOR_BYTES, _MAX_UNFOLD * path.stat().st_size):
        raise opened._bomb(declared)
    # A few rows first: a thousand of them could be too much already.
    opened.first(columns or None, _FIRST_ROWS)
    return opened


def length_of_most(file: ParquetRows, column: str) -> int:
    """The length that most lists of a column have, null and empty ones left aside; of lengths equally many it is the shortest.

    What the footer says is enough for a column that is right but for some rows; else it is read until the answer is sure, which
    takes half of it where the first rows are like most, and at most as long as reading it always does.
    """
    first = file.first([column])
    length = 0 if first is None else usual_length(first.column(0))
    if length and _most_by_the_footer(file, column, length):
        return length
    # A handle of its own: rows are read ahead, so that a thread may still be at it when the answer is sure.
    apart = open_parquet(file.path, [column], file.error, hint="Name the column that holds the vectors")
    return counted_length((batch.column(0) for batch in apart.batches([column], 8_192)), file.rows)


def _most_by_the_footer(file: ParquetRows, column: str, length: int) -> bool:
    """Whether the footer's counts show that most lists have a length: each that has not is at least one number too many or too
    few in its row group. (Too many and too few might cancel out; then the length is still that of the first rows.)"""
    metadata = file.file.metadata
    paths = [metadata.schema.column(at).path for at in range(metadata.num_columns)]
    found = [at for at, path in enumerate(paths) if path.startswith(f"{column}.")]
    if len(found) != 1:
        return False
    right = filled = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        part = group.column(found[0])
        said = part.statistics
        # A null or an empty list counts as one value, and as a null; so does a null inside a list, which makes a row look short.
        nulls = said.null_count if said is not None and said.has_null_count else 0
        rows = max(0, group.num_rows - nulls)
        right += max(0, rows - abs(part.num_values - nulls - rows * length))
        filled += rows
    return 2 * right > filled


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _declared_bytes(metadata: pq.FileMetaData) -> int:
    """What the footer admits to: the bytes of all pages, or of all numbers where a page says the same number many times."""
    declared = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(metadata.num_columns)):
            width = _WIDTHS.get(column.physical_type, 0)
            declared += max(column.total_uncompressed_size, width * column.num_values)
    return declared


def _unfolded_bytes(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    if not _is_text(column.type.value_type):
        return int(column.dictionary_decode().nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0) + 4 * len(column)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
