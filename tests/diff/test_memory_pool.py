"""Whose memory Arrow uses while a diff is at work, and whose afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from planted_run import freeze
from planted_world import World

from vecforensics.diff import diff_vectors, execute


@pytest.mark.parametrize(("named", "meanwhile"), [(None, "system"), ("mimalloc", None)])
def test_arrow_allocates_from_the_system_while_vectors_are_compared_unless_the_user_named_a_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, meanwhile: str | None
) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    if named is not None:
        monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", named)
    case, run = freeze(World.make(count=20), tmp_path)
    seen: list[str] = []
    real = execute.compare_bucket

    def look(*arguments: Any, **more: Any) -> Any:
        seen.append(pa.default_memory_pool().backend_name)
        return real(*arguments, **more)

    monkeypatch.setattr(execute, "compare_bucket", look)
    before = pa.default_memory_pool().backend_name
    diff_vectors(case, run, workers=1, impact=False)
    assert set(seen) == {meanwhile or before}
    assert pa.default_memory_pool().backend_name == before
