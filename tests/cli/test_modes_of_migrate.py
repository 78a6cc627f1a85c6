"""`vecforensics migrate` does one thing at a call: two modes at once are refused before anything is begun."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from vecforensics.cli import main

MODES = ("--apply", "--repair", "--plan", "--rollback")


@pytest.mark.parametrize("modes", list(combinations(MODES, 2)), ids=" ".join)
def test_two_modes_at_once_are_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], modes: tuple[str, str]
) -> None:
    assert main(["migrate", "case.yaml", *modes, "--out", str(tmp_path / "reports")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "exclude one another" in told.err
    assert not (tmp_path / "reports").exists()
