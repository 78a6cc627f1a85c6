"""Forensics for vector migrations that went wrong: which vectors are corrupt, how, since when, and through which race.

    import vecforensics as vf
    inv = vf.investigate("case.yaml")
    inv.collect(); inv.diff(); inv.reproduce(); inv.migrate(); inv.report()

Names are imported when they are first used, so that `import vecforensics` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecforensics.case import Case, load_case
    from vecforensics.errors import VecforensicsError
    from vecforensics.findings import Kind, Severity, Verdict
    from vecforensics.investigation import Investigation, bundled_case, investigate
    from vecforensics.race import explore
    from vecforensics.records import Record
    from vecforensics.run_folder import RunFolder

__version__ = "0.1.0"

# The diff's own threads work side by side; OpenBLAS's wait for one another in a spin, and where another process holds a core that
# is most of the time (a million rows on two busy cores: 28 s instead of 10). Numpy reads it when it is first imported
# (where that was before, `blas_threads.py` sees to it); whoever has set it keeps their number.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_HOME = {
    "Case": "case",
    "Investigation": "investigation",
    "Kind": "findings",
    "Record": "records",
    "RunFolder": "run_folder",
    "Severity": "findings",
    "VecforensicsError": "errors",
    "Verdict": "findings",
    "bundled_case": "investigation",
    "explore": "race",
    "investigate": "investigation",
    "load_case": "case",
}

__all__ = [
    "Case",
    "Investigation",
    "Kind",
    "Record",
    "RunFolder",
    "Severity",
    "VecforensicsError",
    "Verdict",
    "bundled_case",
    "explore",
    "investigate",
    "load_case",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
