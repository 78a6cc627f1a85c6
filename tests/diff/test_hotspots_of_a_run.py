"""From frozen evidence to the sentence: damage planted along each line that a run knows of, and nothing where none gathers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.run_folder import RunFolder

N = 3042
NUMBERS = np.arange(N)
# Four workers take rows in turn; each counts its batches of 25 on its own.
WORKER, BATCH = NUMBERS % 4, NUMBERS // 100
# The order of writing is not that of the source.
MOMENT = NUMBERS * 1009 % N
SPACE = np.random.default_rng(5).integers(0, 5, N)


def logged(world: World) -> World:
    """Every write is acknowledged in the log, that of a lost row too."""
    for row, text in enumerate(world.ids):
        second = int(MOMENT[row])
        world.logs.append(
            {
                "action": "wrote",
                "record_ids": [text],
                "time": f"2026-11-24T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z",
                "fields": {
                    "batch": str(BATCH[row]),
                    "worker": str(WORKER[row]),
                    "namespace": "abcde"[SPACE[row]],
                },
            }
        )
    return world


def world(seed: int = 0) -> World:
    made = World.make(count=N, dimension=8, shape="words", seed=seed)
    # Ids in an order of their own, and metadata that say something: score has 17 values, plan three.
    made.ids = [f"u{int(place):05d}" for place in np.random.default_rng(7).permutation(N)]
    made.parents = [None] * N
    made.target = [(text, *rest) for text, (_, *rest) in zip(made.ids, made.target, strict=True)]
    made.row_of = {text: row for row, text in enumerate(made.ids)}
    return logged(made)


def lose(one: World, rows: np.ndarray) -> None:
    gone = {one.ids[row] for row in rows.tolist()}
    one.target = [entry for entry in one.target if entry[0] not in gone]


def where(diff: Diff) -> list[str]:
    return [spot["sentence"] for spot in diff.hot_spots]


def by_id(first: int, last: int) -> Callable[[World], np.ndarray]:
    return lambda one: np.array([row for row, text in enumerate(one.ids) if first <= int(text[1:]) <= last])


PLANTED: dict[str, tuple[Callable[[World], np.ndarray], str]] = {
    "a range of ids": (by_id(500, 599), "ids u00500 … u00599 hold all 100 missing rows (3.3 % of all rows)"),
    "a stretch of the source": (
        lambda _: NUMBERS[1411:1480],
        "rows 1,412–1,480 hold all 69 missing rows (2.3 % of all rows)",
    ),
    "a batch": (lambda _: NUMBERS[BATCH == 12], "batch 12 holds all 100 missing rows (3.3 % of all rows)"),
    "a worker": (
        lambda _: NUMBERS[WORKER == 2],
        "worker 2 holds all 760 missing rows (25 % of all rows)",
    ),
    "a writing time": (
        lambda _: NUMBERS[(MOMENT >= 1200) & (MOMENT < 1260)],
        "rows written from 2026-11-24T00:20:00Z to 2026-11-24T00:20:59Z hold all 60 missing rows (2.0 % of all rows)",
    ),
    "a namespace": (
        lambda _: NUMBERS[SPACE == 3],
        "namespace d holds all 589 missing rows (19 % of all rows)",
    ),
    "a value of metadata": (
        lambda one: np.array([row for row in range(N) if one.metadata[row]["score"] == 11]),
        "rows with score = 11 hold all 179 missing rows (5.9 % of all rows)",
    ),
    "every tenth row": (
        lambda _: NUMBERS[6::10],
        "every 10th row (from row 7 on) holds all 304 missing rows (10 % of all rows)",
    ),
    "the tail below a multiple of 1,000": (
        lambda _: NUMBERS[3000:],
        "the last 42 rows (from row 3,001: beyond the first 3,000, a multiple of 1,000) hold all 42 missing rows "
        "(1.4 % of all rows)",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_cluster_is_the_first_sentence_and_the_only_one(tmp_path: Path, name: str) -> None:
    rows, sentence = PLANTED[name]
    one = world()
    lose(one, rows(one))
    assert where(investigate(one, tmp_path, impact=False)) == [sentence]


def test_batches_of_a_worker_amid_random_loss(tmp_path: Path) -> None:
    one = world()
    inside = NUMBERS[(BATCH >= 17) & (BATCH <= 19) & (WORKER == 3)]
    lose(one, np.union1d(inside, [5, 1033, 2904]))
    assert where(investigate(one, tmp_path, impact=False)) == [
        "batches 17–19 of worker 3 hold 96 % of the missing rows (2.5 % of all rows)"
    ]


@pytest.mark.parametrize("count", [0, 1, 30, 700])
def test_nothing_is_said_of_a_clean_or_randomly_damaged_run(tmp_path: Path, count: int) -> None:
    one = world()
    lose(one, np.random.default_rng(count).choice(N, count, replace=False))
    diff = investigate(one, tmp_path, impact=False)
    assert diff.counts["missing"] == count
    assert where(diff) == []


def test_the_orphans_of_one_batch_are_found_among_the_rows_of_the_target(tmp_path: Path) -> None:
    one = world()
    rng = np.random.default_rng(3)
    for n, between in enumerate(rng.choice(300, 40, replace=False).tolist()):
        metadata: dict[str, Any] = {**one.metadata[n], "batch": 77}
        one.target.append((f"u{between:04d}x", rng.normal(size=8).astype(np.float32), metadata))
    assert where(investigate(one, tmp_path, impact=False)) == [
        "batch 77 holds all 40 orphan rows (1.3 % of all vectors in the target)"
    ]


def test_findings_json_says_how_places_were_looked_for(tmp_path: Path) -> None:
    one = world()
    lose(one, NUMBERS[BATCH == 12])
    written = json.loads(
        RunFolder.open(investigate(one, tmp_path, impact=False).path).findings_json.read_text()
    )
    search = written["hot_spot_search"]
    assert set(search) == {"tests", "level", "lines", "skipped", "method"}
    assert search["level"] == 0.01
    assert search["tests"] > 30
    assert f"{search['tests']:,} tests" in search["method"]
    assert {"position", "id", "batch", "worker", "written_at", "namespace", "metadata:plan"} <= set(
        search["lines"]
    )


def test_a_line_that_was_not_looked_along_is_among_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids beyond the number that is ranked, and a text that nearly every record has to itself; of records and of strays."""
    monkeypatch.setattr("vecforensics.diff.hotspots.lines.SORTED_IDS", 2000)
    one = world()
    for row, metadata in enumerate(one.metadata):
        metadata["plan"] = f"plan of {row}"
    for row, (_, _, metadata) in enumerate(one.target):
        metadata["plan"] = f"plan of {row}"
    lose(one, NUMBERS[BATCH == 12])
    one.target.append(("stray", np.ones(8, np.float32), {}))
    diff = investigate(one, tmp_path, impact=False)
    asked = [limit for limit in diff.limits if limit.startswith("Where damage gathers was not asked along ")]
    assert {limit.removeprefix("Where damage gathers was not asked along ") for limit in asked} >= {
        "metadata:plan, which has 3,042 values in 3,042 rows.",
        "metadata:plan, which has 2,942 values in 2,943 rows of the target.",
        "id, since 3,042 rows are more than the 2,000 that are put in its order.",
        "id, since 2,943 rows of the target are more than the 2,000 that are put in its order.",
    }
    assert len(set(asked)) == len(asked)
    assert all(limit in str(diff) for limit in asked)
