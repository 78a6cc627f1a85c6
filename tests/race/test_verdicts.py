"""No false alarm, no miss: correct migrations in many styles never fail, broken ones are found within the budget of the issue."""

from collections.abc import Callable
from typing import Any

import broken_migrations
import correct_migrations
import pytest

from vecforensics.race import Verdict, explore
from vecforensics.race.catalogue import entries


@pytest.mark.parametrize("migrate", correct_migrations.ALL, ids=lambda function: function.__name__)
def test_a_correct_migration_never_fails(migrate: Callable[..., Any]) -> None:
    found = explore(migrate, records=5, schedules=400)
    assert found.witness is None, found.witness.replay
    assert found.failures == {}
    assert found.certificate.schedules > 0
    assert {item.granularity for item in found.certificate.passes} == {
        "quiet",
        "fine",
    } or found.certificate.choices <= 2 * 5


@pytest.mark.parametrize(
    "name", ["gather_by_level", "task_group", "lock_per_key", "in_a_thread", "wait_for_raises"]
)
def test_a_barrier_is_proved(name: str) -> None:
    found = explore(getattr(correct_migrations, name), records=12, schedules=400)
    assert found.verdict is Verdict.PROVED
    assert found.certificate.exhaustive
    assert str(found).startswith("PROVED")


@pytest.mark.parametrize(
    ("migrate", "kind"), broken_migrations.ALL, ids=lambda item: getattr(item, "__name__", item)
)
def test_a_broken_migration_is_found(migrate: Callable[..., Any], kind: str) -> None:
    found = explore(migrate, records=6, schedules=5_000, survey=100, prefer=(kind,))
    assert found.verdict is Verdict.FAILING
    assert kind in found.failures
    assert found.witness is not None
    assert found.witness.leaks == ()
    assert found.certificate.schedules <= 100 + 300  # the survey's, and those until the failure


def test_there_are_enough_of_both() -> None:
    assert len(correct_migrations.ALL) >= 15
    assert len(broken_migrations.ALL) + len(entries()) >= 20
