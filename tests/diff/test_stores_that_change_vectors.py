"""A store that normalises or rounds every vector: damage is named as it is elsewhere, and the store's own work is one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from planted_run import found, investigate
from planted_world import World
from planting import add_dangling

from vecforensics.findings import Kind


def normalised(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def float16(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector).astype(np.float16).astype(np.float32)


def bfloat16(vector: np.ndarray) -> np.ndarray:
    return (np.asarray(vector, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def int8(vector: np.ndarray) -> np.ndarray:
    step = np.abs(vector).max() / 127
    return (np.round(vector / step) * step).astype(np.float32)


def noisy(vector: np.ndarray) -> np.ndarray:
    """As a provider gives the same text again: the same noise for the same vector."""
    rng = np.random.default_rng(abs(int(1e6 * float(np.asarray(vector)[0]))))
    return (np.asarray(vector) * (1 + 1e-5 * rng.normal(size=len(vector)))).astype(np.float32)


STORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normalised": normalised,
    "float16": float16,
    "bfloat16": bfloat16,
    "int8": int8,
    "normalised, then float16": lambda vector: float16(normalised(vector)),
    "six decimals": lambda vector: np.round(np.asarray(vector, np.float64), 6).astype(np.float32),
    "noise": lambda vector: noisy(vector),
}


@pytest.mark.parametrize(("dimension", "already"), [(24, False), (96, False), (96, True)])
@pytest.mark.parametrize("name", STORES)
def test_every_kind_is_named_through_what_the_store_does(
    tmp_path: Path, name: str, dimension: int, already: bool
) -> None:
    """`already`: the vectors have length one before they are stored, so that a store that normalises changes few of them."""
    store = STORES[name]
    world = World.make(count=600, dimension=dimension, seed=2, normalised=already)

    def put(kind: Kind, row: int, vector: np.ndarray) -> None:
        world.vector(row, store(vector.astype(np.float32)))
        world.expect(kind, world.ids[row])

    for row in range(600):
        world.vector(row, store(world.expected[row]))
    one, other = world.take(2)
    put(Kind.SWAPPED, one, world.expected[other])
    put(Kind.SWAPPED, other, world.expected[one])
    run = world.take_run(12)
    for row, following in itertools.pairwise(run):
        put(Kind.SHIFTED, row, world.expected[following])
    owner, *rest = world.take(8)
    for row in rest:
        put(Kind.BROADCAST, row, world.expected[owner])
    half = dimension // 2
    partners = world.take(6)
    for row, partner in zip(partners[:3], partners[3:], strict=True):
        put(Kind.PARTIAL, row, np.r_[world.expected[row][:half], world.expected[partner][half:]])
        world.partners[("partial", world.ids[row])] = world.ids[partner]
    for row in world.take(3):
        put(Kind.PARTIAL, row, np.r_[world.expected[row][:half], np.zeros(dimension - half)])
    for row in world.take(3):
        world.earlier.append((world.ids[row], world.rng.normal(size=dimension).astype(np.float32)))
        put(Kind.STALE, row, world.earlier[-1][1])
    for n, row in enumerate(world.take(3)):
        at = world.place(world.ids[row])
        world.target[at] = (f"fresh {n}", *world.target[at][1:])
        world.expect(Kind.MANGLED_ID, world.ids[row])
    for n, row in enumerate(world.take(3)):
        _, vector, metadata = world.target[world.place(world.ids[row])]
        world.target.append((f"again {n}", vector.copy(), dict(metadata)))
        world.expect(Kind.DUPLICATE, world.ids[row])
    turn = np.linalg.qr(world.rng.normal(size=(dimension, dimension)))[0]
    for row in world.take(40):
        put(Kind.FOREIGN_MODEL, row, world.expected[row] @ turn)
    for row in world.take(10):
        put(Kind.DRIFTED, row, world.rng.normal(size=dimension))
    add_dangling(world)
    diff = investigate(world, tmp_path, impact=False)
    benign = {"normalised", "quantised", "noise"}
    assert {finding for finding in found(diff) if finding[0] not in benign} == world.truth
    assert already or sum(diff.counts[kind] for kind in benign) == 1
    named = {(row["kind"], row["source_id"]): row["partner_id"] for row in diff.table.to_pylist()}
    assert {key: named[key] for key in world.partners if key[0] == "partial"} == {
        key: partner for key, partner in world.partners.items() if key[0] == "partial"
    }


@pytest.mark.parametrize("dimension", [8, 16, 64])
@pytest.mark.parametrize("cut", [np.round, np.trunc], ids=["nearest", "cut off"])
def test_a_store_that_gives_back_its_codes_is_in_order_and_a_wrong_code_is_not(
    tmp_path: Path, dimension: int, cut: Callable[[np.ndarray], np.ndarray]
) -> None:
    """int8 that nobody multiplied back: whole numbers many times as long as what was expected."""
    world = World.make(count=400, dimension=dimension, seed=3)
    scale = 127 / np.abs(world.expected).max()
    for row in range(400):
        world.vector(row, cut(world.expected[row].astype(np.float64) * scale).astype(np.float32))
    clean = investigate(world, tmp_path / "clean", impact=False)
    assert clean.verdict.value == "clean"
    one, other, moved = world.take(3)
    for row, owner in ((one, other), (other, one)):
        world.vector(row, cut(world.expected[owner].astype(np.float64) * scale).astype(np.float32))
    lost = cut(world.expected[moved].astype(np.float64) * scale)
    lost[0] += 40 if lost[0] < 0 else -40
    world.vector(moved, lost.astype(np.float32))
    diff = investigate(world, tmp_path / "damaged", impact=False)
    corrupt = {(kind, text) for kind, text in found(diff) if kind not in ("quantised", "normalised")}
    assert corrupt == {
        ("swapped", world.ids[one]), ("swapped", world.ids[other]), ("drifted", world.ids[moved])
    }  # fmt: skip
