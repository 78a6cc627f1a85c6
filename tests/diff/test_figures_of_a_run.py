"""The figures of a run show what its sentences say: the same rows, counted the same way."""

from __future__ import annotations

import json
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
from vecforensics.diff import diff_vectors, plots
from vecforensics.figures import draw_diff
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


def test_a_hot_spot_in_the_second_collection_is_marked_in_its_figure(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    for name, count in (("posts", 700), ("users", 900)):
        vectors = np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)
        ids = [f"{name}{n}" for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text(
            "\n".join(
                json.dumps({"id": text, "v": vector.tolist()})
                for text, vector in zip(ids, vectors, strict=True)
            )
        )
        if name == "users":
            vectors[400:450] = 0
        table = pa.table({"id": ids, "vector": list(vectors)})
        (tmp_path / "target").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "target" / f"{name}.parquet")
    (tmp_path / "case.yaml").write_text(
        "case: two\ncollections:\n"
        + "".join(
            f"  {name}:\n    source: {{uri: {name}.jsonl, id: id}}\n"
            f'    target: {{uri: "parquet:target", collection: {name}}}\n    expected: {{column: v}}\n'
            for name in ("posts", "users")
        )
    )
    case = load_case(tmp_path / "case.yaml")
    run = RunFolder.begin(tmp_path / "case.yaml", case, tmp_path / "reports")
    collect(case, run)
    draw_diff(run, diff_vectors(case, run, impact=False))
    [(damaged, rows, spots, _)] = drawn
    assert rows == 900
    [(_, sentence, mask)] = spots
    assert sentence.startswith("rows 401–450 of users")
    assert np.flatnonzero(mask).tolist() == damaged["zero"].tolist() == list(range(400, 450))
