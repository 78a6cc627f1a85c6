"""The figures of a run show what its sentences say: the same rows, counted the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planted_run import freeze
from planted_world import World

from vecforensics.case import load_case
from vecforensics.collect import collect
from vecforensics.diff import Diff, diff_vectors, plots
from vecforensics.figures import draw_diff, figures_of
from vecforensics.run_folder import RunFolder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What each figure along the source was asked to show."""
    asked: list[tuple[Any, ...]] = []
    plot = plots.plot_along_source

    def listening(*given: Any, **settings: Any) -> Any:
        asked.append((*given, settings))
        return plot(*given, **settings)

    monkeypatch.setattr(plots, "plot_along_source", listening)
    return asked


def test_rows_of_a_source_with_versions_are_counted_as_in_the_sentences(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    """300 earlier versions stand before the newest ones; the last 50 records are zero, twenty before hold an old vector."""
    one = World.make(count=1000, dimension=8, shape="words", seed=3)
    for row in range(300):
        one.earlier.append((one.ids[row], one.rng.normal(size=8).astype(np.float32)))
    old = dict(one.earlier)
    held = {text: np.zeros(8, np.float32) for text in one.ids[950:]} | {
        text: old[text] for text in one.ids[100:140]
    }
    one.target = [(text, held.get(text, vector), metadata) for text, vector, metadata in one.target]
    case, run = freeze(one, tmp_path)
    diff = diff_vectors(case, run, impact=False)
    assert (diff.counts["zero"], diff.counts["stale"]) == (50, 40)
    draw_diff(run, diff)
    [(damaged, rows, spots, settings)] = drawn
    assert rows == 1000
    assert damaged["zero"].tolist() == list(range(950, 1000))
    assert damaged["stale"].tolist() == list(range(100, 140))
    marked = {kind: np.flatnonzero(mask).tolist() for kind, _, mask in spots}
    assert marked == {kind: rows.tolist() for kind, rows in damaged.items()}
    assert "the newest version of each record" in settings["counted"]


def two_collections(folder: Path, zero: Mapping[str, Sequence[int]]) -> tuple[RunFolder, Diff]:
    """900 users, created on 9 days, and 700 posts, on the last 7 of them; `zero`: whose vectors the target holds as zeros."""
    for name, count in (("posts", 700), ("users", 900)):
        vectors = np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)
        ids = [f"{name}{n}" for n in range(count)]
        days = [{"day": f"day {n // 100 + 10 - count // 100}"} for n in range(count)]
        (folder / f"{name}.jsonl").write_text(
            "\n".join(
                json.dumps({"id": text, "v": vector.tolist(), **day})
                for text, vector, day in zip(ids, vectors, days, strict=True)
            )
        )
        vectors[list(zero.get(name, ()))] = 0
        metadata = [json.dumps(day) for day in days]
        table = pa.table({"id": ids, "vector": list(vectors), "metadata": metadata})
        (folder / "target").mkdir(exist_ok=True)
        pq.write_table(table, folder / "target" / f"{name}.parquet")
    (folder / "case.yaml").write_text(
        "case: two\ncollections:\n"
        + "".join(
            f"  {name}:\n    source: {{uri: {name}.jsonl, id: id, metadata: [day]}}\n"
            f'    target: {{uri: "parquet:target", collection: {name}}}\n    expected: {{column: v}}\n'
            for name in ("users", "posts")
        )
    )
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    collect(case, run)
    return run, diff_vectors(case, run, impact=False)


def test_a_hot_spot_in_the_second_collection_is_marked_in_its_figure(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    draw_diff(*two_collections(tmp_path, {"users": range(400, 450)}))
    [(damaged, rows, spots, _)] = drawn
    assert rows == 900
    [(_, sentence, mask)] = spots
    assert sentence == "rows 401–450 of users hold all 50 zero rows of users (5.6 % of its rows)"
    assert np.flatnonzero(mask).tolist() == damaged["zero"].tolist() == list(range(400, 450))


def test_a_hot_spot_over_two_collections_is_told_in_each_figure_with_its_own_numbers(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    """Everything of the last day is zero, and ten earlier posts: the share is another one in each collection."""
    strewn = [3, 77, 101, 180, 250, 333, 402, 451, 517, 580]
    zero = {"users": range(800, 900), "posts": [*strewn, *range(600, 700)]}
    run, diff = two_collections(tmp_path, zero)
    [spot] = diff.hot_spots
    assert spot["collection"] is None
    draw_diff(run, diff)
    users, posts = ([one for one in drawn if one[1] == count] for count in (900, 700))
    for [(_, rows, [(_, sentence, mask)], settings)], said, title in (
        (users, "hold all 100 zero rows of users (11 % of its rows)", "users: 100 of 900"),
        (posts, "hold 100 of the 110 zero rows of posts (14 % of its rows)", "posts: 110 of 700"),
    ):
        assert sentence == f"{spot['where']} {said}"
        assert np.flatnonzero(mask).tolist() == list(range(rows - 100, rows))
        assert settings["title"] == f"{title} records are damaged"
    captions = json.loads((run.figures / "captions.json").read_text())
    assert "100 of the 110 zero rows of posts" in captions["along-source-posts.png"]["alt"]


def test_letters_are_of_one_size_in_all_figures_of_a_notebook(tmp_path: Path) -> None:
    from PIL import Image

    run, diff = two_collections(tmp_path, {"users": [1]})
    shown = draw_diff(run, diff)._repr_html_()
    for name in figures_of(run, "diff").captions:
        with Image.open(run.figures / name) as picture:
            assert f"width:{picture.width * 100 // 144}px;max-width:100%" in shown


def test_figures_stand_in_the_order_of_the_case_file(tmp_path: Path) -> None:
    run, diff = two_collections(tmp_path, {"users": [1], "posts": [1]})
    assert list(diff.collections) == ["users", "posts"]
    draw_diff(run, diff)
    assert list(figures_of(run, "diff").captions) == [
        "kinds.png",
        "along-source-users.png",
        "along-source-posts.png",
    ]
