"""Libraries that migrations bring along: what they do for themselves is let through, what answers beside the loop is named."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
import tenacity
from tqdm import tqdm
from tqdm.asyncio import tqdm as async_tqdm

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, explore


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


async def put(record: Any, embed: Any, store: Any) -> None:
    await store.upsert(record.id, await embed(record), record.metadata)


def put_now(record: Any, embed: Any, store: Any) -> None:
    store.upsert(record.id, embed(record), record.metadata)


async def a_progress_bar(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        await async_tqdm.gather(*(put(record, embed, store) for record in level))


def a_progress_bar_over_a_pool(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        for level in levels(records):
            list(tqdm(pool.map(lambda record: put_now(record, embed, store), level), total=len(level)))


async def retries_of_tenacity(records: Any, embed: Any, store: Any) -> None:
    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_exponential())
    async def one(record: Any) -> None:
        await put(record, embed, store)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def a_task_group_of_anyio(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        limiter = anyio.CapacityLimiter(2)

        async def one(record: Any, limiter: anyio.CapacityLimiter = limiter) -> None:
            async with limiter:
                await put(record, embed, store)

        async with anyio.create_task_group() as group:
            for record in level:
                group.start_soon(one, record)


@pytest.mark.parametrize(
    "migrate", [a_progress_bar, a_progress_bar_over_a_pool, retries_of_tenacity, a_task_group_of_anyio]
)
def test_a_right_migration_with_a_library_never_fails(migrate: Any) -> None:
    found = explore(migrate, records=4, schedules=60)
    assert found.verdict in (Verdict.PROVED, Verdict.SAMPLED)
    assert found.failures == {}


def test_retries_of_tenacity_outlast_one_fault() -> None:
    assert explore(retries_of_tenacity, records=3, schedules=60, faults=("error",)).failures == {}


async def threads_of_anyio(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await anyio.to_thread.run_sync(len, record.text)
        await put(record, embed, store)


async def a_client_of_httpx(records: Any, embed: Any, store: Any) -> None:
    async with httpx.AsyncClient() as client:
        await client.get("http://127.0.0.1:9/")


def a_client_of_httpx_on_threads(records: Any, embed: Any, store: Any) -> None:
    httpx.get("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    ("migrate", "said"),
    [
        (
            threads_of_anyio,
            r"test_libraries\.py:\d+: a thread that a library starts here answers beside the event loop",
        ),
        (a_client_of_httpx, r"create_connection\(\) leaves the program"),
        (a_client_of_httpx_on_threads, r"socket\.getaddrinfo leaves the program"),
    ],
)
def test_what_a_library_does_outside_is_one_line(migrate: Any, said: str) -> None:
    with pytest.raises(SuspectError, match=said):
        explore(migrate, records=2, schedules=5)
