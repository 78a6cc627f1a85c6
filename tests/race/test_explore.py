"""The whole question and its answer: witness, replay, leaks, faults, certificate, JSON."""

import asyncio
import json
import random
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from broken_migrations import yield_between

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, exploration_from_json, explore, generate_records
from vecforensics.race.catalogue import entry
from vecforensics.race.exchange import ReplayString, parse_replay
from vecforensics.records import Record

FORGOTTEN = "10002"


async def one_forgotten(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)

    for level in ([r for r in records if not r.depends_on], [r for r in records if r.depends_on]):
        tasks = [(record, asyncio.create_task(one(record))) for record in level]
        await asyncio.gather(*(task for record, task in tasks if record.id != FORGOTTEN))


@pytest.mark.parametrize("count", [10, 100])
def test_dpor_finds_one_forgotten_await_in_two_schedules(count: int) -> None:
    found = explore(one_forgotten, records=count, schedules=10, strategy="dpor", survey=0)
    assert found.schedules_to_first_failure == 2


def test_a_witness_among_a_thousand_records_shrinks_to_one_within_fifty_schedules() -> None:
    found = explore(one_forgotten, records=1000, schedules=4, strategy="dpor", survey=0)
    witness = found.witness
    assert witness is not None
    assert len(witness.records) <= 2
    assert FORGOTTEN in {record.id for record in witness.records}
    assert len(witness.constraints) == 1
    assert witness.shrink_schedules <= 50
    assert witness.original_records == 1000


def test_the_constraint_reads_like_a_sentence() -> None:
    found = explore(entry("children_before_parents").broken, records=12)
    assert found.witness is not None
    (constraint,) = found.witness.constraints
    said = re.fullmatch(r"(embed|upsert)\(user (\d+)\) after upsert\(post p-(\d+)-\d\)", constraint.text)
    assert said is not None, constraint.text
    assert said[2] == said[3]
    assert len(found.witness.records) == 2
    assert found.witness.passing is not None
    assert not found.witness.passing.outcome.failing


def test_a_replay_string_plays_the_same_failure_again() -> None:
    for name in ("children_before_parents", "flush_clears_arrivals", "blind_retry", "redrawn_ranges"):
        known = entry(name)
        found = explore(known.broken, records=8, faults=known.pattern.faults, schedules=600)
        assert found.witness is not None
        again = explore(known.broken, replay=found.witness.replay)
        assert again.witness is not None
        assert again.witness.trace.digest == found.witness.trace.digest
        assert again.certificate.schedules == 1


def test_a_replay_string_of_other_code_or_records_is_refused() -> None:
    found = explore(entry("children_before_parents").broken, records=8)
    assert found.witness is not None
    for bad in (
        "",
        "vf1",
        "vf2:8:0:all:quiet:-:fifo",
        "vf1:8:0:99:quiet:-:fifo",
        "vf1:8:0:all:quiet:-:9*9999999999",
    ):
        with pytest.raises(SuspectError):
            explore(entry("children_before_parents").broken, replay=bad)
    with pytest.raises(SuspectError):
        explore(entry("children_before_parents").broken, replay="vf1:g00000000:0:all:quiet:-:fifo")
    changed = str(ReplayString("2", 0, None, "quiet", {}, (1, 7)))
    with pytest.raises(SuspectError, match="no longer"):
        explore(entry("children_before_parents").fixed, replay=changed)


def test_replay_strings_round_trip() -> None:
    text = ReplayString("12v", 7, (0, 3), "fine", {"main.1#2": "429"}, (0, 0, -1, 3, 3, 3, 0, 0))
    assert parse_replay(str(text)) == ReplayString(
        "12v", 7, (0, 3), "fine", {"main.1#2": "429"}, (0, 0, -1, 3, 3, 3)
    )
    assert str(text) == "vf1:12v:7:0.3:fine:main.1#2=429:0*2.-1.3*3"


def test_the_same_question_has_the_same_answer_to_the_byte() -> None:
    first = explore(entry("buffer_reuse").broken, records=8, schedules=300, seed=3)
    assert (
        first.to_json() == explore(entry("buffer_reuse").broken, records=8, schedules=300, seed=3).to_json()
    )


def test_the_json_form_reads_back_whole() -> None:
    for form in ("broken", "fixed"):
        found = explore(getattr(entry("completion_order"), form), records=6)
        assert exploration_from_json(found.to_json()) == found
        assert json.loads(found.to_json())["verdict"] == found.verdict.value
    with pytest.raises(SuspectError):
        exploration_from_json("{}")


async def clock_and_chance(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(
            f"{record.id}-{uuid.uuid4()}" if random.random() < 2 else "", await embed(record), {}
        )


def test_what_makes_two_runs_differ_is_named() -> None:
    found = explore(clock_and_chance, records=2, schedules=5)
    assert found.witness is not None
    assert any("uuid4" in leak and "test_explore.py" in leak for leak in found.leaks)
    assert any("random.random" in leak for leak in found.leaks)


def test_a_deterministic_witness_has_no_leaks() -> None:
    found = explore(entry("check_then_act").broken, records=6)
    assert found.leaks == ()


def test_faults_are_off_unless_they_are_asked_for() -> None:
    swallows = entry("swallowed_errors").broken
    assert explore(swallows, records=4, schedules=200).witness is None
    found = explore(swallows, records=4, schedules=200, faults=("error",))
    assert found.witness is not None
    assert found.certificate.faults == ("error",)
    assert "503" in found.witness.constraints[-1].text
    assert (
        explore(entry("swallowed_errors").fixed, records=4, schedules=200, faults=("error",)).witness is None
    )


async def trusts_its_own_write(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)
        row = await store.fetch(record.id)
        if row is None:
            raise LookupError(record.id)


def test_a_write_may_become_visible_later_than_it_is_acknowledged() -> None:
    assert explore(trusts_its_own_write, records=2, schedules=100).verdict is Verdict.PROVED
    found = explore(trusts_its_own_write, records=2, schedules=100, faults=("late",))
    assert "crash" in found.failures


def test_a_migration_that_raises_an_injected_error_has_told_its_caller() -> None:
    async def honest(records: Any, embed: Any, store: Any) -> None:
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    for fault in ("error", "rate_limit", "timeout"):
        assert explore(honest, records=3, schedules=100, faults=(fault,)).witness is None


async def times_out_by_itself(records: Any, embed: Any, store: Any) -> None:
    async with asyncio.timeout(10):
        await asyncio.Event().wait()


def test_a_time_out_is_excused_only_where_an_operation_was_under_way() -> None:
    assert "crash" in explore(times_out_by_itself, records=2, schedules=5).failures


async def drops_its_task(records: Any, embed: Any, store: Any) -> None:
    done = asyncio.Event()

    async def one(record: Record) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)
        done.set()

    asyncio.create_task(one(records[0]))  # noqa: RUF006
    await done.wait()


def test_a_task_that_nobody_holds_may_be_collected() -> None:
    assert explore(drops_its_task, records=1, schedules=50).witness is None
    found = explore(drops_its_task, records=1, schedules=50, faults=("collected",))
    assert "deadlock" in found.failures


async def forgets_the_await(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        store.upsert(record.id, await embed(record), record.metadata)


def test_a_coroutine_that_is_never_awaited_is_named_with_its_line() -> None:
    found = explore(forgets_the_await, records=1, schedules=5)
    assert found.witness is not None
    assert "never_awaited" in found.witness.kinds
    assert any(
        "store.upsert" in item and "test_explore.py" in item
        for item in found.witness.trace.outcome.never_awaited
    )


def test_the_certificate_says_what_was_only_sampled() -> None:
    found = explore(entry("leave_when_empty").fixed, records=10, schedules=300)
    assert found.verdict is Verdict.SAMPLED
    assert not found.certificate.exhaustive
    assert set(found.certificate.pct_bound) == {1, 2, 3}
    assert (
        found.certificate.pct_bound[1] > found.certificate.pct_bound[2] > found.certificate.pct_bound[3] > 0
    )
    assert {item.strategy for item in found.certificate.passes} >= {
        "fifo",
        "dpor",
        "withhold",
        "pct",
        "random",
    }
    assert sum(item.schedules for item in found.certificate.passes) == found.certificate.schedules <= 300


def test_prove_spends_everything_on_proof() -> None:
    found = explore(entry("leave_when_empty").fixed, records=4, schedules=400, prove=True)
    assert found.verdict is Verdict.PROVED
    assert {item.strategy for item in found.certificate.passes} == {"fifo", "dpor", "together"}
    assert {item.exhaustive for item in found.certificate.passes if item.strategy == "together"} == {False}


def test_of_a_program_that_fails_only_by_answers_in_one_round_there_is_no_proof() -> None:
    """In none of the orders that a proof goes over do two answers arrive together."""
    found = explore(yield_between, records=4, schedules=2_000, prove=True)
    assert found.verdict is Verdict.FAILING
    assert found.witness is not None
    assert found.witness.granularity == "fine"


@pytest.mark.parametrize("strategy", ["fifo", "withhold", "dpor", "exhaustive", "pct", "random"])
def test_each_strategy_works_alone(strategy: str) -> None:
    found = explore(entry("lock_per_call").broken, records=4, schedules=100, strategy=strategy)
    assert (found.witness is None) == (strategy == "fifo")


def test_bad_questions_get_one_clear_line() -> None:
    for arguments in (
        {"records": 0},
        {"schedules": 0},
        {"strategy": "luck"},
        {"faults": ("fire",)},
    ):
        with pytest.raises(SuspectError) as caught:
            explore(one_forgotten, **arguments)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    for reference in ("nowhere.py:migrate", "nowhere.js", "no.such.module:migrate", str(Path(__file__).name)):
        with pytest.raises(SuspectError):
            explore(reference, folder=Path(__file__).parent)


def test_a_file_is_found_by_its_default_name(tmp_path: Path) -> None:
    (tmp_path / "migration.py").write_text(
        "async def migrate(records, embed, store):\n"
        "    for record in records:\n"
        "        await store.upsert(record.id, await embed(record), record.metadata)\n"
    )
    assert explore("migration.py", folder=tmp_path, records=3).verdict is Verdict.PROVED


def test_records_of_a_case_can_be_given() -> None:
    records = (Record("7", "seven"), Record("7-1", "child", depends_on=("7",)))
    found = explore(entry("children_before_parents").broken, records=records)
    assert found.witness is not None
    assert found.witness.replay.startswith("vf1:g")
    again = explore(entry("children_before_parents").broken, records=records, replay=found.witness.replay)
    assert again.witness is not None
    assert again.witness.kinds == ("premature",)


def test_generated_records_are_what_the_issue_says() -> None:
    records = generate_records(400, seed=1)
    parents = [record for record in records if not record.depends_on]
    assert len({record.id for record in records}) == 400
    assert 0.2 < len(parents) / 400 < 0.32
    assert records[:50] == generate_records(50, seed=1)
    seen: set[str] = set()
    for record in records:
        assert seen.issuperset(record.depends_on)
        seen.add(record.id)
    assert any(record.id.startswith("0") for record in parents)
    assert any(len(record.id) > 15 for record in parents)
    twice = generate_records(40, seed=1, versions=True)
    assert len({record.id for record in twice}) < 40
