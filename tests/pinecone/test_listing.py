"""A listing that is split by prefixes names every id once, whatever the ids, the order of a page and the count are."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecforensics.stores import pinecone_listing
from vecforensics.stores.pinecone_listing import list_ids


class Namespace:
    """Pages of `size` ids in an order of its own. Counts what it is asked."""

    def __init__(self, ids: set[str], size: int = 100, seed: int = 0) -> None:
        self.ids, self.size, self.seed = sorted(ids), size, seed
        self._under: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()

    def page(self, prefix: str, token: str | None) -> tuple[list[str], str | None]:
        self.asked[prefix] += 1
        found = self._under.get(prefix)
        if found is None:
            found = self.ids[bisect_left(self.ids, prefix) : bisect_left(self.ids, prefix + "\x80")]
            random.Random(f"{self.seed} {prefix}").shuffle(found)
            self._under[prefix] = found
        start = int(token or 0)
        end = start + self.size
        return found[start:end], str(end) if end < len(found) else None


def listed(namespace: Namespace, rows: int) -> list[str]:
    there = set(namespace.ids)
    return [one for page in list_ids(namespace.page, rows) for one in page if one in there]


ascii_ids = st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    st.sets(
        ascii_ids | st.sampled_from(["u", "us", "user", "user-", "user-1"]) | st.integers(0, 99).map("user-{}".format),
        max_size=60,
    ),
    st.integers(1, 7),
    st.integers(0, 200),
    st.integers(0, 9),
)  # fmt: skip
def test_every_id_comes_once(ids: set[str], size: int, rows: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pinecone_listing, "_PAGE_IDS", 1)
        patch.setattr(pinecone_listing, "_PART_IDS", 3)
        assert sorted(listed(Namespace(ids, size, seed), 127 * rows)) == sorted(ids)


def test_pages_are_given_in_one_order_every_time() -> None:
    ids = {f"user-{n:05}" for n in range(13_000)}
    runs = [listed(Namespace(ids), 130_000) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert sorted(runs[0]) == sorted(ids)


def test_few_ids_are_listed_as_they_are() -> None:
    namespace = Namespace({f"u{n}" for n in range(2_000)})
    assert len(listed(namespace, 2_000)) == 2_000
    assert namespace.asked == {"": 20}


def test_many_ids_with_one_beginning_are_walked_in_parts() -> None:
    ids = {f"user-{n:06}" for n in range(130_000)}
    namespace = Namespace(ids)
    assert sorted(listed(namespace, len(ids))) == sorted(ids)
    assert max(namespace.asked.values()) <= len(ids) / 100 / 8
    assert sum(namespace.asked.values()) <= 3.1 * len(ids) / 100


def test_what_begins_alike_for_long_is_not_split_in_vain() -> None:
    ids = {"https://example.com/a/long/way/to/go/" + f"{n:05}" for n in range(20_000)}
    namespace = Namespace(ids)
    assert len(listed(namespace, 20_000)) == 20_000
    assert namespace.asked == {"": 200}


def test_a_listing_that_is_left_early_leaves_no_thread_behind() -> None:
    import threading

    ids = {f"{n:06}" for n in range(30_000)}
    before = threading.active_count()
    pages = list_ids(Namespace(ids).page, 300_000)
    next(pages)
    del pages
    for thread in threading.enumerate():
        if thread.name == "read-ahead" or thread.name.startswith("pinecone-list"):
            thread.join(20)
    assert threading.active_count() <= before


def test_an_error_in_one_part_is_raised() -> None:
    namespace = Namespace({f"{n:05}" for n in range(30_000)})

    def page(prefix: str, token: str | None) -> tuple[list[str], str | None]:
        if prefix.startswith("2") and token is not None:
            raise OSError("gone")
        return namespace.page(prefix, token)

    with pytest.raises(OSError, match="gone"):
        list(list_ids(page, 30_000))
