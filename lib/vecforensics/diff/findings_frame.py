"""The findings as a pandas frame that shows nothing where nothing is.

pandas prints an absent id as NaN, and NaN is also what many a migration made of an id: in a table of findings the two must not
look alike. Only the display differs; the values are those of any frame, and what is selected from it shows itself the same way.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

__all__ = ["FindingsFrame"]


class FindingsFrame(pd.DataFrame):
    """A frame whose absent values are empty cells."""

    @classmethod
    def of(cls, table: pa.Table) -> FindingsFrame:
        return cls(table.to_pandas())

    @property
    def _constructor(self) -> type[FindingsFrame]:
        return FindingsFrame

    def __repr__(self) -> str:
        return repr(self._with_gaps())

    def _repr_html_(self) -> Any:
        return self._with_gaps()._repr_html_()

    def _with_gaps(self) -> Any:
        plain = pd.DataFrame(self)
        return plain.astype(object).where(plain.notna(), "")
