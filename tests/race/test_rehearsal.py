"""The rehearsal: simulated, seeded, with intervals; what a witness shows to be possible, here it has a frequency."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from vecforensics.race import generate_records
from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.rehearsal import Physics, Played, failure_curve, play_out, rehearse
from vecforensics.race.world import UPSERT, Op

RECORDS = generate_records(60)


async def all_at_once(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)

    await asyncio.gather(*(one(record) for record in records))


async def looks_its_parent_up(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        vector = await embed(record)
        for parent in record.depends_on:
            if await store.fetch(parent) is None:
                return
        await store.upsert(record.id, vector, record.metadata)

    await asyncio.gather(*(one(record) for record in records))


async def by_level(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)

    for level in ([r for r in records if not r.depends_on], [r for r in records if r.depends_on]):
        await asyncio.gather(*(one(record) for record in level))


async def one_by_one(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)


def program(function: Any) -> AsyncioProgram:
    return AsyncioProgram(function, function.__name__, (__file__,))


def played(function: Any, physics: Physics, seed: int = 1, sink: Any = None) -> Played:
    found: Played = in_own_thread(lambda: play_out(program(function), RECORDS, physics, seed, sink))
    return found


def test_one_seed_gives_one_run() -> None:
    assert played(looks_its_parent_up, Physics()) == played(looks_its_parent_up, Physics())
    assert played(looks_its_parent_up, Physics()) != played(looks_its_parent_up, Physics(), seed=2)


def test_latency_is_what_the_physics_says() -> None:
    constant = Physics(embed_sigma=0, store_sigma=0, store_capacity=0, store_median_ms=50, embed_median_ms=10)
    run = played(by_level, constant)
    assert run.wrong == 0
    assert run.latency_mean_ms == pytest.approx(50)
    assert run.latency_p95_ms == pytest.approx(50)
    assert run.duration_s > 0.1


def test_a_loaded_store_answers_more_slowly() -> None:
    physics = Physics(embed_sigma=0, store_sigma=0, embed_sockets=0)
    loaded = played(all_at_once, physics)
    idle = played(all_at_once, replace(physics, store_capacity=0))
    assert loaded.latency_mean_ms > 1.3 * idle.latency_mean_ms


def test_a_limit_on_connections_serialises_the_embedding() -> None:
    slow = played(by_level, Physics(embed_sockets=1, embed_sigma=0, store_sigma=0))
    quick = played(by_level, Physics(embed_sockets=32, embed_sigma=0, store_sigma=0))
    assert slow.duration_s > len(RECORDS) * 0.1
    assert quick.duration_s < slow.duration_s / 4


def test_a_refused_request_is_an_error_for_the_program_unless_the_client_retries() -> None:
    strict = Physics(embed_rate_per_s=5, embed_burst=5)
    refused = played(by_level, strict)
    assert refused.refusals > 0
    assert "RateLimited" in refused.raised
    patient = played(by_level, replace(strict, retry_rate_limited=True))
    assert patient.raised == ""
    assert patient.wrong == 0
    assert patient.refusals > 0


def test_acknowledged_writes_reach_the_sink_in_order() -> None:
    seen: list[Op] = []
    run = played(by_level, Physics(), sink=seen.append)
    assert [op.kind for op in seen] == [UPSERT] * run.inserts
    order = [op.key for op in seen]
    for record in RECORDS:
        for parent in record.depends_on:
            assert order.index(parent) < order.index(record.id)


def test_the_rehearsal_tells_both_sides_apart_with_intervals() -> None:
    found = rehearse(program(looks_its_parent_up), program(by_level), RECORDS, Physics(), runs=8, seed=57)
    error, latency, duration, crashes, failed = found.metrics
    assert (error.name, latency.name, duration.name, crashes.name, failed.name) == (
        "error_rate",
        "latency_ms",
        "duration_s",
        "crashes",
        "failed_runs",
    )
    assert error.before.low <= error.before.value <= error.before.high
    assert error.before.value > 0.1
    assert error.after.value == 0
    assert failed.after.high > 0, "none of eight is not none of all"
    plain = json.loads(found.to_json())
    assert plain["simulated"] is True
    assert len(plain["runs"]) == 16
    assert "simulated" in str(found).lower()
    assert (
        found.to_json()
        == rehearse(
            program(looks_its_parent_up), program(by_level), RECORDS, Physics(), runs=8, seed=57
        ).to_json()
    )


def test_a_run_may_take_longer_although_its_inserts_are_answered_sooner() -> None:
    """All at once, into a store that is the slower the more is under way, against one after the other."""
    found = rehearse(program(looks_its_parent_up), program(one_by_one), RECORDS, Physics(), runs=6, seed=57)
    figures = {metric.name: metric for metric in found.metrics}
    latency, duration = figures["latency_ms"], figures["duration_s"]
    assert latency.after.value < latency.before.value
    assert duration.after.value > 2 * duration.before.value
    assert duration.after.n == 6
    assert f"{duration.after.value:.1f} s" in str(found)


def test_repeated_requests_are_spoken_of_only_where_there_were_any() -> None:
    calm, limited = (
        rehearse(program(by_level), program(by_level), RECORDS, physics, runs=3, seed=57)
        for physics in (Physics(), Physics(embed_rate_per_s=20, embed_burst=4))
    )
    assert not any("429" in metric.method for metric in calm.metrics)
    refused = sum(run.refusals for run in limited.after)
    assert refused > 0
    assert f"there were {refused:,} such in its runs" in limited.metrics[0].method


def test_more_connections_make_the_failure_likelier() -> None:
    curve = failure_curve(
        program(looks_its_parent_up),
        RECORDS[:12],
        Physics(embed_sigma=0.1),
        runs=12,
        seed=3,
        concurrencies=(1, 16),
    )
    alone, crowded = curve.points
    assert alone.error_rate.value < crowded.error_rate.value
    assert crowded.failing.low <= crowded.failing.value <= crowded.failing.high
    assert "connections" in str(curve)
    # Columns are those of a table: a notebook does not set bars of blocks in one width.
    rows = re.findall("<tr>(.*?)</tr>", curve._repr_html_())
    assert [re.sub("<.*?>", " ", row).split()[0] for row in rows[1:]] == [
        str(point.concurrency) for point in curve.points
    ]
