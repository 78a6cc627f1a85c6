"""Ids are ranked without holding them: the order is that of their texts, shorter ones first, whatever they look like."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecforensics.diff import id_order as module
from vecforensics.diff.id_order import id_order, words
from vecforensics.diff.rows import TextIds

_TEXTS = st.one_of(
    st.lists(st.text(max_size=30), max_size=40),
    st.lists(st.text(alphabet="ab\x00", max_size=20), max_size=60),
    st.lists(
        st.integers(0, 10**12).map(lambda number: f"https://example.org/users/{number:013d}"), max_size=60
    ),
)


def by_text(texts: list[str]) -> list[int]:
    return sorted(range(len(texts)), key=lambda row: (len(texts[row].encode()), texts[row].encode(), row))


@pytest.mark.parametrize("few", [0, 65_536])
@settings(max_examples=200, deadline=None)
@given(texts=_TEXTS, before=st.integers(0, 3))
def test_any_texts_come_in_the_order_of_their_bytes_whether_by_words_or_as_texts(
    few: int, texts: list[str], before: int
) -> None:
    ids = TextIds(pa.array(["other"] * before + texts, pa.string()).slice(before))
    limit, module._FEW = module._FEW, few
    try:
        found = id_order(ids.lengths(), ids.words, ids)
    finally:
        module._FEW = limit
    assert found.tolist() == by_text(texts)
    assert found.dtype == np.int32


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_word_is_eight_bytes_that_sort_as_they_do_and_zeros_beyond_the_end(kind: pa.DataType) -> None:
    """More than 2 GB of ids in one piece are a large string."""
    ids = pa.array(["abcdefghij", "abc", None, "", "ÿ"], kind)
    first = ["abcdefgh", "abc\0\0\0\0\0", "\0" * 8, "\0" * 8]
    assert words(ids, 0)[:4].tolist() == [int.from_bytes(text.encode(), "big") for text in first]
    assert words(ids, 0)[4] == int.from_bytes("ÿ".encode().ljust(8, b"\0"), "big")
    assert words(ids, 8).tolist() == [int.from_bytes(b"ij\0\0\0\0\0\0", "big"), 0, 0, 0, 0]
    assert words(pa.array([], pa.string()), 0).tolist() == []


def test_many_ids_that_begin_alike_are_ranked_by_their_ends() -> None:
    rng = np.random.default_rng(5)
    numbers = rng.permutation(150_000)
    ids = TextIds(
        pa.array([f"tenant-{number % 900:05d}/document-{number:09d}" for number in numbers], pa.string())
    )
    found = id_order(ids.lengths(), ids.words, ids)
    expected = np.lexsort((numbers, numbers % 900))
    assert np.array_equal(found, expected)
