"""What lies on a grid is no proof of a narrower format: counts of words lie on one before and after an edit."""

from __future__ import annotations

import numpy as np
import pytest

from vecforensics.diff.compare import Relation, compare_pairs

TOLERANCE = 1e-5


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def word_counts(seed: int = 5, documents: int = 200, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Long documents as counts of their words, before and after five words of each were replaced, float32 (n, width)."""
    rng = np.random.default_rng(seed)
    likely = 1 / np.arange(1, width + 1)
    likely /= likely.sum()
    counts = [[], []]
    for _ in range(documents):
        words = rng.choice(width, rng.integers(400, 900), p=likely)
        edited = np.r_[words[5:], rng.choice(width, 5, p=likely)]
        for kept, text in zip(counts, (words, edited), strict=True):
            kept.append(np.bincount(text, minlength=width))
    before, after = (np.array(kept, np.float32) for kept in counts)
    changed = (before != after).any(axis=1)
    return before[changed], after[changed]


@pytest.mark.parametrize("normalised", [False, True])
def test_an_edited_text_whose_words_are_counted_is_no_copy_in_int8(normalised: bool) -> None:
    before, after = word_counts()
    if normalised:
        before, after = unit(before), unit(after)
    found = compare_pairs(before, after, TOLERANCE)
    far = found.distance > TOLERANCE
    assert far.sum() > 100
    assert (found.relation[far] >= Relation.PART_ZERO).all()


@pytest.mark.parametrize("normalised", [False, True])
def test_counted_words_that_were_kept_in_int8_are_benign(normalised: bool) -> None:
    counts = word_counts()[0]
    before = unit(counts) if normalised else counts
    step = np.abs(before).max(axis=1, keepdims=True) / np.float32(127)
    after = (np.round(before / step) * step).astype(np.float32)
    found = compare_pairs(before, after, TOLERANCE)
    assert (found.relation <= Relation.INT8).all()


def test_a_zero_that_lost_its_sign_is_the_same_zero_whatever_grid_the_others_lie_on() -> None:
    rng = np.random.default_rng(1)
    signed = rng.integers(-3, 4, (50, 16)).astype(np.float32)
    signed[:, 0], signed[:, 1] = 1, -0.0
    plain = signed + np.float32(0)
    assert not np.signbit(plain[:, 1]).any()
    assert (compare_pairs(signed, plain, TOLERANCE).relation == Relation.EQUAL).all()
