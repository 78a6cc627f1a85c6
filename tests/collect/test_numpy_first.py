"""Numpy was imported first, as in a notebook: its BLAS has threads of its own, and ours must not wait for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.collect import collect, row_hashes
from vecforensics.embedding.hashing import HashingEmbedder
from vecforensics.run_folder import RunFolder

CASE = """\
case: parquet
collections:
  posts:
    source: {uri: source.parquet, id: id, text: [text]}
    target: {uri: "parquet:target.parquet", collection: posts}
    expected: {%s}
"""


def blas_threads() -> set[int]:
    return {int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}


def begin(folder: Path, expected: str) -> None:
    ids = pa.array([f"{number:04d}" for number in range(40)])
    vectors = np.random.default_rng(7).normal(size=(40, 16)).astype(np.float32)
    column = fixed_vectors(vectors)
    pq.write_table(pa.table({"id": ids, "text": ids, "embedding": column}), folder / "source.parquet")
    pq.write_table(pa.table({"id": ids, "vector": column}), folder / "target.parquet")
    (folder / "case.yaml").write_text(CASE % expected)
    case = load_case(folder / "case.yaml")
    with threadpool_limits(3, "blas"):
        collect(case, RunFolder.begin(folder / "case.yaml", case, folder / "reports"))
        assert 3 in blas_threads()


def test_while_vectors_are_frozen_blas_has_one_thread_and_afterwards_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    sketch = row_hashes.sketch

    def look(*given: Any) -> Any:
        seen.append(blas_threads())
        return sketch(*given)

    monkeypatch.setattr(row_hashes, "sketch", look)
    begin(tmp_path, "column: embedding")
    assert seen == [{1}]


def test_an_embedder_keeps_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    embed = HashingEmbedder.embed

    def look(self: HashingEmbedder, texts: Any) -> Any:
        seen.append(blas_threads())
        return embed(self, texts)

    monkeypatch.setattr(HashingEmbedder, "embed", look)
    begin(tmp_path, "embedder: hashing-16")
    assert seen
    assert all(3 in threads for threads in seen)
