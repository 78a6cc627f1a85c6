"""JSON: one list of objects, read whole, since JSON has no other way; large exports belong into JSON Lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.records import FieldType
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds
from vecforensics.sources.rows import ABSENT, batches_of_rows, look_up

__all__ = ["JsonSource"]


class JsonSource:
    """Reads a .json file: a list of objects, or an object in which `table` (a dotted path) names one."""

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
        listed = self._list()
        yield from batches_of_rows(
            lambda every: _placed(listed, every),
            self._source,
            self._vector,
            self._doubles,
            self.where,
            batch_rows,
        )

    def field_types(self) -> dict[str, FieldType]:
        """JSON shows them all."""
        return {}

    def rows(self) -> Iterator[tuple[str, Any]]:
        """Each record's object with its place, not looked at yet."""
        return _placed(self._list())

    def _list(self) -> list[Any]:
        try:
            raw = (
                gzip.decompress(self.path.read_bytes())
                if self.path.suffix == ".gz"
                else self.path.read_bytes()
            )
            document = json.loads(raw)
        except json.JSONDecodeError as error:
            raise SourceError(
                f"line {error.lineno} is no JSON ({error.msg})", where=str(self.path), hint="Mend the file"
            ) from None
        except (ValueError, RecursionError, OSError, EOFError) as error:
            raise SourceError(
                f"cannot be read as JSON ({error})", where=str(self.path), hint="Write it again as UTF-8 JSON"
            ) from None
        if self._source.table is not None:
            found = look_up(document, self._source.table) if isinstance(document, dict) else ABSENT
            if found is ABSENT:
                keys = ", ".join(document) if isinstance(document, dict) else "none, it is a list"
                raise SourceError(
                    f"has no table {self._source.table!r}", where=str(self.path), hint=f"Keys there: {keys}"
                )
            document = found
        if isinstance(document, dict):
            raise SourceError(
                "holds an object, not a list",
                where=str(self.path),
                hint=f"Set source.table to one of: {', '.join(document)}",
            )
        if not isinstance(document, list):
            raise SourceError(
                "holds no list of records", where=str(self.path), hint="Write a list of objects"
            )
        return document


def _placed(listed: list[Any], every: int = 1) -> Iterator[tuple[str, Any]]:
    return ((f"record {number + 1}", listed[number]) for number in range(0, len(listed), every))
