"""What is no migration is told in one line; what a migration may do with its arguments is let through."""

from typing import Any

import pytest

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, explore


async def yields(records: Any, embed: Any, store: Any) -> Any:
    for record in records:
        yield record


def yields_on_threads(records: Any, embed: Any, store: Any) -> Any:
    yield from records


def takes_two(records: Any, embed: Any) -> None: ...


async def asks_for_more(records: Any, embed: Any, store: Any) -> None:
    await store.upsert_many(records)


def asks_for_more_on_threads(records: Any, embed: Any, store: Any) -> None:
    store.query(top_k=3)


@pytest.mark.parametrize(
    ("suspect", "said"),
    [
        (yields, "this is a generator"),
        (yields_on_threads, "this is a generator"),
        (takes_two, r"this does not take \(records, embed, store\)"),
        (
            asks_for_more,
            r"test_suspects\.py:\d+: the store has upsert, fetch and delete, and no 'upsert_many'",
        ),
        (
            asks_for_more_on_threads,
            r"test_suspects\.py:\d+: the store has upsert, fetch and delete, and no 'query'",
        ),
    ],
)
@pytest.mark.parametrize("strategy", [None, "random"])
def test_what_is_no_migration_is_one_line(suspect: Any, said: str, strategy: str | None) -> None:
    with pytest.raises(SuspectError, match=said) as caught:
        explore(suspect, records=2, schedules=5, strategy=strategy)
    assert "\n" not in str(caught.value)


async def works_through_its_list(records: Any, embed: Any, store: Any) -> None:
    records.sort(key=lambda record: len(record.depends_on))
    while records:
        record = records.pop(0)
        await store.upsert(record.id, await embed(record), record.metadata)


def works_through_its_list_on_threads(records: Any, embed: Any, store: Any) -> None:
    records.reverse()
    while records:
        record = records.pop()
        store.upsert(record.id, embed(record), record.metadata)


async def asks_what_the_store_can_do(records: Any, embed: Any, store: Any) -> None:
    if hasattr(store, "upsert_many"):
        await store.upsert_many(records)
    for record in records:
        await store.upsert(id=record.id, vector=(await embed(record)).tolist(), metadata=record.metadata)


@pytest.mark.parametrize(
    "suspect", [works_through_its_list, works_through_its_list_on_threads, asks_what_the_store_can_do]
)
def test_what_a_migration_may_do_with_its_arguments(suspect: Any) -> None:
    for prove in (False, True):
        assert explore(suspect, records=4, schedules=40, prove=prove).verdict is Verdict.PROVED
