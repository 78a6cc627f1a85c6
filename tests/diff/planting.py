"""A world of records and vectors with faults planted in it, and the truth about each.

`World` holds a source and a target as plain lists and arrays; a planter takes rows that nobody has touched, does one kind of
damage and writes down what an examiner should say. `investigate` freezes the world and diffs it; `score` compares the findings
with the truth.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Case, load_case
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.diff import Diff, diff_vectors
from vecforensics.findings import Kind
from vecforensics.records import canonical_json, source_schema, target_schema
from vecforensics.run_folder import RunFolder

ID_SHAPES = ("numeric", "padded", "uuid", "unicode", "spaces", "enotation", "beyond53", "words")
PLANS = ("free", "pro", "team")


def make_ids(shape: str, count: int, rng: np.random.Generator) -> list[str]:
    """Distinct ids of one shape."""
    if shape == "numeric":
        return [str(n) for n in range(1000, 1000 + count)]
    if shape == "padded":
        return [f"{n:08d}" for n in range(1, count + 1)]
    if shape == "uuid":
        return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]
    if shape == "unicode":
        return [f"café-{n}-ñandú" for n in range(count)]
    if shape == "spaces":
        return [f" User {n} " for n in range(count)]
    if shape == "enotation":
        return [f"{n}e{n % 7 + 1}" for n in range(1, count + 1)]
    if shape == "beyond53":
        return [str(2**53 + 1 + 4 * n) for n in range(count)]
    return [f"post/{n}:{'abc'[n % 3]}" for n in range(count)]


def make_vectors(
    count: int, dimension: int, rng: np.random.Generator, *, normalised: bool, clustered: bool
) -> np.ndarray:
    vectors = rng.normal(size=(count, dimension))
    if clustered:
        centres = rng.normal(size=(max(count // 40, 2), dimension)) * 2
        vectors = centres[rng.integers(0, len(centres), count)] + 0.4 * vectors
    if normalised:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


@dataclass
class World:
    """A source, a target and the truth. `free`: rows that no planter has touched yet, in random order."""

    ids: list[str]
    expected: np.ndarray
    metadata: list[dict[str, Any]]
    parents: list[str | None]
    rng: np.random.Generator
    earlier: list[tuple[str, np.ndarray]] = field(default_factory=list)
    target: list[tuple[str, np.ndarray, dict[str, Any]]] = field(default_factory=list)
    row_of: dict[str, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    truth: set[tuple[str, str]] = field(default_factory=set)
    partners: dict[tuple[str, str], str] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        count: int = 400,
        *,
        dimension: int = 32,
        shape: str = "words",
        normalised: bool = True,
        clustered: bool = False,
        seed: int = 0,
    ) -> World:
        rng = np.random.default_rng(seed)
        ids = make_ids(shape, count, rng)
        expected = make_vectors(count, dimension, rng, normalised=normalised, clustered=clustered)
        metadata = [
            {
                "plan": PLANS[n % 3],
                "score": n % 17,
                "ratio": n / 7,
                "active": "true" if n % 2 else "false",
                "tags": [f"t{n}"],
            }
            for n in range(count)
        ]
        parents: list[str | None] = [None if n < count // 2 else ids[n - count // 2] for n in range(count)]
        world = cls(ids, expected, metadata, parents, rng)
        world.target = [(ids[n], expected[n].copy(), dict(metadata[n])) for n in range(count)]
        world.row_of = {text: n for n, text in enumerate(ids)}
        world.free = rng.permutation(count).tolist()
        return world

    @property
    def dimension(self) -> int:
        return int(self.expected.shape[1])

    def take(self, count: int, where: Callable[[int], bool] = lambda _row: True) -> list[int]:
        """Untouched rows. Rows whose children are looked at elsewhere do not matter: dangling truth is computed at the end."""
        chosen = [row for row in self.free if where(row)][:count]
        self.free = [row for row in self.free if row not in set(chosen)]
        return chosen

    def take_run(self, count: int) -> list[int]:
        """Untouched neighbours in source order."""
        free = set(self.free)
        starts = [row for row in self.free if all(row + k in free for k in range(-3, count + 4))]
        run = list(range(starts[0], starts[0] + count)) if starts else []
        self.free = [row for row in self.free if not run or not run[0] - 3 <= row <= run[-1] + 3]
        return run

    def vector(self, row: int, vector: np.ndarray) -> None:
        at = self.place(self.ids[row])
        self.target[at] = (self.target[at][0], vector.astype(np.float32), self.target[at][2])

    def place(self, text: str) -> int:
        return next(n for n, entry in enumerate(self.target) if entry[0] == text)

    def expect(self, kind: Kind, text: str, partner: str | None = None) -> None:
        self.truth.add((kind.value, text))
        if partner is not None:
            self.partners[(kind.value, text)] = partner


def plant_missing(world: World, count: int) -> None:
    for row in world.take(count):
        del world.target[world.place(world.ids[row])]
        world.expect(Kind.MISSING, world.ids[row])


def plant_orphans(world: World, count: int) -> None:
    for n in range(count):
        text = f"stranger-{n}"
        world.target.append(
            (text, world.rng.normal(size=world.dimension).astype(np.float32), {"plan": "free"})
        )
        world.expect(Kind.ORPHAN, text)


def plant_mangled_by_id(world: World, count: int, mangle: Callable[[str], str]) -> None:
    taken = {entry[0] for entry in world.target}
    for row in world.take(count):
        text, made = world.ids[row], mangle(world.ids[row])
        if made == text or made in taken:
            continue
        at = world.place(text)
        world.target[at] = (made, *world.target[at][1:])
        taken.add(made)
        world.expect(Kind.MANGLED_ID, text, None)


def plant_mangled_by_content(world: World, count: int) -> None:
    names = ["NaN", "undefined", "null", "None"]
    for n, row in enumerate(world.take(count)):
        made = names[n] if n < len(names) else str(uuid.UUID(bytes=world.rng.bytes(16), version=4))
        at = world.place(world.ids[row])
        world.target[at] = (made, *world.target[at][1:])
        world.expect(Kind.MANGLED_ID, world.ids[row])


def plant_duplicates(world: World, count: int) -> None:
    for n, row in enumerate(world.take(count)):
        text, vector, metadata = world.target[world.place(world.ids[row])]
        if n % 3 == 0:
            world.target.append((text, vector.copy(), dict(metadata)))
        elif n % 3 == 1:
            world.target.append(
                (str(uuid.UUID(bytes=world.rng.bytes(16), version=4)), vector.copy(), dict(metadata))
            )
        else:
            noisy = (vector * (1 + 1e-7 * world.rng.normal(size=vector.shape))).astype(np.float32)
            world.target.append((f"retry-{n}", noisy, dict(metadata)))
        world.expect(Kind.DUPLICATE, world.ids[row])


def plant_swapped(world: World, count: int) -> None:
    """Pairs, and one cycle of five."""
    rows = world.take(count)
    groups = [rows[:5], *(rows[n : n + 2] for n in range(5, len(rows) - 1, 2))]
    for group in groups:
        for row, owner in zip(group, group[1:] + group[:1], strict=True):
            world.vector(row, world.expected[owner])
            world.expect(Kind.SWAPPED, world.ids[row], world.ids[owner])


def plant_shifted(world: World, count: int) -> None:
    """One record was skipped: each of the run holds the vector of the next."""
    for offset in (1, -1):
        run = world.take_run(count // 2 + 1)
        if len(run) < 5:
            continue
        pairs = list(itertools.pairwise(run))
        for row, owner in pairs if offset == 1 else [(b, a) for a, b in pairs]:
            world.vector(row, world.expected[owner])
            world.expect(Kind.SHIFTED, world.ids[row], world.ids[owner])


def plant_broadcast(world: World, count: int) -> None:
    """One record's vector under many ids, and one vector that is nobody's."""
    rows = world.take(count)
    half = len(rows) // 2
    owner = rows[0]
    for row in rows[1:half]:
        world.vector(row, world.expected[owner])
        world.expect(Kind.BROADCAST, world.ids[row], world.ids[owner])
    stranger = world.rng.normal(size=world.dimension)
    stranger /= np.linalg.norm(stranger)
    for row in rows[half:]:
        world.vector(row, stranger)
        world.expect(Kind.BROADCAST, world.ids[row])


def plant_non_finite(world: World, count: int) -> None:
    for n, row in enumerate(world.take(count)):
        vector = world.expected[row].copy()
        if n % 3 == 0:
            vector[:] = np.nan
        else:
            vector[int(world.rng.integers(world.dimension))] = np.nan if n % 3 == 1 else -np.inf
        world.vector(row, vector)
        world.expect(Kind.NON_FINITE, world.ids[row])


def plant_zero(world: World, count: int) -> None:
    for row in world.take(count):
        world.vector(row, np.zeros(world.dimension))
        world.expect(Kind.ZERO, world.ids[row])


def plant_wrong_dimension(world: World, count: int) -> None:
    for n, row in enumerate(world.take(count)):
        vector = world.expected[row]
        made = (
            vector[: world.dimension // 2],
            np.r_[vector, np.zeros(4)],
            world.rng.normal(size=world.dimension + 3),
        )
        world.vector(row, made[n % 3])
        world.expect(Kind.WRONG_DIMENSION, world.ids[row])


def plant_partial(world: World, count: int) -> None:
    rows = world.take(count)
    half = world.dimension // 2
    for n, row in enumerate(rows):
        vector = world.expected[row].copy()
        if n % 3 == 0:
            vector[half:] = 0
        elif n % 3 == 1:
            vector[half:] = np.nan
        else:
            vector[half:] = world.expected[rows[n - 1]][half:]
        world.vector(row, vector)
        world.expect(Kind.PARTIAL, world.ids[row])


def plant_stale(world: World, count: int) -> None:
    for row in world.take(count):
        for _ in range(1 + row % 2):
            old = make_vectors(1, world.dimension, world.rng, normalised=True, clustered=False)[0]
            world.earlier.append((world.ids[row], old))
        world.vector(row, old)
        world.expect(Kind.STALE, world.ids[row])


def plant_foreign_model(world: World, count: int) -> None:
    turn = np.linalg.qr(world.rng.normal(size=(world.dimension, world.dimension)))[0]
    for row in world.take(max(count, 3 * 20)):
        world.vector(row, world.expected[row] @ turn)
        world.expect(Kind.FOREIGN_MODEL, world.ids[row])


def plant_drifted(world: World, count: int) -> None:
    for n, row in enumerate(world.take(count)):
        length = np.linalg.norm(world.expected[row])
        noise = world.rng.normal(size=world.dimension)
        noise *= length / np.linalg.norm(noise)
        world.vector(row, noise if n % 2 else world.expected[row] + 0.3 * noise)
        world.expect(Kind.DRIFTED, world.ids[row])


def plant_metadata_drift(world: World, count: int) -> None:
    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda m: m.update(plan="enterprise"),
        lambda m: m.pop("plan"),
        lambda m: m.update(score=float(m["score"])),
        lambda m: m.update(active=m["active"] == "true"),
        lambda m: m.update(tags=m["tags"][0]),
        lambda m: m.update(score=str(m["score"])),
    ]
    for n, row in enumerate(world.take(count)):
        changes[n % len(changes)](world.target[world.place(world.ids[row])][2])
        world.expect(Kind.METADATA_DRIFT, world.ids[row])


def plant_benign(world: World, count: int) -> None:
    """Float noise, one unit in the last place, other norms, narrower formats."""
    for n, row in enumerate(world.take(count)):
        vector = world.expected[row]
        if n % 7 == 0:
            world.vector(row, vector * (1 + 1e-6 * world.rng.normal(size=vector.shape)))
            kind = Kind.NOISE
        elif n % 7 == 1:
            world.vector(row, np.nextafter(vector, np.float32(np.inf)))
            kind = Kind.NOISE
        elif n % 7 == 2:
            world.vector(row, vector * np.float32(3.7))
            kind = Kind.NORMALISED
        elif n % 7 == 3:
            world.vector(row, vector.astype(np.float16))
            kind = Kind.QUANTISED
        elif n % 7 == 4:
            world.vector(row, (vector.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32))
            kind = Kind.QUANTISED
        elif n % 7 == 5:
            step = np.abs(vector).max() / 127
            world.vector(row, np.round(vector / step) * step)
            kind = Kind.QUANTISED
        else:
            step = (vector.max() - vector.min()) / 255
            world.vector(row, np.round((vector - vector.min()) / step) * step + vector.min())
            kind = Kind.QUANTISED
        world.expect(kind, world.ids[row])


PLANTERS: dict[str, Callable[[World, int], None]] = {
    "missing": plant_missing,
    "orphan": plant_orphans,
    "mangled_id": plant_mangled_by_content,
    "duplicate": plant_duplicates,
    "swapped": plant_swapped,
    "shifted": plant_shifted,
    "broadcast": plant_broadcast,
    "non_finite": plant_non_finite,
    "zero": plant_zero,
    "wrong_dimension": plant_wrong_dimension,
    "partial": plant_partial,
    "stale": plant_stale,
    "foreign_model": plant_foreign_model,
    "drifted": plant_drifted,
    "metadata_drift": plant_metadata_drift,
    "benign": plant_benign,
}


def add_dangling(world: World) -> None:
    """Every present record whose parent is not there under its own id dangles; counted after all planting."""
    present = {entry[0] for entry in world.target}
    under = {text for kind, text in world.truth if kind == Kind.MANGLED_ID}
    for row, parent in enumerate(world.parents):
        here = world.ids[row] in present or world.ids[row] in under
        if parent is not None and here and parent not in present:
            world.expect(Kind.DANGLING, world.ids[row], parent)


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
            facts={"store": store},
        )
        writer.attach("logs.jsonl", "".join(json.dumps(event) + "\n" for event in world.logs).encode())
        writer.finish(**facts)
    return case, run


def source_batches(world: World, expected: bool) -> list[pa.RecordBatch]:
    """Earlier versions stand before the newest of all records."""
    old = [(text, vector, "0" * 3 + str(n)) for n, (text, vector) in enumerate(world.earlier)]
    ids = [text for text, _, _ in old] + world.ids
    vectors = np.concatenate([*(vector[None] for _, vector, _ in old), world.expected])
    schema = source_schema(["things"], world.dimension if expected else None)
    row = [world.row_of[text] for text in ids]
    columns = [
        pa.array(ids, pa.string()),
        pa.array([f"text of {text}" for text in ids], pa.string()),
        pa.array([canonical_json(world.metadata[n]) for n in row], pa.string()),
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
        pa.array([canonical_json(metadata) for _, _, metadata in rows], pa.string()),
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
