"""The ledger: only allowed steps, and no damage that goes unnoticed."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecforensics.errors import EvidenceError, ToolFailed
from vecforensics.migrate.chain import ALLOWED, Operation, State
from vecforensics.migrate.ledger import Ledger, check_ledger

WAY = (State.INTENT, State.SENT, State.APPLIED, State.VERIFIED, State.DONE)


def operations(count: int) -> list[Operation]:
    return [Operation(op, op % 3, "upsert", "users", f"id-{op}") for op in range(1, count + 1)]


def filled(path: Path, count: int = 12) -> None:
    """A closed ledger with a bit of everything."""
    with Ledger.create(path, operations(count), {"digest": "d"}) as ledger:
        ledger.save_preimage("users", range(1, 7), b"rows of one to six")
        ledger.save_preimage("users", range(7, count + 1), b"rows of the others")
        for state in WAY[1:]:
            ledger.advance(range(1, 7), state, "ä reason")
        ledger.advance([7, 8], State.QUARANTINED, "no vector")
        ledger.note("resumed", {"at": 3})


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_only_the_allowed_steps_can_be_taken(tmp_path: Path, before: State, after: State) -> None:
    routes: dict[State, tuple[State, ...]] = {State.PLANNED: ()}
    routes |= {state: WAY[: place + 1] for place, state in enumerate(WAY)}
    routes |= {State.QUARANTINED: (State.QUARANTINED,), State.ROLLED_BACK: (State.INTENT, State.ROLLED_BACK)}
    with Ledger.create(tmp_path / "ledger.sqlite", operations(1), {}) as ledger:
        for step in routes[before]:
            ledger.advance([1], step)
        if after in ALLOWED[before]:
            ledger.advance([1], after)
            assert ledger.state(1) is after
        else:
            with pytest.raises(ToolFailed, match=f"cannot go from {before} to {after}"):
                ledger.advance([1], after)
            assert ledger.state(1) is before


def test_a_batch_with_one_forbidden_step_changes_nothing(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite", operations(3), {}) as ledger:
        ledger.advance([2], State.INTENT)
        ledger.advance([2], State.ROLLED_BACK)
        length = len(list(ledger.entries()))
        with pytest.raises(ToolFailed):
            ledger.advance([1, 2, 3], State.INTENT)
        assert [ledger.state(op) for op in (1, 2, 3)] == [State.PLANNED, State.ROLLED_BACK, State.PLANNED]
        assert len(list(ledger.entries())) == length


def test_two_operations_on_one_key_cannot_be_planned(tmp_path: Path) -> None:
    twice = [Operation(1, 0, "upsert", "users", "1"), Operation(2, 0, "delete", "users", "1")]
    with pytest.raises(ToolFailed, match="two operations on one key"):
        Ledger.create(tmp_path / "ledger.sqlite", twice, {})


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(State), st.booleans()), max_size=30))
def test_closing_and_opening_at_any_moment_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, State, bool]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    model = dict.fromkeys(range(1, 5), State.PLANNED)
    ledger = Ledger.create(path, operations(4), {})
    for op, state, reopen in steps:
        if state in ALLOWED[model[op]]:
            ledger.advance([op], state)
            model[op] = state
        if reopen:
            ledger.close()
            ledger = Ledger.open(path)
        assert {op: ledger.state(op) for op in model} == model
    ledger.close()
    assert check_ledger(path) == ""


def test_every_flipped_bit_in_a_row_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path)
    whole = path.read_bytes()
    connection = sqlite3.connect(path)
    texts = [
        *(row[0] for row in connection.execute("SELECT state FROM entry")),
        *(row[0] for row in connection.execute("SELECT id FROM operation")),
        "ä reason",
        "no vector",
        "rows of one to six",
    ]
    connection.close()
    rng = random.Random(7)
    flips = 0
    for text in sorted(set(texts)):
        place = whole.find(text.encode())
        assert place >= 0
        for _ in range(4):
            at, bit = place + rng.randrange(len(text.encode())), 1 << rng.randrange(8)
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            assert check_ledger(path) != ""
            flips += 1
    assert flips >= 60
    path.write_bytes(whole)
    assert check_ledger(path) == ""


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_never_changes_what_the_ledger_says(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "ledger.sqlite"
    filled(path)
    whole = bytearray(path.read_bytes())
    with Ledger.open(path) as ledger:
        truth = list(ledger.entries())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(whole))
    noticed = check_ledger(path)
    assert "\n" not in noticed
    if not noticed:
        with Ledger.open(path) as ledger:
            assert list(ledger.entries()) == truth


TAMPERINGS = {
    "a reason is rewritten": "UPDATE entry SET detail = 'nothing to see' WHERE state = 'QUARANTINED'",
    "a time is rewritten": "UPDATE entry SET at = '1999' WHERE seq = 5",
    "an entry vanishes": "DELETE FROM entry WHERE seq = 9",
    "the last entries vanish": "DELETE FROM entry WHERE seq > 20",
    "an entry is slipped in": "INSERT INTO entry SELECT 999, op, state, detail, at, digest FROM entry WHERE seq = 9",
    "two entries change places": "UPDATE entry SET seq = CASE seq WHEN 4 THEN -5 WHEN 5 THEN -4 ELSE seq END",
    "an operation is aimed elsewhere": "UPDATE operation SET id = 'other' WHERE op = 1",
    "an operation is slipped in": "INSERT INTO operation VALUES (99, 0, 'delete', 'users', 'x', '{}')",
    "a pre-image is replaced": "UPDATE preimage SET rows = x'00'",
    "a pre-image is slipped in": "INSERT INTO preimage VALUES (999, 'users', x'00')",
    "a pre-image vanishes": "DELETE FROM preimage",
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_noticed_and_said_in_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute(TAMPERINGS[what])
    connection.commit()
    connection.close()
    with pytest.raises(EvidenceError, match="the ledger is damaged") as noticed:
        Ledger.open(path)
    assert "\n" not in str(noticed.value)
    assert check_ledger(path) == noticed.value.what


def test_a_write_ahead_log_that_lost_its_end_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "live" / "ledger.sqlite"
    ledger = Ledger.create(path, operations(3), {})
    ledger.advance([1], State.INTENT)
    ledger.advance([1], State.SENT)
    torn = tmp_path / "torn"
    shutil.copytree(path.parent, torn)
    ledger.close()
    wal = torn / "ledger.sqlite-wal"
    assert check_ledger(torn / "ledger.sqlite") == ""
    shutil.rmtree(torn)
    ledger = Ledger.open(path)
    ledger.advance([1], State.APPLIED)
    ledger.advance([1], State.VERIFIED)
    shutil.copytree(path.parent, torn)
    ledger.close()
    wal.write_bytes(wal.read_bytes()[: -4_096 - 24])
    assert "the end is torn off" in check_ledger(torn / "ledger.sqlite")


def test_a_file_that_ends_within_a_page_is_noticed_even_where_only_zeros_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path)
    path.write_bytes(path.read_bytes() + bytes(100))
    assert "end of a page" in check_ledger(path)


@pytest.mark.parametrize("cut", [1, 100, 4_096, 10_000])
def test_a_file_cut_short_is_noticed(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path, 300)
    path.write_bytes(path.read_bytes()[:-cut])
    assert check_ledger(path) != ""


@pytest.mark.parametrize("content", [None, b"", b"junk", b"99999999999999999999 zz\n"])
def test_a_head_that_is_gone_or_garbage_is_noticed(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path)
    head = tmp_path / "ledger.head"
    if content is None:
        head.unlink()
    else:
        head.write_bytes(content)
    assert "ledger.head" in check_ledger(path)


def test_a_creation_that_was_killed_counts_as_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert not Ledger.begun(path)
    path.write_bytes(b"")
    assert not Ledger.begun(path)
    Ledger.create(path, operations(1), {}).close()
    assert Ledger.begun(path)
    path.unlink()
    assert Ledger.begun(path)


def test_threads_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.create(path, operations(80), {})

    def work(ops: range) -> None:
        for op in ops:
            ledger.save_preimage("users", [op], str(op).encode())
            ledger.advance([op], State.SENT)

    threads = [threading.Thread(target=work, args=(range(1 + 20 * n, 21 + 20 * n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    with Ledger.open(path) as again:
        assert again.counts()[State.SENT] == 80
        assert sorted(rows for _, _, rows in again.preimages()) == sorted(
            str(op).encode() for op in range(1, 81)
        )


def test_a_full_disk_stops_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.create(path, operations(2_000), {})
    ledger._connection().execute("PRAGMA max_page_count=1")

    def fill_up() -> None:
        for op in range(1, 2_001):
            ledger.advance([op], State.INTENT, "x" * 4_000)

    with pytest.raises(ToolFailed, match=r"the ledger cannot be used .*full.*nothing more is sent"):
        fill_up()
    reached = ledger.counts()[State.INTENT]
    ledger.close()
    with Ledger.open(path) as again:
        assert again.counts()[State.INTENT] == reached
