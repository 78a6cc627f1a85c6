"""Random small migrations over everything asyncio offers, as source text, for checking DPOR against brute force.

A program has two or three tasks of one to three steps each, joined in one of several ways. What it did ends up in the store: at
the end the main task writes a vector that stands for all of the shared state, so that two schedules have the same outcome only
where everything that can be observed is the same.
"""

from __future__ import annotations

import linecache
import random
import textwrap
from typing import Any

HEAD = """
import asyncio
import zlib
import numpy as np


def vector_of(state):
    return np.full(8, zlib.crc32(repr(state).encode()) % 65521, dtype=np.float32)


async def migrate(records, embed, store):
    log, seen, slots, counter = [], set(), {}, 0
    lock, gate, semaphore = asyncio.Lock(), asyncio.Event(), asyncio.Semaphore({permits})
    queue, condition, ready = asyncio.Queue({capacity}), asyncio.Condition(), []
    loose = []

"""

TAIL = """
    await store.upsert("out", vector_of({observed}), None)
"""


def _operation(rng: random.Random) -> str:
    key = rng.choice(("a", "b"))
    return rng.choice(
        (
            f'await store.upsert("{key}", vector_of(("{key}", {rng.randrange(9)}, counter)), None)',
            f'await store.upsert("{key}", vector_of({rng.randrange(9)}), None)',
            f'await store.fetch("{key}")',
            f'await store.delete("{key}")',
            f"await embed(records[{rng.randrange(2)}])",
        )
    )


def _step(rng: random.Random, name: str) -> list[str]:
    """Lines of one step; at most two operations, so that brute force stays possible."""
    op, key = _operation(rng), rng.choice(("x", "y"))
    steps: dict[str, list[str]] = {
        "op": [op],
        "lookup": [f'row = await store.fetch("{key}")', f'log.append("{name}" + str(row is None))'],
        "log": [op, f'log.append("{name}")'],
        "lost update": ["before = counter", op, "counter = before + 1"],
        "count": [op, "counter += 1"],
        "slot": [op, f'slots["{key}"] = "{name}"'],
        "check then act": [f'if "{key}" not in seen:', "    " + op, f'    seen.add("{key}")'],
        "lock": ["async with lock:", "    " + op, f'    log.append("{name}")'],
        "semaphore": ["async with semaphore:", "    " + op, f'    log.append("{name}")'],
        "locked": [f'log.append(("{name}", lock.locked()))', op],
        "set": [op, "gate.set()"],
        "wait set": ["await gate.wait()", op],
        "is set": [op, f'log.append(("{name}", gate.is_set()))'],
        "put": [f'await queue.put("{name}")'],
        "op put": [op, f'queue.put_nowait("{name}") if not queue.full() else log.append("full")'],
        "get": ["if not queue.empty():", "    log.append(queue.get_nowait())"],
        "wait get": ["log.append(await queue.get())", op],
        "notify": [op, "ready.append(1)", "async with condition:", "    condition.notify_all()"],
        "wait for": ["async with condition:", "    await condition.wait_for(lambda: ready)", op],
        "time out": [
            "try:", "    async with asyncio.timeout(1):", "        " + op,
            "except TimeoutError:", f'    log.append("late {name}")',
        ],
        "wait_for": [
            "try:", f"    await asyncio.wait_for({op.removeprefix('await ')}, 1)", "except TimeoutError:", "    counter += 10",
        ],
        "sleep": ["await asyncio.sleep(1)", f'log.append("{name}")'],
        "yield": [op, "await asyncio.sleep(0)", "counter = counter * 2 + 1"],
        "executor": [f"counter = await asyncio.to_thread(lambda: counter + {rng.randrange(3)})"],
        "raise": [op, f'raise KeyError("{name}")'],
        "cancel": [op, "for other in loose:", "    other.cancel()"],
        "poll": [op, f'log.append(("{name}", [other.done() for other in loose]))'],
        "child": [f"loose.append(asyncio.create_task({op.removeprefix('await ')}))"],
        "shield": [
            "try:", f"    await asyncio.shield({op.removeprefix('await ')})", "finally:", f'    log.append("{name}")',
        ],
        "nested": [
            "await asyncio.gather(", f"    {op.removeprefix('await ')},",
            f"    {_operation(rng).removeprefix('await ')},", ")",
        ],
        "generator": [f"async for item in source({rng.randrange(1, 3)}):", "    counter += item"],
    }  # fmt: skip
    return steps[rng.choice(sorted(steps))]


_JOINS: dict[str, list[str]] = {
    "gather": ["await asyncio.gather({calls})"],
    "gather errors": ["log.append([repr(item) for item in await asyncio.gather({calls}, return_exceptions=True)])"],
    "group": [
        "try:", "    async with asyncio.TaskGroup() as group:", "{starts}",
        "except* KeyError as errors:", "    log.append(len(errors.exceptions))",
    ],
    "wait": ["done, _ = await asyncio.wait([{tasks}])", "log.append(len(done))"],
    "first": [
        "done, rest = await asyncio.wait([{tasks}], return_when=asyncio.FIRST_COMPLETED)",
        "log.append(len(done))",
        "for task in rest:",
        "    task.cancel()",
        "await asyncio.gather(*rest, return_exceptions=True)",
    ],
    "first exception": [
        "done, rest = await asyncio.wait([{tasks}], return_when=asyncio.FIRST_EXCEPTION)",
        "log.append((len(done), len(rest)))",
        "await asyncio.gather(*rest, return_exceptions=True)",
    ],
    "as completed": [
        "for each in asyncio.as_completed([{calls}]):", "    try:", "        log.append(await each)",
        "    except KeyError:", "        log.append(0)",
    ],
    "one after the other": ["for task in [{tasks}]:", "    await task"],
    "forgotten": ["tasks = [{tasks}]", "await tasks[0]"],
    "waited late": [
        "tasks = [{tasks}]", "await store.fetch('a')", "await asyncio.wait(tasks, timeout=2)",
        "log.append([t.done() for t in tasks])",
    ],
}  # fmt: skip


def source_of(seed: int) -> str:
    rng = random.Random(seed)
    text = HEAD.replace("{permits}", str(rng.choice((1, 1, 2)))).replace(
        "{capacity}", str(rng.choice((0, 1)))
    )
    lines = [
        "async def source(count):",
        "    for item in range(count):",
        "        yield item + 1",
        f"        {_operation(rng)}",
        "",
    ]
    names = [f"t{number}" for number in range(rng.choice((2, 2, 3)))]
    for name in names:
        lines += [f"async def {name}():", "    nonlocal counter"]
        for _ in range(rng.choice((1, 1, 2, 3) if len(names) == 2 else (1, 1, 2))):
            lines += ["    " + line for line in _step(rng, name)]
        lines += [f'    return "{name}"', ""]
    calls = ", ".join(f"{name}()" for name in names)
    tasks = ", ".join(f"asyncio.create_task({name}())" for name in names)
    starts = "\n".join(f"        group.create_task({name}())" for name in names)
    for line in _JOINS[rng.choice(sorted(_JOINS))]:
        lines += (
            line.replace("{calls}", calls).replace("{tasks}", tasks).replace("{starts}", starts).split("\n")
        )
    observed = rng.choice(
        (
            "(log, sorted(seen), slots, counter, queue.qsize())",
            "(len(log), counter)",
            "counter",
            "(sorted(slots), gate.is_set())",
        )
    )
    return text + textwrap.indent("\n".join(lines), "    ") + TAIL.replace("{observed}", observed)


def compile_program(source: str, file: str) -> Any:
    """The function `migrate` of `source`, with its lines where tracebacks and the tracker look for them."""
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    namespace: dict[str, Any] = {}
    exec(compile(source, file, "exec"), namespace)
    return namespace["migrate"]
