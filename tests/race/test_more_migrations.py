"""A second set, by another hand than the engine's: no false alarm, no miss, and a deadlock that says who waits where."""

from collections.abc import Callable
from typing import Any

import more_migrations
import pytest

from vecforensics.race import explore
from vecforensics.race.views.prose import explain


@pytest.mark.parametrize("migrate", more_migrations.RIGHT, ids=lambda function: function.__name__)
def test_a_right_migration_never_fails(migrate: Callable[..., Any]) -> None:
    found = explore(migrate, records=6, schedules=150)
    assert found.failures == {}, found.witness and found.witness.replay


@pytest.mark.parametrize(
    ("migrate", "kind"), more_migrations.WRONG, ids=lambda item: getattr(item, "__name__", item)
)
def test_a_wrong_migration_is_found_and_explained_at_its_lines(
    migrate: Callable[..., Any], kind: str
) -> None:
    found = explore(migrate, records=6, schedules=300, survey=60)
    assert kind in found.failures
    assert found.witness is not None
    told = explain(found.witness)
    assert all(sentence.text for sentence in told.sentences)
    assert all(place.file == more_migrations.__file__ for place in told.places)


@pytest.mark.parametrize("migrate", more_migrations.HONEST, ids=lambda function: function.__name__)
def test_a_migration_that_counts_its_failures_and_raises_has_told_its_caller(
    migrate: Callable[..., Any],
) -> None:
    found = explore(migrate, records=5, schedules=200, faults=("error", "rate_limit", "timeout"))
    assert found.failures == {}, found.witness and found.witness.replay


def test_a_migration_that_swallows_its_failures_has_not() -> None:
    found = explore(more_migrations.swallows_what_it_collects, records=5, schedules=200, faults=("error",))
    assert "missing" in found.failures


def test_a_crash_that_follows_from_a_fault_is_no_message() -> None:
    async def stumbles(records: Any, embed: Any, store: Any) -> None:
        done: dict[str, Any] = {}
        for record in records:
            try:
                vector = await embed(record)
                await store.upsert(record.id, vector, record.metadata)
                done[record.id] = vector
            except ConnectionError:
                pass
        done[records[0].id]

    assert "crash" in explore(stumbles, records=2, schedules=60, faults=("error",)).failures


@pytest.mark.parametrize(
    ("migrate", "lines"),
    [
        (more_migrations.one_end_mark_for_two, ("await asyncio.gather(work(), work())", "await todo.get()")),
        (more_migrations.children_wait_in_a_small_pool, ("list(pool.map(", "written[parent].result()")),
    ],
)
def test_a_deadlock_is_told_with_the_lines_at_which_it_waits(
    migrate: Callable[..., Any], lines: tuple[str, ...]
) -> None:
    found = explore(migrate, records=4, schedules=40, survey=5)
    assert found.witness is not None
    outcome = found.witness.trace.outcome
    assert [item.task for item in outcome.waits] == list(outcome.stuck)
    shown = [place.text for place in explain(found.witness).places]
    for line in lines:
        assert any(line in text for text in shown), shown
