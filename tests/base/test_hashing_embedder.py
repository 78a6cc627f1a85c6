"""`hashing-N`: the same text gives the same bits, whatever else is in the batch, in any process and thread."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecforensics.embedding import open_embedder
from vecforensics.errors import CaseError

TEXTS = [
    "",
    " ",
    "a",
    "ab",
    "hello",
    "hello world",
    "日本語",
    "🙂" * 40,
    "x" * 5_000,
    "e\u0301",
    "\x00",
    "A  B",
]
TEXTS += [f"user {n} writes about topic {n % 7}" for n in range(3_000)]


def digest(texts: list[str], dimension: int = 384) -> str:
    return hashlib.sha256(open_embedder(f"hashing-{dimension}", Path()).embed(texts).tobytes()).hexdigest()


@pytest.mark.parametrize("size", [1, 7, 1_023, 1_024, 1_025])
def test_the_batch_size_does_not_matter(size: int) -> None:
    texts = TEXTS[:200] if size == 1 else TEXTS
    embedder = open_embedder("hashing-384", Path())
    parts = [embedder.embed(texts[start : start + size]) for start in range(0, len(texts), size)]

    assert np.concatenate(parts).tobytes() == embedder.embed(texts).tobytes()


def test_neighbours_in_the_batch_do_not_matter() -> None:
    embedder = open_embedder("hashing-64", Path())
    order = np.random.default_rng(5).permutation(len(TEXTS))
    shuffled = embedder.embed([TEXTS[n] for n in order])

    assert shuffled.tobytes() == embedder.embed(TEXTS)[order].tobytes()


def test_another_process_gives_the_same_bits() -> None:
    program = (
        "import sys, hashlib; from pathlib import Path; from vecforensics.embedding import open_embedder\n"
        "texts = [f'user {n} writes about topic {n % 7}' for n in range(300)]\n"
        "print(hashlib.sha256(open_embedder('hashing-384', Path()).embed(texts).tobytes()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {digest([f"user {n} writes about topic {n % 7}" for n in range(300)])}


def test_threads_at_the_same_time_give_the_same_bits() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: digest(TEXTS[:500]), range(8))) == {digest(TEXTS[:500])}


def test_the_bits_are_these() -> None:
    # A change of the algorithm makes every stored vector foreign; it must not come unnoticed.
    vector = open_embedder("hashing-8", Path()).embed(["hello world"])[0]
    assert digest(["hello world"], 8) == hashlib.sha256(vector.tobytes()).hexdigest()
    assert vector.view(np.uint32).tolist() == [
        1057543799,
        1049155191,
        0,
        0,
        1057543799,
        0,
        1049155191,
        1057543799,
    ]


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_vector_is_finite_and_of_length_one_or_zero(text: str) -> None:
    vector = open_embedder("hashing-64", Path()).embed([text])[0].astype(np.float64)
    norm = float(np.linalg.norm(vector))
    assert np.isfinite(vector).all()
    assert norm == 0 or abs(norm - 1) < 1e-6


def test_case_space_and_unicode_form_do_not_matter_and_words_do() -> None:
    same = open_embedder("hashing-384", Path()).embed(["Café  AM See", "cafe\u0301 am see", " CAFÉ am\tsee "])
    assert same[0].tobytes() == same[1].tobytes() == same[2].tobytes()
    near, far = (
        open_embedder("hashing-384", Path()).embed(["a red bicycle", "quarterly tax report"])
        @ open_embedder("hashing-384", Path()).embed(["the red bicycle"])[0]
    )
    assert near > 0.5 > abs(far)


def test_no_texts_give_no_rows() -> None:
    assert open_embedder("hashing-384", Path()).embed([]).shape == (0, 384)


@pytest.mark.parametrize("name", ["hashing-7", "hashing-16385", "hashing-0"])
def test_a_dimension_out_of_range(name: str) -> None:
    with pytest.raises(CaseError, match="hashing-N takes N from 8 to 16384"):
        open_embedder(name, Path())


@pytest.mark.parametrize("name", ["hashing", "hashing-", "hashing--8", "openai", "hashing-123456", ""])
def test_an_embedder_that_is_not_known(name: str) -> None:
    with pytest.raises(CaseError, match="unknown embedder"):
        open_embedder(name, Path())
