"""Running notebooks without a person, around papermill.

parameters.py   are the names, types and values ones that may go into a notebook?
kernel.py       a kernel of this interpreter, which ends when we end
execution.py    one notebook through papermill, and what really became of it
notebooks.py    several of them on one run folder
"""

from __future__ import annotations

from vecforensics.runner.notebooks import (
    TIME_LIMIT_S,
    NotebookResult,
    find_notebook,
    prepare_notebook,
    run_notebook,
    run_notebooks,
)

__all__ = [
    "TIME_LIMIT_S",
    "NotebookResult",
    "find_notebook",
    "prepare_notebook",
    "run_notebook",
    "run_notebooks",
]
