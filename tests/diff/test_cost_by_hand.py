"""What damage costs, by comparing everything with everything in numpy, from the files that a user has to findings.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.diff.one_record import neighbours_of
from vecforensics.investigation import Investigation, investigate

K = 10
CASE = """case: cost
collections:
  things:
    source: {uri: source.parquet, id: id, text: [text], metadata: [plan]}
    target: {uri: "parquet:target.parquet", collection: things}
    expected: {column: right}
"""


@dataclass
class Files:
    """A source and a target as rows: (id, expected vector or None), and (id, vector, metadata)."""

    source: list[tuple[str, np.ndarray | None]]
    target: list[tuple[str, np.ndarray, str]] = field(default_factory=list)

    @classmethod
    def right(cls, count: int, dimension: int = 12, seed: int = 0) -> Files:
        """As it should be: some clusters, unit length."""
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(9, dimension))
        vectors = centres[rng.integers(9, size=count)] + 0.6 * rng.normal(size=(count, dimension))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        ids = [str(100 + number) for number in range(count)]
        return cls(
            list(zip(ids, vectors, strict=True)),
            [(text, vector, '{"plan":"a"}') for text, vector in zip(ids, vectors, strict=True)],
        )

    def forget(self, row: int) -> None:
        """Nothing is expected of this record."""
        self.source[row] = (self.source[row][0], None)

    def put(self, row: int, vector: np.ndarray) -> None:
        self.target[row] = (self.target[row][0], vector.astype(np.float32), self.target[row][2])

    def investigated(self, folder: Path) -> Investigation:
        folder.mkdir(exist_ok=True)
        (folder / "case.yaml").write_text(CASE)
        floats = pa.list_(pa.float32())
        columns = {
            "id": pa.array([text for text, _ in self.source]),
            "text": pa.array([f"text {text}" for text, _ in self.source]),
            "plan": pa.array(["a"] * len(self.source)),
            "right": pa.array([None if one is None else one.tolist() for _, one in self.source], floats),
        }
        pq.write_table(pa.table(columns), folder / "source.parquet")
        held = {
            "id": pa.array([text for text, _, _ in self.target]),
            "vector": pa.array([vector.tolist() for _, vector, _ in self.target], floats),
            "metadata": pa.array([metadata for _, _, metadata in self.target]),
        }
        pq.write_table(pa.table(held), folder / "target.parquet")
        return investigate(folder / "case.yaml", folder / "reports")

    def said(self, folder: Path, **settings: Any) -> dict[str, Any]:
        """What findings.json says of the cost."""
        inv = self.investigated(folder)
        inv.diff(**settings)
        said: dict[str, Any] = json.loads(inv.run.findings_json.read_text())["impact"]["things"]
        return said

    def by_hand(self) -> tuple[float, float]:
        """(recall, share of the records that lost a neighbour); whoever has no expected vector is not there at all."""
        known = {text: one.astype(np.float64) for text, one in self.source if one is not None}
        bare = {text for text, one in self.source if one is None}
        held = [
            (text, vector.astype(np.float64))
            for text, vector, _ in self.target
            if text not in bare and text.removesuffix(".0") not in bare
        ]
        held = [(text, vector) for text, vector in held if len(vector) == 12 and np.isfinite(vector).all()]
        held = [(text, vector) for text, vector in held if vector.any()]
        rows = np.array([vector / np.linalg.norm(vector) for _, vector in held])
        names = np.array([text for text, _ in held])
        # Of several rows under one id the right one is the record's own; the others are nobody's.
        own = dict.fromkeys(known, -1)
        for at, (text, vector) in enumerate(held):
            if text in known and (own[text] < 0 or np.array_equal(vector, known[text])):
                own[text] = at
        is_own = np.isin(np.arange(len(held)), list(own.values()))
        order = np.array(list(known))
        right = np.array(list(known.values()))
        right /= np.linalg.norm(right, axis=1, keepdims=True)

        found, kept = [], []
        for at, text in enumerate(order.tolist()):
            near = right @ right[at]
            near[at] = -np.inf
            limit = np.sort(near)[-K] - 1e-6
            good = set(order[near >= limit].tolist())

            def hits(asks: np.ndarray, text: str = text, good: set[str] = good) -> int:
                likeness = rows @ asks
                likeness[names == text] = -np.inf
                best = np.argsort(-likeness, kind="stable")[:K]
                return sum(bool(is_own[one]) and str(names[one]) in good for one in best.tolist())

            found.append(hits(right[at]))
            kept.append(own[text] >= 0 and hits(rows[own[text]]) == K)
        return float(np.mean(found)) / K, 1.0 - float(np.mean(kept))


def damaged_in_every_way(seed: int, less: int) -> Files:
    """Strays, further rows, duplicates, lost, mangled, swapped, zero and NaN, each among records with and without expectation;
    a `less`-th of what would leave hardly anybody his neighbours."""
    files = Files.right(320, seed=seed)
    rng = np.random.default_rng(seed)
    bare, free = rng.permutation(320)[:90].tolist(), rng.permutation(320).tolist()
    vectors = [vector for _, vector in files.source]
    assert all(vector is not None for vector in vectors)

    def some(count: int) -> list[int]:
        return [free.pop() for _ in range(max(count // less, 1))]

    for one, other in zip(some(12), some(12), strict=True):
        mine, theirs = files.target[one][1], files.target[other][1]
        files.put(one, theirs)
        files.put(other, mine)
    for row in some(10):
        files.put(row, np.zeros(12))
    for row in some(6):
        files.put(row, np.full(12, np.nan))
    for row in some(25):
        files.put(row, rng.normal(size=12))
    for row in some(30):
        files.target.append((files.target[row][0], files.target[row][1] + np.float32(0.05), '{"plan":"a"}'))
    for row in some(15):
        files.target.append((f"copy-of-{row}", files.target[row][1], '{"plan":"a"}'))
    for row in some(10):
        files.target[row] = (f"{files.target[row][0]}.0", *files.target[row][1:])
    for number in range(20 // less):
        files.target.append((f"stray-{number}", rng.normal(size=12).astype(np.float32), "{}"))
    lost = set(some(20))
    files.target = [one for row, one in enumerate(files.target) if row not in lost]
    for row in bare:
        files.forget(row)
    return files


@pytest.mark.parametrize("less", [1, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_kind_of_damage_at_once_among_records_with_and_without_expectation(
    tmp_path: Path, seed: int, less: int
) -> None:
    files = damaged_in_every_way(seed, less)
    recall, lost = files.by_hand()
    said = files.said(tmp_path)
    assert 0.5 < recall < 0.98
    assert less == 1 or 0.3 < lost < 0.9
    assert said["recall"] == pytest.approx(recall, abs=1e-6)
    assert said["changed_share"] == pytest.approx(lost, abs=1e-6)
    assert (said["population"], said["records"], said["outside"]) == (230, 230, 90)


def test_where_every_second_record_has_no_expected_vector_nothing_is_lost_by_it(tmp_path: Path) -> None:
    """All vectors are right, and one metadata field is not."""
    files = Files.right(300)
    for row in range(0, 300, 2):
        files.forget(row)
    files.target[7] = (*files.target[7][:2], '{"plan":"b"}')
    said = files.said(tmp_path)
    assert (said["recall"], said["changed"], said["queries"], said["outside"]) == (1.0, 0, 150, 150)
    assert "150 records without an expected vector are left out" in said["method"]


def test_one_wrong_row_costs_what_one_row_costs(tmp_path: Path) -> None:
    files = Files.right(300)
    for row in range(1, 300, 2):
        files.forget(row)
    files.put(0, files.target[2][1])
    inv = files.investigated(tmp_path)
    diff = inv.diff()
    assert diff.impact is not None
    recall, lost = files.by_hand()
    assert recall > 0.95
    assert diff.impact["things"]["recall"] == pytest.approx(recall, abs=1e-6)
    assert diff.impact["things"]["changed_share"] == pytest.approx(lost, abs=1e-6)
    assert "(150 without an expected vector are left out)" in str(diff)
    shown = neighbours_of(inv.run, "things", files.source[4][0])
    assert {int(one.id) % 2 for one in shown.after} == {0}
    assert str(shown).endswith("150 records without an expected vector are left out")


@pytest.mark.parametrize("there", [[], [("100", np.zeros(12), "{}")], [("else", np.ones(12), "{}")]])
def test_the_only_record_has_no_neighbour_to_lose(
    tmp_path: Path, there: list[tuple[str, np.ndarray, str]]
) -> None:
    files = Files.right(1)
    files.target = [(text, vector.astype(np.float32), metadata) for text, vector, metadata in there]
    files.target += [("stray", np.ones(12, np.float32), "{}")]
    diff = files.investigated(tmp_path).diff()
    assert diff.counts["missing"] + diff.counts["zero"] == 1
    assert diff.impact is None
    assert any("fewer than two records have an expected vector" in limit for limit in diff.limits)
    assert "recall" not in str(diff)
