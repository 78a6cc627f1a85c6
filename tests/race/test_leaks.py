"""What no schedule decides is named: clocks, chance, identities, and how this process happens to hash text."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vecforensics.race import Verdict, explore
from vecforensics.race.views.text import exploration_text

HEAD = """import asyncio, datetime, os, random, secrets, time, uuid
import numpy as np
from random import shuffle
from time import time as now


async def one(record, embed, store):
    await store.upsert(record.id, await embed(record), record.metadata)


async def migrate(records, embed, store):
    by_id = {record.id: record for record in records}
"""


def explored(tmp_path: Path, body: str, **settings: Any) -> Any:
    lines = [f"    {line}" for line in body.split("\n")]
    (tmp_path / "move.py").write_text(HEAD + "\n".join(lines) + "\n")
    return explore("move.py", folder=tmp_path, **{"records": 5, "schedules": 40, **settings})


ALL = "\nfor record in records: await one(record, embed, store)"


@pytest.mark.parametrize(
    ("reads", "named"),
    [
        ("time.time()", "the wall clock (time.time)"),
        ("now()", "the wall clock (time.time)"),
        ("time.localtime()", "the wall clock (time.localtime)"),
        ("datetime.datetime.now()", "the wall clock (datetime.now)"),
        ("time.monotonic_ns()", "a clock (time.monotonic_ns)"),
        ("random.random()", "random.random"),
        ("shuffle([1, 2])", "random.shuffle"),
        ("random.Random().random()", "random.Random without a seed"),
        ("random.SystemRandom().random()", "random.random"),
        ("uuid.uuid4()", "uuid4"),
        ("uuid.uuid1()", "uuid1"),
        ("secrets.token_hex(4)", "secrets.token_hex"),
        ("os.urandom(4)", "os.urandom"),
        ("os.getpid()", "the process id"),
        ("id(records)", "the address of an object (id)"),
        ("np.random.rand()", "numpy.random without a generator of its own"),
    ],
)
def test_what_a_program_reads_is_named_and_never_proved(tmp_path: Path, reads: str, named: str) -> None:
    found = explored(tmp_path, reads + ALL, records=2, schedules=5)
    assert found.verdict is Verdict.SAMPLED
    assert any(leak.startswith(named) for leak in found.leaks), found.leaks


@pytest.mark.parametrize(
    "reads",
    ["random.Random(7).random()", "np.random.default_rng(7).random()", "uuid.uuid5(uuid.NAMESPACE_DNS, 'a')"],
)
def test_what_has_a_seed_is_no_leak(tmp_path: Path, reads: str) -> None:
    found = explored(tmp_path, reads + ALL, records=2, schedules=5)
    assert (found.verdict, found.leaks) == (Verdict.PROVED, ())


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("ids = set(by_id)\nfor name in ids: await one(by_id[name], embed, store)", 13),
        (
            "ids = {record.id for record in records}\nfor name in list(ids): await one(by_id[name], embed, store)",
            13,
        ),
        (
            "shards = [[] for _ in range(4)]\n"
            "for record in records: shards[hash(record.id) % 4].append(record)\n"
            "for shard in shards:\n    for record in shard: await one(record, embed, store)",
            14,
        ),
        ("left = by_id.keys() - {'none'}\nfor name in left: await one(by_id[name], embed, store)", 13),
    ],
)
def test_the_order_of_a_set_behind_a_variable_and_hashes_of_text_are_named(
    tmp_path: Path, body: str, line: int
) -> None:
    found = explored(tmp_path, body, records=12)
    assert found.verdict is not Verdict.PROVED
    assert not found.certificate.exhaustive
    (leak,) = [item for item in found.leaks if "other processes" in item]
    assert re.match(
        rf"the order of a set or the hash of a text \(PYTHONHASHSEED\), \S*move\.py:{line}", leak
    ), leak
    assert "move.py" in exploration_text(found, 80)


@pytest.mark.parametrize(
    "body",
    [
        "seen = set()\nfor record in records:\n"
        "    if record.id not in seen: await one(record, embed, store)\n    seen.add(record.id)",
        "for name in sorted({record.id for record in records}, key=list(by_id).index): await one(by_id[name], embed, store)",
    ],
)
def test_a_set_whose_order_nobody_sees_is_no_leak(tmp_path: Path, body: str) -> None:
    found = explored(tmp_path, body)
    assert (found.verdict, found.leaks) == (Verdict.PROVED, ())


def test_a_set_in_a_module_that_the_suspect_imports_counts_too(tmp_path: Path) -> None:
    (tmp_path / "order_of_work.py").write_text(
        "class Order:\n    def ids(self, records):\n        return list({r.id for r in records})\n"
    )
    (tmp_path / "move.py").write_text(
        "from order_of_work import Order\n"
        + HEAD
        + "    for name in Order().ids(records): await one(by_id[name], embed, store)\n"
    )
    found = explore("move.py", folder=tmp_path, records=8, schedules=20)
    assert any("order_of_work.py:3" in leak and "other processes" in leak for leak in found.leaks)


def test_a_function_that_was_handed_over_says_that_other_processes_were_not_asked() -> None:
    async def migrate(records: Any, embed: Any, store: Any) -> None:
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)
        assert np.ones(1) == 1

    found = explore(migrate, records=2, schedules=5)
    assert found.verdict is Verdict.PROVED
    assert any("cannot be begun again in another process" in item for item in found.certificate.not_seen)
    assert {"a"} == {"a"}


@pytest.mark.parametrize(
    ("line", "known", "said"),
    [("work = records", True, False), ("work = {*records}", True, True), ("work = records", False, True)],
)
def test_a_cell_of_a_notebook_says_so_too_where_it_makes_sets_or_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, line: str, known: bool, said: bool
) -> None:
    """A kernel compiles a cell under the name of a file that does not exist, and enters its lines into linecache."""
    cell, name = (
        f"async def migrate(records, embed, store):\n    {line}\n",
        f"/tmp/ipykernel_1/{line}{known}.py",
    )
    if known:
        monkeypatch.setitem(linecache.cache, name, (len(cell), None, cell.splitlines(True), name))
    space: dict[str, Any] = {}
    exec(compile(cell, name, "exec"), space)
    found = explore(space["migrate"], records=2, schedules=2)
    assert said == any("cannot be begun again" in item for item in found.certificate.not_seen)
