"""A source and a target of any size with faults planted in them, and the truth about each.

Rows are made in blocks of 50,000, each from (seed, block) alone, so a million rows need the memory of one block. A block takes
disjoint rows for each kind of damage, writes down what it did, shuffles the target rows (a store lists them in an order of its
own) and appends both sides to list-column Parquet, the form in which a user has them. The counts are those of a bad migration
that mostly worked: 1.5 % of the rows damaged, 1.1 % changed in ways that do no harm.

Not planted: `stale`, `foreign_model`, `dangling`, `premature` and `normalised`. The other tools have no notion of versions or
dependencies, so a row for them would say nothing; tests/diff measures ours on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCK = 50_000
RUN = 120
# Rows of each kind in a block, besides one shifted run of RUN rows.
DAMAGE = {
    "missing": 60, "orphan": 30, "mangled_id": 40, "duplicate": 60, "swapped": 100, "broadcast": 60, "non_finite": 30,
    "zero": 30, "wrong_dimension": 40, "partial": 40, "drifted": 100, "metadata_drift": 60,
}  # fmt: skip
HARMLESS = {"noise": 250, "quantised": 250, "one_ulp": 60}

_PLANS = ("free", "pro", "team")
_SCORES = 17
_METADATA = pa.array([f'{{"plan":"{plan}","score":{score}}}' for plan in _PLANS for score in range(_SCORES)])


@dataclass
class _Block:
    """One block while it is damaged: row numbers are those within the block."""

    rng: np.random.Generator
    ids: np.ndarray
    expected: np.ndarray
    target_ids: np.ndarray
    vectors: np.ndarray
    metadata: np.ndarray
    keep: np.ndarray
    ragged: dict[int, np.ndarray] = field(default_factory=dict)
    added: list[tuple[str, np.ndarray, str]] = field(default_factory=list)
    truth: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def say(self, kind: str, rows: np.ndarray) -> None:
        self.truth += [(kind, str(self.ids[row]), None) for row in rows]

    def fresh_id(self) -> str:
        return self.rng.bytes(16).hex()


def plant(folder: Path, rows: int, *, dimension: int, stored: str = "float32", seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """Write `source.parquet`, `target.parquet` and `truth.parquet` into `folder`; says how many rows of each kind there are.

    `stored`: what the store keeps of every component; where it keeps float16, no vector is what it was.
    """
    vectors = pa.list_(pa.float32())
    source_schema = pa.schema(
        [("id", pa.string()), ("text", pa.string()), ("plan", pa.string()), ("score", pa.int64()), ("embedding", vectors)]
    )  # fmt: skip
    target_schema = pa.schema([("id", pa.string()), ("vector", vectors), ("metadata", pa.string())])
    truth: list[tuple[str, str | None, str | None]] = []
    # Vectors neither compress nor repeat: the settings that a careful writer would choose.
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["plan", "metadata"]}
    with (
        pq.ParquetWriter(folder / "source.parquet", source_schema, **options) as source,
        pq.ParquetWriter(folder / "target.parquet", target_schema, **options) as target,
    ):
        for number, first in enumerate(range(0, rows, BLOCK)):
            one, plan, score = _block(number, first, min(BLOCK, rows - first), dimension, seed)
            _damage(one)
            one.vectors = one.vectors.astype(stored).astype(np.float32)
            text = np.char.add("post ", one.ids)
            columns = [
                pa.array(one.ids), pa.array(text), pa.array(np.array(_PLANS)[plan]), pa.array(score),
                _lists(one.expected, {}),
            ]  # fmt: skip
            source.write_table(pa.table(columns, schema=source_schema), row_group_size=BLOCK // 5)
            target.write_table(_target(one, target_schema), row_group_size=BLOCK // 5)
            truth += one.truth
    names = ("kind", "source_id", "target_id")
    pq.write_table(
        pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, zip(*truth, strict=True), strict=True)}),
        folder / "truth.parquet",
    )  # fmt: skip
    return {kind: sum(entry[0] == kind for entry in truth) for kind in (*DAMAGE, "shifted", *HARMLESS)}


def _block(number: int, first: int, count: int, dimension: int, seed: int) -> tuple[_Block, np.ndarray, np.ndarray]:  # fmt: skip
    rng = np.random.default_rng([seed, number])
    ids = np.array([f"{row:08d}" for row in range(first, first + count)], object).astype(np.str_)
    expected = rng.standard_normal((count, dimension), np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    plan, score = rng.integers(0, len(_PLANS), count), rng.integers(0, _SCORES, count)
    metadata = np.array(_METADATA.to_pylist(), object)[plan * _SCORES + score]
    one = _Block(rng, ids, expected, ids.astype(object), expected.copy(), metadata, np.ones(count, np.bool_))
    return one, plan, score


def _damage(one: _Block) -> None:
    count, dimension = one.expected.shape
    run = np.arange(count // 2, count // 2 + max(RUN * count // BLOCK, 8))
    free = one.rng.permutation(np.r_[: run[0] - 3, run[-1] + 4 : count])
    at = 0
    rows: dict[str, np.ndarray] = {}
    for kind, wanted in {**DAMAGE, **HARMLESS}.items():
        # Even, since rows are swapped in pairs; a last block that is smaller gets its share.
        share = max(wanted * count // BLOCK, 2) // 2 * 2
        rows[kind] = free[at : at + share]
        at += share
    expected, vectors, rng = one.expected, one.vectors, one.rng

    one.say("missing", rows["missing"])
    one.keep[rows["missing"]] = False
    for _ in rows["orphan"]:
        stranger = rng.standard_normal(dimension, np.float32)
        identity = one.fresh_id()
        one.added.append((identity, stranger / np.linalg.norm(stranger), '{"plan":"free","score":1}'))
        one.truth.append(("orphan", None, identity))
    for number, row in enumerate(rows["mangled_id"]):
        one.target_ids[row] = str(int(one.ids[row])) if number % 2 else one.fresh_id()
        one.truth.append(("mangled_id", str(one.ids[row]), str(one.target_ids[row])))
    for number, row in enumerate(rows["duplicate"]):
        identity = str(one.ids[row]) if number % 3 == 0 else one.fresh_id()
        copy = expected[row] + 1e-7 * rng.standard_normal(dimension, np.float32) * (number % 3 == 2)
        one.added.append((identity, copy, str(one.metadata[row])))
        one.truth.append(("duplicate", str(one.ids[row]), identity))
    one.say("swapped", rows["swapped"])
    vectors[rows["swapped"]] = expected[rows["swapped"].reshape(-1, 2)[:, ::-1].reshape(-1)]
    one.say("shifted", run)
    vectors[run] = expected[run + 1]
    # The first row of the group is the owner of the vector that stands under all of them.
    one.say("broadcast", rows["broadcast"][1:])
    vectors[rows["broadcast"]] = expected[rows["broadcast"][0]]
    one.say("non_finite", rows["non_finite"])
    vectors[rows["non_finite"], rng.integers(0, dimension, len(rows["non_finite"]))] = np.nan
    one.say("zero", rows["zero"])
    vectors[rows["zero"]] = 0
    one.say("wrong_dimension", rows["wrong_dimension"])
    for number, row in enumerate(rows["wrong_dimension"]):
        padded = np.r_[expected[row], np.zeros(16, np.float32)]
        one.ragged[int(row)] = padded if number % 2 else expected[row, : dimension // 2]
    one.say("partial", rows["partial"])
    vectors[rows["partial"], dimension // 2 :] = 0
    one.say("drifted", rows["drifted"])
    moved = expected[rows["drifted"]] + 0.3 / dimension**0.5 * _normal(one, rows["drifted"])
    vectors[rows["drifted"]] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    one.say("metadata_drift", rows["metadata_drift"])
    for number, row in enumerate(rows["metadata_drift"]):
        score = str(one.metadata[row]).partition('"score":')[2]
        one.metadata[row] = f'{{"plan":"lost","score":{score}' if number % 2 else f'{{"score":{score}'

    one.say("noise", rows["noise"])
    vectors[rows["noise"]] += np.float32(1e-7) * _normal(one, rows["noise"])
    one.say("quantised", rows["quantised"])
    vectors[rows["quantised"]] = expected[rows["quantised"]].astype(np.float16)
    one.say("one_ulp", rows["one_ulp"])
    vectors[rows["one_ulp"], 0] = np.nextafter(expected[rows["one_ulp"], 0], np.float32(2))


def _normal(one: _Block, rows: np.ndarray) -> np.ndarray:
    return one.rng.standard_normal((len(rows), one.expected.shape[1]), np.float32)


def _target(one: _Block, schema: pa.Schema) -> pa.Table:
    """The rows as the store lists them: shuffled, with what was added."""
    extra = np.array([entry[1] for entry in one.added], np.float32)
    ids = np.r_[one.target_ids, np.array([entry[0] for entry in one.added], object)]
    metadata = np.r_[one.metadata, np.array([entry[2] for entry in one.added], object)]
    vectors = np.concatenate([one.vectors, extra])
    order = one.rng.permutation(np.r_[np.flatnonzero(one.keep), len(one.ids) : len(ids)])
    place = {int(row): number for number, row in enumerate(order)}
    lists = _lists(vectors[order], {place[row]: vector for row, vector in one.ragged.items()})
    columns = [pa.array(ids[order], pa.string()), lists, pa.array(metadata[order], pa.string())]
    return pa.table(columns, schema=schema)


def _lists(matrix: np.ndarray, ragged: dict[int, np.ndarray]) -> pa.Array:
    """Rows as lists of any length; those in `ragged` stand instead of the matrix's."""
    lengths = np.full(len(matrix), matrix.shape[1])
    parts, start = [], 0
    for row, vector in sorted(ragged.items()):
        parts += [matrix[start:row].reshape(-1), vector]
        lengths[row] = len(vector)
        start = row + 1
    parts.append(matrix[start:].reshape(-1))
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(parts)))
