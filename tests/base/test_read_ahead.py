"""Reading ahead: the same items in the same order, the same error, and no thread that stays behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vecforensics.read_ahead import ahead


def readers() -> int:
    return sum(thread.name == "read-ahead" for thread in threading.enumerate())


def ended() -> bool:
    until = time.monotonic() + 10
    while readers() and time.monotonic() < until:
        time.sleep(0.01)
    return not readers()


def test_the_same_items_and_then_the_end_for_ever() -> None:
    items = ahead(iter(range(50)))
    assert list(items) == list(range(50))
    assert next(items, None) is None
    assert ended()


def test_an_error_comes_after_what_was_good() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="torn"):
        next(items)
    assert next(items, None) is None


def test_no_more_than_asked_for_is_made_ahead() -> None:
    made: list[int] = []

    def counting() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    items = ahead(counting(), depth=2)
    assert next(items) == 0
    until = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    assert made == [0, 1, 2, 3]  # one used, two in the line, one in the hand


def test_a_thread_whose_items_nobody_wants_ends() -> None:
    items = ahead(iter(range(10**9)))
    assert next(items) == 0
    del items
    assert ended()


def test_the_first_items_are_made_before_anybody_asks_and_the_thread_ends_with_who_never_did() -> None:
    made = threading.Event()

    def counting() -> Iterator[int]:
        made.set()
        yield from range(10**9)

    items = ahead(counting())
    assert made.wait(10)
    del items
    assert ended()
