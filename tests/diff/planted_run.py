"""From a planted world to a diff and a score: freeze it, diff it, compare the findings with the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from planted_world import World

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Case, load_case
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.diff import Diff, diff_vectors
from vecforensics.records import metadata_json, source_schema, target_schema
from vecforensics.run_folder import RunFolder

CASE = """case: planted
collections:
  things:
    source: {uri: things.jsonl, id: id, text: [text], metadata: [plan, score, ratio, active, tags], depends_on: {things: parent}}
    target: {uri: "STORE:things", collection: things}
    EXPECTED
settle_s: SETTLE
"""


def case_file(folder: Path, *, store: str = "lancedb", expected: bool = True, settle_s: float = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = CASE.replace("STORE", store).replace("SETTLE", str(settle_s))
    path = folder / "case.yaml"
    path.write_text(text.replace("EXPECTED", "expected: {column: vector}" if expected else ""))
    return path


def freeze(
    world: World,
    folder: Path,
    *,
    buckets: int = 2,
    store: str = "lancedb",
    expected: bool = True,
    settle_s: float = 0,
    shuffle: int | None = 1,
    **facts: Any,
) -> tuple[Case, RunFolder]:
    """Freeze the world as a run. `shuffle`: seed for the order in which the store lists its rows."""
    file = case_file(folder, store=store, expected=expected, settle_s=settle_s)
    case = load_case(file)
    run = RunFolder.begin(file, case, folder / "reports")
    order = np.arange(len(world.target))
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(world.target))
    with EvidenceWriter(run.evidence, buckets=buckets) as writer:
        writer.source(
            "things",
            source_batches(world, expected),
            metadata=("plan", "score", "ratio", "active", "tags"),
            expected="column vector" if expected else None,
        )
        writer.target(
            "things",
            target_batches([world.target[n] for n in order], world.dimension),
            facts=lambda: {"store": store},
        )
        writer.attach("logs.jsonl", "".join(json.dumps(event) + "\n" for event in world.logs).encode())
        writer.finish(**facts)
    return case, run


def text_of(record_id: str) -> str:
    """What the record says."""
    return f"text of {record_id}"


def source_batches(world: World, expected: bool) -> list[pa.RecordBatch]:
    """Earlier versions stand before the newest of all records."""
    old = [(text, vector, "0" * 3 + str(n)) for n, (text, vector) in enumerate(world.earlier)]
    ids = [text for text, _, _ in old] + world.ids
    vectors = np.concatenate([*(vector[None] for _, vector, _ in old), world.expected])
    schema = source_schema(["things"], world.dimension if expected else None)
    row = [world.row_of[text] for text in ids]
    columns = [
        pa.array(ids, pa.string()),
        pa.array([text_of(text) for text in ids], pa.string()),
        pa.array([metadata_json(world.metadata[n]) for n in row], pa.string()),
        pa.array([version for _, _, version in old] + ["9999"] * len(world.ids), pa.string()),
        pa.array([world.parents[n] for n in row], pa.string()),
    ]
    if expected:
        columns.append(fixed_vectors(vectors))
    return pa.Table.from_arrays(columns, schema=schema).to_batches(max_chunksize=97)


def target_batches(
    rows: Iterable[tuple[str, np.ndarray, dict[str, Any]]], dimension: int
) -> list[pa.RecordBatch]:
    rows = list(rows)
    right = np.array([len(vector) == dimension for _, vector, _ in rows], bool)
    matrix = np.zeros((len(rows), dimension), np.float32)
    for n, (_, vector, _) in enumerate(rows):
        if right[n]:
            matrix[n] = vector
    columns = [
        pa.array([text for text, _, _ in rows], pa.string()),
        fixed_vectors(matrix, None if right.all() else ~right),
        pa.array(
            [None if ok else vector.tolist() for ok, (_, vector, _) in zip(right, rows, strict=True)],
            pa.list_(pa.float32()),
        ),
        pa.array([metadata_json(metadata) for _, _, metadata in rows], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=target_schema(dimension)).to_batches(max_chunksize=89)


def investigate(world: World, folder: Path, **settings: Any) -> Diff:
    """Freeze and diff. Settings of `freeze` and of `diff_vectors` by their names."""
    frozen = {
        key: settings.pop(key)
        for key in ("buckets", "store", "expected", "settle_s", "shuffle")
        if key in settings
    }
    case, run = freeze(world, folder, **frozen)
    return diff_vectors(case, run, **settings)


def found(diff: Diff) -> set[tuple[str, str]]:
    """(kind, id) of every finding about a row; the id of an orphan is its target id."""
    rows = diff.table.to_pylist()
    return {
        (row["kind"], row["source_id"] if row["source_id"] is not None else row["target_id"])
        for row in rows
        if "whole_collection" not in json.loads(row["detail"])
    }


def score(world: World, diff: Diff) -> dict[str, tuple[int, int, int]]:
    """For each kind: (hits, false findings, misses)."""
    said = found(diff)
    kinds = {kind for kind, _ in said | world.truth}
    return {
        kind: (
            sum(k == kind for k, _ in said & world.truth),
            sum(k == kind for k, _ in said - world.truth),
            sum(k == kind for k, _ in world.truth - said),
        )
        for kind in sorted(kinds)
    }
