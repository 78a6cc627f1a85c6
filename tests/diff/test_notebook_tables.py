"""The tables of the notebooks: each question gets a sentence or rows that answer it, in the words and the order of the report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from planted_run import freeze, investigate
from planted_world import World
from test_figures_of_a_run import two_collections

from vecforensics import tables
from vecforensics.diff import Diff
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder


def of(run: RunFolder) -> Investigation:
    """What was frozen here was not collected: that it is there has to be said."""
    with run.stage("collect"):
        pass
    return Investigation(run.case(), run)


def of_diff(diff: Diff) -> Investigation:
    return of(RunFolder.open(diff.path))


def event(message: str, *, level: str = "info", second: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "action": "failed" if level == "error" else "noted",
        "file": "migration.log",
        "level": level,
        "message": message,
        "time": f"2026-11-05T10:{second // 60:02}:{second % 60:02}Z",
        "record_ids": [],
        "listed_ids": [],
        "stack": [],
        "vector_id": None,
        **fields,
    }


def logged(tmp_path: Path, *events: dict[str, Any]) -> Investigation:
    world = World.make(count=10, dimension=8)
    world.logs.extend(events)
    return of(freeze(world, tmp_path)[1])


def test_twelve_hundred_equal_errors_are_one_row_and_the_crash_that_ends_the_log_is_another(
    tmp_path: Path,
) -> None:
    lost = [
        event(
            f"Key Not Found - UserId: {n}, Vector ID: NaN",
            level="error",
            second=n,
            record_ids=[str(n)],
            vector_id="NaN",
            stack=[{"file": "migration.js", "function": "migrate", "line": 28, "column": 1}],
        )
        for n in range(1, 1201)
    ]
    inv = logged(tmp_path, event("started"), *lost, event("RateLimited: 429 too many requests", second=1300))
    table = tables.log_events(inv, 20)
    assert table.caption == "1,201 of 1,202 log events are errors"
    assert table.frame.to_dict("records") == [
        {
            "events": 1200,
            "level": "error",
            "first": "2026-11-05T10:00:01Z",
            "last": "2026-11-05T10:20:00Z",
            "message (the first)": "Key Not Found - UserId: 1, Vector ID: NaN",
            "ids": "1",
            "vector id": "NaN",
            "at": "migrate migration.js:28",
        },
        {
            "events": 1,
            "level": "uncaught, ends the log",
            "first": "2026-11-05T10:21:40Z",
            "last": "",
            "message (the first)": "RateLimited: 429 too many requests",
            "ids": "",
            "vector id": "",
            "at": "",
        },
        {
            "events": 1,
            "level": "info",
            "first": "2026-11-05T10:00:00Z",
            "last": "",
            "message (the first)": "started",
            "ids": "",
            "vector id": "",
            "at": "",
        },
    ]


def test_the_last_error_is_shown_however_few_messages_are(tmp_path: Path) -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    errors = [event(f"{word} failed", level="error", second=n) for n, word in enumerate(words)]
    table = tables.log_events(logged(tmp_path, *errors, event("over", second=60)), 3)
    assert table.frame["message (the first)"].tolist() == ["alpha failed", "beta failed", "zeta failed"]
    assert table.caption == "6 of 7 log events are errors; 3 of 7 different messages are shown"


def test_without_logs_a_sentence_says_so(tmp_path: Path) -> None:
    inv = logged(tmp_path)
    assert str(tables.log_events(inv)) == "There are no logs, or nothing stands in them."


def test_intact_evidence_is_a_sentence_and_a_changed_file_a_row(tmp_path: Path) -> None:
    inv = logged(tmp_path)
    files = len(inv.collect().files)
    assert (
        str(tables.frozen_files(inv))
        == f"All {files} frozen files have the SHA-256 with which they were frozen."
    )
    assert tables.frozen_files(inv)._repr_html_().startswith(f"<p>All {files} frozen files")
    with (inv.run.evidence / "logs.jsonl").open("a") as file:
        file.write("{}\n")
    table = tables.frozen_files(inv)
    assert table.caption == f"1 of {files} frozen files are not what they were"
    assert "logs.jsonl: SHA-256" in table._repr_html_()


def test_collections_stand_in_the_order_of_the_case_file_as_in_the_report(tmp_path: Path) -> None:
    run, diff = two_collections(tmp_path, {"users": range(50), "posts": range(50)})
    inv = of(run)
    assert tables.stores(inv).frame["collection"].tolist() == ["users", "posts"]
    for shown in (str(inv.collect()), inv.collect()._repr_html_(), diff._repr_html_()):
        assert shown.index("users") < shown.index("posts")
    assert tables.hot_spots(inv).frame["collection"].tolist() == [
        ", ".join(name for name in ("users", "posts") if name in spot["within"]) for spot in diff.hot_spots
    ]


def test_a_probability_that_is_none_is_written_as_in_the_report(tmp_path: Path) -> None:
    world = World.make(count=900, dimension=8, seed=3)
    world.parents = [None] * 900
    world.target = [row for n, row in enumerate(world.target) if not 400 <= n < 520]
    diff = investigate(world, tmp_path, impact=False)
    assert diff.hot_spots[0]["p_value"] < 1e-12
    assert tables.hot_spots(of_diff(diff)).frame["p"].tolist()[0] == "< 1e-12"


def test_where_nothing_clusters_a_sentence_says_so(tmp_path: Path) -> None:
    diff = investigate(World.make(count=40, dimension=8), tmp_path, impact=False)
    inv = of_diff(diff)
    said = "Nowhere more than chance would put there, or there was nothing to cluster."
    assert str(tables.hot_spots(inv)) == said
    assert tables.hot_spots(inv)._repr_html_() == f"<p>{said}</p>"
    assert str(tables.verification(inv)) == "Nothing was written, so nothing was verified."


def test_names_of_kinds_in_sentences_are_code_and_ids_are_exact(tmp_path: Path) -> None:
    world = World.make(count=40, dimension=8)
    world.parents = [None, *world.ids[:1], *[None] * 38]
    world.target.append(("a`b`<i>", np.ones(8, np.float32), {}))
    diff = investigate(world, tmp_path, impact=False)
    [limit] = [one for one in diff.limits if "`premature`" in one]
    inv = of_diff(diff)
    for shown in (diff._repr_html_(), tables.limits(inv)._repr_html_()):
        assert "<code>premature</code> was not checked" in shown
    assert limit in str(tables.limits(inv))
    assert "a`b`&lt;i&gt;" in tables.examples(inv)._repr_html_()


def test_heads_stand_over_their_columns(tmp_path: Path) -> None:
    """Jupyter aligns to the right, which is for numbers: words and the head over them are set to the left, both or neither."""
    diff = investigate(World.make(count=40, dimension=8), tmp_path, impact=False)
    for shown in (diff._repr_html_(), of_diff(diff).collect()._repr_html_()):
        head, first = re.findall("<tr>(.*?)</tr>", shown)[:2]
        left = "style='text-align:left'"
        assert [left in cell for cell in re.findall("<th.*?>", head)] == [
            left in cell for cell in re.findall("<td.*?>", first)
        ]
        assert left in head


def test_inputs_say_that_their_bytes_are_those_from_before(tmp_path: Path) -> None:
    run = freeze(World.make(count=10, dimension=8), tmp_path)[1]
    entry = {"role": "target", "name": "t", "bytes": 8_197_435, "sha256": "ab" * 32, "note": ""}
    (run.evidence / "inputs.json").write_text(json.dumps({"inputs": [entry]}))
    table = tables.inputs(of(run))
    assert list(table.frame.columns) == ["input", "name", "bytes before", "sha256 before"]
    assert "8,197,435" in str(table)
