"""Which kinds are told apart how well? The confusion matrix over worlds of planted faults.

Each world has all kinds planted in it at once, over another shape of ids, dimension, norm and clustering (one topic for forty
records, or 1 to 8 topics in all), sparse n-gram vectors among them. A row of the matrix is what was planted, a column what the
diff said of that record; right answers stand on the diagonal.

A second matrix is over half as many worlds whose store has kept everything, damage included, in int8 with one scale for all
vectors or for each component, in few dimensions or with few components that are not zero. `foreign_model` is planted there from
12 dimensions on.

    python benchmarks/bench_kinds.py            python benchmarks/bench_kinds.py --worlds 200 --each 30
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "diff"))

from int8_store import SCALES, Int8Store
from planted_run import found, investigate
from planted_world import ID_SHAPES, World
from planting import PLANTERS, add_dangling, add_premature

from vecforensics.embedding import open_embedder
from vecforensics.findings import Kind

_WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon"
_NOTHING = "nothing"
_TOPICS = (None, 1, 2, 3, 5, 8)


def make_world(number: int) -> World:
    """World number `number`: every shape of ids in turn, dimensions 8 to 384, every third one of sparse hashed text."""
    rng = np.random.default_rng(number)
    world = make_dense_world(number, 384 if number % 3 == 2 else (8, 16, 33, 96)[number % 4])
    if number % 3 == 2:
        texts = [
            " ".join(rng.choice(_WORDS.split(), size=rng.integers(3, 9))) + f" record {n}"
            for n in range(1500)
        ]
        world.expected = np.asarray(open_embedder("hashing-384", Path()).embed(texts), np.float32)
        world.target = [
            (text, world.expected[n].copy(), meta) for n, (text, _, meta) in enumerate(world.target)
        ]
    return world


def make_dense_world(number: int, dimension: int) -> World:
    return World.make(
        1500,
        dimension=dimension,
        shape=ID_SHAPES[number % len(ID_SHAPES)],
        normalised=bool(number & 1),
        clustered=bool(number & 2),
        topics=_TOPICS[number // 4 % len(_TOPICS)],
        seed=number,
    )


def make_int8_world(number: int) -> tuple[World, Int8Store]:
    """World number `number` of those kept in int8: 4 to 12 dimensions, every third one of sparse hashed text."""
    world = make_world(number) if number % 3 == 2 else make_dense_world(number, (4, 6, 8, 12)[number % 4])
    rounding = ("nearest", "to zero")[number // 2 % 2]
    if number % 4 == 3:
        return world, Int8Store("min-max", rounding, axis=0)  # as FAISS does
    return world, Int8Store(SCALES[number % len(SCALES)], rounding)


def confusion(worlds: int, each: int, *, int8: bool = False) -> Counter[tuple[str, str]]:
    """(planted, said) → how many records. `int8`: in worlds whose store has kept everything so."""
    matrix: Counter[tuple[str, str]] = Counter()
    for number in range(worlds):
        world, store = make_int8_world(number) if int8 else (make_world(number), None)
        for name, plant in PLANTERS.items():
            # What is benign in a store that rounds is no longer what was planted.
            if store is None or (name != "benign" and (name != "foreign_model" or world.dimension >= 12)):
                plant(world, each)
        if store is not None:
            store.keep(world)
        add_dangling(world)
        add_premature(world, each)
        with tempfile.TemporaryDirectory() as folder:
            said = found(investigate(world, Path(folder), impact=False))
        for kind, text in world.truth:
            others = sorted(name for name, other in said - world.truth if other == text)
            matrix[(kind, kind if (kind, text) in said else others[0] if others else _NOTHING)] += 1
        planted = {text for _, text in world.truth}
        for kind, text in said - world.truth:
            if text not in planted:
                matrix[(_NOTHING, kind)] += 1
    return matrix


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--worlds", type=int, default=24)
    options.add_argument("--each", type=int, default=24, help="faults of each kind in a world")
    given = options.parse_args()
    table(given.worlds, confusion(given.worlds, given.each), "worlds")
    print()
    kept = max(given.worlds // 2, 1)
    table(kept, confusion(kept, given.each, int8=True), "worlds kept in int8")


def table(worlds: int, matrix: Counter[tuple[str, str]], what: str) -> None:
    kinds = [kind.value for kind in Kind if any(kind.value in pair for pair in matrix)]
    print(f"{worlds} {what} of 1,500 records, {sum(matrix.values()):,} judged\n")
    print("| planted | n | recall | precision | said instead |\n|---|---|---|---|---|")
    for kind in [*kinds, _NOTHING]:
        total = sum(count for (planted, _), count in matrix.items() if planted == kind)
        named = sum(count for (_, said), count in matrix.items() if said == kind)
        right = matrix[(kind, kind)]
        instead = {
            said: count for (planted, said), count in matrix.items() if planted == kind and said != kind
        }
        listed = ", ".join(
            f"{said} {count}" for said, count in sorted(instead.items(), key=lambda item: -item[1])
        )
        if kind == _NOTHING:
            print(f"| nothing | | | | {listed or 'nothing'} |")
        else:
            print(
                f"| `{kind}` | {total:,} | {right / max(total, 1):.4f} | {right / max(named, 1):.4f} | {listed} |"
            )


if __name__ == "__main__":
    main()
