"""What did the work: the versions of the tools, and the commit of the code that was looked at."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["git_revision", "tool_versions"]

_TOOLS: Final = (
    "vecforensics", "numpy", "pandas", "pyarrow", "lancedb", "pinecone", "papermill", "jupyterlab", "matplotlib",
    "scipy", "xxhash", "pydantic", "PyYAML", "Jinja2", "quickjs-ng", "distributed",
)  # fmt: skip


@lru_cache(maxsize=1)
def tool_versions() -> Mapping[str, str]:
    """What did the work: Python, SQLite, the platform, and each library that is installed."""
    versions = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(terse=True),
    }
    for name in _TOOLS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return MappingProxyType(versions)


def git_revision(folder: Path) -> str | None:
    """The commit that `folder` stands at, if it lies in a git work tree. Only `rev-parse`: it runs no hook of the repository."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return None
    try:
        done = subprocess.run(  # noqa: S603  a fixed command, no shell
            [git, "-C", str(folder), "rev-parse", "--verify", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
