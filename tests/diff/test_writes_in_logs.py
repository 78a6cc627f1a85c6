"""What a log says of the order of writes, in whatever form it names the records; and nothing where it only seems to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.collect import parse_log
from vecforensics.diff import Diff

CHILD, PARENT = 45, 5


def world(lines: list[str], **settings: Any) -> World:
    """Sixty records, the upper thirty of which depend on one of the others each; three are wrong. The log reads `lines`."""
    made = World.make(**{"count": 60, "dimension": 8, **settings})
    for row in (3, 17, 44):
        made.vector(row, np.zeros(8))
    made.logs = [json.loads(event.to_json()) for event in parse_log([f"{line}\n" for line in lines], "x.log")]
    return made


def early_children(diff: Diff) -> list[str]:
    return diff.of_kind("premature")["source_id"].to_pylist()


def ordered() -> list[int]:
    """Parents before children, but for one child, which came first."""
    return [CHILD, *(row for row in range(60) if row != CHILD)]


@pytest.mark.parametrize(
    "line",
    [
        "INFO wrote {} collection=things batch={} worker=0",
        'INFO upserted record "{}" to things batch={}',
        "2026-01-01T00:00:00Z INFO stored {}, batch={}",
        '{{"msg": "inserted {}", "batch": {}}}',
    ],
)
def test_a_record_is_named_by_its_place_in_a_sentence(tmp_path: Path, line: str) -> None:
    names = World.make(count=60).ids
    diff = investigate(
        world([line.format(names[row], row // 20) for row in ordered()]), tmp_path, impact=False
    )
    assert early_children(diff) == [names[CHILD]]
    assert diff.of_kind("zero")["batch"].to_pylist() == ["0", "0", "2"]


@pytest.mark.parametrize("key", ["ids", "record_ids", "vector_ids"])
def test_one_upsert_lists_all_its_records(tmp_path: Path, key: str) -> None:
    names = World.make(count=60).ids
    parts = [[CHILD], *(range(start, start + 20) for start in (0, 20, 40))]
    lines = [
        json.dumps({"event": "upsert", key: [names[row] for row in part], "batch": number})
        for number, part in enumerate(parts)
    ]
    diff = investigate(world(lines), tmp_path, impact=False)
    assert early_children(diff) == [names[CHILD]]
    assert diff.of_kind("zero")["batch"].to_pylist() == ["1", "1", "3"]


def test_one_upsert_may_list_records_of_which_none_is_before_the_other(tmp_path: Path) -> None:
    names = World.make(count=60).ids
    diff = investigate(world([json.dumps({"event": "upsert", "ids": names[::-1]})]), tmp_path, impact=False)
    assert early_children(diff) == []


@pytest.mark.parametrize(
    "line",
    [
        "INFO wrote {child} rows",
        "INFO wrote {child}",
        "INFO wrote {child} of 60 batch=0",
        "INFO wrote row {child}",
        "INFO wrote chunk {child} to things",
        "INFO wrote checkpoint {child}",
        "INFO wrote the state of {child}",
        "INFO wrote batch={child}",
        "INFO failed to write {child}, stored nothing",
        '{{"msg": "wrote some", "count": {child}, "failed_ids": ["{child}"], "parent_ids": ["{child}"]}}',
        '{{"msg": "wrote some", "rows": ["{child}"]}}',
    ],
)
def test_a_count_or_another_word_that_happens_to_be_an_id_is_no_write(tmp_path: Path, line: str) -> None:
    names = World.make(count=60, shape="numeric").ids
    lines = [line.format(child=names[CHILD]), *(f"INFO wrote user_id={name}" for name in names)]
    diff = investigate(world(lines, shape="numeric"), tmp_path, impact=False)
    assert early_children(diff) == []


def test_words_that_are_nobodys_id_name_nothing(tmp_path: Path) -> None:
    lines = ["INFO wrote everything batch=4", "INFO upserted points to things batch=4", "INFO saved batch=4"]
    diff = investigate(world(lines), tmp_path, impact=False)
    assert diff.of_kind("zero")["batch"].to_pylist() == [None] * 3
    assert any("neither logs nor metadata say when" in limit for limit in diff.limits)


def test_the_record_and_not_the_parent_that_its_line_names_too_was_written(tmp_path: Path) -> None:
    names = World.make(count=60).ids
    lines = [
        f"INFO wrote {names[PARENT]} batch=0",
        f"INFO wrote {names[CHILD - 10]} parent_id={names[PARENT]}",
    ]
    lines += [f"INFO wrote {names[44]} parent_id={names[14]} batch=9"]
    diff = investigate(world(lines), tmp_path, impact=False)
    assert early_children(diff) == []
    assert diff.of_kind("zero")["batch"].to_pylist() == [None, None, "9"]


def test_a_stray_that_only_an_upsert_lists_is_placed(tmp_path: Path) -> None:
    made = world([json.dumps({"event": "upsert", "ids": ["stranger", "another"], "batch": 5})])
    made.target.append(("stranger", np.ones(8, np.float32), {}))
    diff = investigate(made, tmp_path, impact=False)
    assert diff.of_kind("orphan")["batch"].to_pylist() == ["5"]
