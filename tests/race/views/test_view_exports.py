"""Exports other tools can read: their own rules are checked here, over every catalogue entry."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from itertools import pairwise

import pytest
import view_scenes as scenes

from vecforensics.race.catalogue import NAMES
from vecforensics.race.model import EventKind, Witness
from vecforensics.race.views.exports import (
    SHIVIZ_EVENT,
    SHIVIZ_EXECUTION,
    chrome_trace,
    shiviz_log,
    witness_json,
)

PYTHON_EVENT = SHIVIZ_EVENT.replace("(?<", "(?P<")


@pytest.mark.parametrize("name", NAMES)
def test_chrome_trace_of_a_catalogue_entry(name: str) -> None:
    witness = scenes.witness_of(name)
    events = json.loads(chrome_trace(witness))["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    labels = {event["name"] for event in slices if event["pid"] == 1}
    begun = {event.operation for event in witness.trace.events if event.kind is EventKind.BEGIN}
    assert labels == {item.label for item in witness.trace.operations if item.id in begun}
    by_thread: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in slices:
        assert event["dur"] > 0
        by_thread.setdefault((event["pid"], event["tid"]), []).append(
            (event["ts"], event["ts"] + event["dur"])
        )
    for spans in by_thread.values():
        spans.sort()
        for (_, stop), (start, _) in pairwise(spans):
            assert stop <= start  # slices of one thread never overlap
    flows = [event for event in events if event["ph"] in "sf"]
    for start, stop in zip(flows[::2], flows[1::2], strict=True):
        assert (start["ph"], stop["ph"], start["id"]) == ("s", "f", stop["id"])
        for end in (
            start,
            stop,
        ):  # each end lies inside a slice of its thread, else the arrow has nothing to hold on to
            inside = by_thread[end["pid"], end["tid"]]
            assert any(first <= end["ts"] <= last for first, last in inside)


@pytest.mark.parametrize("name", NAMES)
def test_shiviz_log_of_a_catalogue_entry(name: str) -> None:
    lines = shiviz_log(scenes.witness_of(name)).splitlines()
    assert lines[:2] == [SHIVIZ_EVENT, SHIVIZ_EXECUTION]
    delimiter = re.compile(SHIVIZ_EXECUTION.replace("(?<", "(?P<"))
    executions: list[list[str]] = []
    for line in lines[2:]:
        if delimiter.match(line):
            executions.append([])
        else:
            executions[-1].append(line)
    assert executions
    for execution in executions:
        clocks: dict[str, dict[str, int]] = {}
        matches = list(re.finditer(PYTHON_EVENT, "\n".join(execution)))
        assert 2 * len(matches) == len(execution)
        for match in matches:
            host, clock = match["host"], json.loads(match["clock"])
            before = clocks.get(host, {})
            assert clock[host] == before.get(host, 0) + 1  # the first is 1, then one more each
            assert all(clock.get(other, 0) >= count for other, count in before.items())
            for other, count in clock.items():
                assert count <= (
                    clock[host] if other == host else clocks[other][other]
                )  # nothing known before it was
            clocks[host] = clock


def test_shiviz_orders_the_write_before_the_read_that_saw_it() -> None:
    log = shiviz_log(scenes.lookup_too_early()).split("=== passes ===\n")[1]
    events = [(m["host"], json.loads(m["clock"]), m["event"]) for m in re.finditer(PYTHON_EVENT, log)]
    write = next(item for item in events if item[2].startswith("complete upsert(10001)"))
    read = next(item for item in events if item[2].startswith("complete fetch(10001)"))
    assert write[0] == read[0] == "key-10001"
    assert write[1][write[0]] < read[1][write[0]]


def test_ids_that_look_alike_after_escaping_are_two_hosts() -> None:
    log = shiviz_log(scenes.lookup_too_early(user="a b", post="a:b"))
    hosts = {match["host"] for match in re.finditer(PYTHON_EVENT, log)}
    assert {"key-a_b", "key-a_b_2"} <= hosts


def test_witness_json_has_every_field() -> None:
    witness = scenes.witness_of("children_before_parents")
    plain = json.loads(witness_json(witness))
    assert sorted(plain) == sorted(field.name for field in fields(Witness))
    assert plain["replay"] == witness.replay
    assert witness_json(witness) == witness_json(witness)


def test_hostile_ids_in_exports() -> None:
    witness = scenes.lookup_too_early(user="\n{}\x00 \u202e", post="\ud800")
    json.loads(chrome_trace(witness).encode())
    log = shiviz_log(witness)
    assert log.isascii()
    assert len(re.findall(PYTHON_EVENT, log)) * 2 == len(log.splitlines()) - 4
