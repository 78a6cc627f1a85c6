"""Frozen evidence in which a byte has changed: an answer or one line that says so, never a crash or a fault of ours.

A changed byte may send Arrow to read beyond the file, which ends the process; so the diffs run in one of their own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from planted_run import freeze
from planted_world import World
from planting import PLANTERS

from vecforensics.diff import diff_vectors
from vecforensics.diff.one_record import neighbours_of
from vecforensics.errors import EvidenceError
from vecforensics.run_folder import RunFolder

FLIPS = 60


def planted(folder: Path) -> RunFolder:
    world = World.make(count=120)
    for kind in ("missing", "swapped", "zero"):
        PLANTERS[kind](world, 4)
    return freeze(world, folder, buckets=1)[1]


def flip(path: Path, place: int, by: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= by
    path.write_bytes(content)


def diffs_with_one_byte_flipped(folder: Path, seed: int) -> None:
    """Prints for each flip where it was, then how the diff of it ended."""
    whole, rng = planted(folder / "whole").path, np.random.default_rng(seed)
    for _ in range(FLIPS):
        shutil.rmtree(folder / "copy", ignore_errors=True)
        run = RunFolder(shutil.copytree(whole, folder / "copy"))
        path = rng.choice(sorted(map(str, run.evidence.rglob("*.arrow"))))
        place, by = int(rng.integers(1 << 40)), int(rng.integers(1, 256))
        flip(Path(path), place, by)
        print(Path(path).name, place, by, end=" ", flush=True)
        try:
            print(diff_vectors(run.case(), run, workers=1, impact=False).verdict)
        except EvidenceError as error:
            print("damaged" if "damaged" in str(error) else "undefined")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_flipped_byte_anywhere_ends_in_an_answer_or_in_one_line(tmp_path: Path, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(seed)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]} {done.stderr}"
    ends = [line.split()[-1] for line in done.stdout.splitlines()]
    assert len(ends) == FLIPS
    assert {"damaged"} < set(ends) <= {"damaged", "clean", "corrupt", "unknown"}


def test_an_error_that_damage_alone_explains_is_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planted(tmp_path)
    record = "post/3:a"
    neighbours_of(run, "things", record)

    def broken(*_: object, **__: object) -> None:
        raise IndexError("16")

    monkeypatch.setattr("vecforensics.diff.diff._assembled", broken)
    monkeypatch.setattr("vecforensics.diff.one_record.compare_neighbours", broken)
    with pytest.raises(IndexError):
        diff_vectors(run.case(), run)
    flip(run.evidence / "things" / "source-0000.arrow", -2_000, 1)
    with pytest.raises(EvidenceError, match=r"the evidence is damaged \(things/source-0000.arrow: SHA-256"):
        diff_vectors(run.case(), run)
    with pytest.raises(EvidenceError, match="the evidence is damaged"):
        neighbours_of(run, "things", record)


if __name__ == "__main__":
    diffs_with_one_byte_flipped(Path(sys.argv[1]), int(sys.argv[2]))
