"""JSON Lines: one object a line, read as a stream."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.records import FieldType
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds
from vecforensics.sources.rows import batches_of_rows

__all__ = ["JsonLinesSource"]


class JsonLinesSource:
    """Reads a .jsonl or .ndjson file, gzipped or not; a broken line is named by its number."""

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
        yield from batches_of_rows(
            self.rows, self._source, self._vector, self._doubles, self.where, batch_rows
        )

    def field_types(self) -> dict[str, FieldType]:
        """JSON shows them all."""
        return {}

    def rows(self, every: int = 1) -> Iterator[tuple[str, Any]]:
        """Each line's object, or each `every`-th, with its place, not looked at yet."""
        number = 0
        try:
            with self._open() as lines:
                for number, line in enumerate(lines, 1):
                    if number % every == 0 and line.strip():
                        yield f"line {number}", json.loads(line)
        except UnicodeDecodeError as error:
            raise SourceError(
                f"line {number} is not UTF-8 (byte {error.start})",
                where=str(self.path),
                hint="Save it as UTF-8",
            ) from None
        except (ValueError, RecursionError) as error:
            reason = (
                error.msg
                if isinstance(error, json.JSONDecodeError)
                else "nested too deeply or too long a number"
            )
            raise SourceError(
                f"line {number} is no JSON ({reason})", where=str(self.path), hint="Mend or remove that line"
            ) from None
        except (OSError, EOFError) as error:
            raise SourceError(
                f"breaks off after line {number} ({error})", where=str(self.path), hint="Copy the file again"
            ) from None

    def _open(self) -> IO[bytes]:
        return cast(IO[bytes], gzip.open(self.path)) if self.path.suffix == ".gz" else self.path.open("rb")
