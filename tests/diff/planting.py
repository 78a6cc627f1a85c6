"""Planters: each takes rows that nobody has touched, does one kind of damage and writes down what an examiner should say."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from planted_world import World, make_vectors

from vecforensics.findings import Kind


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
            _plant_copy(world, row, vector * (1 + 1e-6 * world.rng.normal(size=vector.shape)), Kind.NOISE)
        elif n % 7 == 1:
            _plant_copy(world, row, np.nextafter(vector, np.float32(np.inf)), Kind.NOISE)
        elif n % 7 == 2:
            _plant_copy(world, row, vector * np.float32(3.7), Kind.NORMALISED)
        elif n % 7 == 3:
            _plant_copy(world, row, vector.astype(np.float16), Kind.QUANTISED)
        elif n % 7 == 4:
            cut = (vector.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
            _plant_copy(world, row, cut, Kind.QUANTISED)
        elif n % 7 == 5:
            step = np.abs(vector).max() / 127
            _plant_copy(world, row, np.round(vector / step) * step, Kind.QUANTISED)
        else:
            step = (vector.max() - vector.min()) / 255
            copy = np.round((vector - vector.min()) / step) * step + vector.min()
            _plant_copy(world, row, copy, Kind.QUANTISED)


def _plant_copy(world: World, row: int, copy: np.ndarray, kind: Kind) -> None:
    """A grid that holds a sparse vector's few values leaves it as it was, or moves it by its own rounding, which is noise."""
    wanted, made = world.expected[row], copy.astype(np.float32)
    world.vector(row, made)
    if kind is Kind.QUANTISED and (np.abs(made - wanted) <= 4 * np.spacing(np.abs(wanted).max())).all():
        kind = Kind.NOISE
    if made.tobytes() != wanted.tobytes():
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


def add_premature(world: World, count: int) -> None:
    """Log lines for some children and their parents; every other child came first, by sequence, time or place in the log."""
    lost = {text for kind, text in world.truth if kind in (Kind.MISSING, Kind.MANGLED_ID)}
    whole = [
        row
        for row, parent in enumerate(world.parents)
        if parent is not None and not {parent, world.ids[row]} & lost
    ]
    for n, row in enumerate(world.rng.permutation(whole)[: 2 * count].tolist()):
        parent = world.parents[row]
        assert parent is not None
        early = n % 2 == 0
        names = [world.ids[row], parent] if early else [parent, world.ids[row]]
        for place, name in enumerate(names):
            event: dict[str, Any] = {"action": "wrote", "record_ids": [name], "time": None, "fields": {}}
            if n % 3 == 0:
                event["fields"] = {"seq": str(10 * n + place)}
            elif n % 3 == 1:
                event["time"] = f"2026-01-01T{n // 60:02d}:{n % 60:02d}:{place:02d}Z"
            world.logs.append(event)
        if early:
            world.expect(Kind.PREMATURE, world.ids[row], parent)
