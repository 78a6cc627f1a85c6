"""Opening a stranger's Parquet file: is it one, does it hold these columns, and does it unfold to something sane?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vecforensics.errors import InputError

__all__ = ["open_parquet"]

# Honest vectors compress by 16 % at most and honest text perhaps twentyfold; beyond this a file is a bomb. The floor spares
# small files full of equal rows.
_MAX_UNFOLD = 200
_UNFOLD_FLOOR_BYTES = 64 << 20
_SAMPLE_ROWS = 1_024


def open_parquet(path: Path, columns: Sequence[str], error: type[InputError], *, hint: str) -> pq.ParquetFile:
    """Open `path` and check that it holds `columns`. Raises `error`; `hint` says what to do about a missing column.

    `pre_buffer` is off: it reads a whole row group ahead, 1.8 GB on a million vectors.
    """
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except FileNotFoundError:
        raise error("there is no such file", where=str(path), hint="Check the uri in the case file") from None
    except (pa.ArrowInvalid, OSError) as broken:
        raise error(
            f"is no Parquet file ({broken})", where=str(path), hint="Check the uri in the case file"
        ) from None
    names = file.schema_arrow.names
    for name in columns:
        if name not in names:
            raise error(
                f"has no column {name!r}", where=str(path), hint=f"{hint} to one of: {', '.join(names)}"
            )
    _refuse_bomb(file, path, columns, error)
    return file


def _refuse_bomb(file: pq.ParquetFile, path: Path, columns: Sequence[str], error: type[InputError]) -> None:
    """The footer's byte counts are the writer's word, so the width is measured on the first rows, times the footer's rows."""
    rows = file.metadata.num_rows
    first = next(file.iter_batches(batch_size=_SAMPLE_ROWS, columns=list(columns)), None)
    if first is None or not first.num_rows:
        return
    unfolded = rows * first.nbytes / first.num_rows
    size = path.stat().st_size
    if unfolded > max(_UNFOLD_FLOOR_BYTES, _MAX_UNFOLD * size):
        raise error(
            f"{rows:,} rows would unfold to {unfolded / 1e6:,.0f} MB, {unfolded / size:,.0f} times the file",
            where=str(path),
            hint="Refused as a decompression bomb; if it is honest, write it again without a dictionary",
        )
