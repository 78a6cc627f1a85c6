"""What the logs tell of writes: which texts may be the ids of what was written, in which order, and what else is said of it.

An event that wrote something names a record, by a key, by its place in a sentence, or in a list of all that went in one upsert.
What it names is a record only if some collection knows the id: any word may stand where an id stands. Who knows the ids decides
(`writes.py`), among the collections that the key speaks of, where it speaks of any (`log_keys.py`).

What counts is a record's first write. Where several events tell of one record, in one log or in several, the smallest number and
the earliest time are the first write's, but only where each of the events has one, since the one that has none may have come
before. Nor has it an earliest time where only some of them name a zone. Lines say which came first only within one log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics import arrow_columns as arrow
from vecforensics.diff.writing.counters import counters
from vecforensics.diff.writing.log_keys import ANYTHING, NOTHING, Keys
from vecforensics.diff.writing.moments import NEVER, sequence_numbers, times
from vecforensics.evidence import hash_text

__all__ = ["PLAIN_FIELDS", "FirstWrites", "Told"]

PLAIN_FIELDS: Final = ("batch", "worker", "namespace", "shard")
# What is kept of each event, beside what it names.
_SAID: Final = ("time", "collection", *PLAIN_FIELDS)
# So many events are read at once; so many texts under keys may name one record and what belongs to it.
_AT_ONCE: Final = 20_000
_MOST_NAMED: Final = 4

_Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What the logs say of writes. Of each text that may be an id: `id_hash`, the number of its `event`, whether it was `listed`,
    and the number of what its `key` may name; of each event: the number of its `log`, `sequence`, `time` and `zoneless` as in
    `Writes`, the `counter` of its sequence number, and what is `said` as text columns."""

    id_hash: npt.NDArray[np.uint64]
    event: npt.NDArray[np.int64]
    listed: npt.NDArray[np.bool_]
    key: npt.NDArray[np.int32]
    log: npt.NDArray[np.int32]
    sequence: npt.NDArray[np.float64]
    time: npt.NDArray[np.int64]
    zoneless: npt.NDArray[np.bool_]
    counter: npt.NDArray[np.int64]
    said: Mapping[str, pa.Array]

    @classmethod
    def by(cls, path: Path, keys: Keys) -> Told:
        """Read `logs.jsonl`, some thousand events at a time: of a long log stay some tens of bytes an event."""
        hashes, events, listed = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.bool_)]
        meant, logs = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        sequence, time, without = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.bool_)]
        said: dict[str, list[pa.Array]] = {name: [] for name in _SAID}
        count = 0
        for some in _in_portions(_writes_of(path), _AT_ONCE):
            spoken = [(count + n, *one) for n, (_, event) in enumerate(some) for one in _named(event, keys)]
            hashes.append(hash_text(arrow.texts(text for _, text, _, _ in spoken)))
            events.append(np.array([number for number, _, _, _ in spoken], np.int64))
            listed.append(np.array([one for _, _, one, _ in spoken], np.bool_))
            meant.append(np.array([key for _, _, _, key in spoken], np.int32))
            logs.append(np.array([number for number, _ in some], np.int32))
            sequence.append(sequence_numbers([_as_text(event, "seq") for _, event in some]))
            time.append(times([_as_text(event, "time") for _, event in some]))
            without.append(np.array([bool(event.get("zoneless")) for _, event in some], np.bool_))
            for name, column in said.items():
                column.append(arrow.texts(_as_text(event, name) for _, event in some))
            count += len(some)
        log, number, moment = np.concatenate(logs), np.concatenate(sequence), np.concatenate(time)
        told = {
            name: pa.concat_arrays(column) if column else arrow.texts([]) for name, column in said.items()
        }
        worker = arrow.as_numpy(told["worker"].dictionary_encode().indices, -1).astype(np.int64)
        return cls(
            np.concatenate(hashes),
            np.concatenate(events),
            np.concatenate(listed),
            np.concatenate(meant),
            log,
            number,
            moment,
            np.concatenate(without),
            counters(number, moment, (worker + 1) * (log.max(initial=0) + 1) + log),
            told,
        )


def _writes_of(path: Path) -> Iterator[tuple[int, _Event]]:
    """The events that wrote something, each with the number of its log."""
    if not path.is_file():
        return
    number, name, line_number = 0, None, 0
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            said = event.get("file"), event.get("line_number", line_number + 1)
            # The logs stand one after the other. Two of one name, from two folders, are told apart where lines are counted anew.
            if said[0] != name or said[1] <= line_number:
                number += 1
            name, line_number = said
            if event.get("action") == "wrote":
                yield number, event


def _in_portions(events: Iterator[tuple[int, _Event]], size: int) -> Iterator[list[tuple[int, _Event]]]:
    while some := list(islice(events, size)):
        yield some


def _named(event: _Event, keys: Keys) -> Iterator[tuple[str, bool, int]]:
    """The texts that may be the id of what an event wrote, the likeliest first, whether it lists them, and what the key of each
    may name."""
    listed = event.get("listed_ids")
    if listed:
        [number] = keys.numbers([event.get("list_key", "").removesuffix("s")])
        yield from ((text, True, number) for text in listed)
        return
    yield from ((text, False, ANYTHING) for text in event.get("words", ()))
    ids = event.get("record_ids", ())
    numbers = keys.numbers(event.get("id_keys", ())) or [ANYTHING] * len(ids)
    named = ((text, False, number) for text, number in zip(ids, numbers, strict=True) if number != NOTHING)
    yield from islice(named, _MOST_NAMED)
    vector_id = event.get("vector_id")
    if vector_id is not None:
        yield vector_id, False, ANYTHING


def _as_text(event: _Event, name: str) -> str | None:
    value = event.get("time") if name == "time" else event.get("fields", {}).get(name)
    return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class FirstWrites:
    """By id, ascending: its number, the `event` that tells of its first write, and the rest as in `Writes`, but that
    `counter` is the one of `Told` that gives `sequence`, counted from 1, and 0 where none does."""

    id_number: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.float64]
    counter: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    zoneless: npt.NDArray[np.bool_]
    line: npt.NDArray[np.int64]
    log: npt.NDArray[np.int32]

    @classmethod
    def of(cls, told: Told, id_number: npt.NDArray[np.int64], event: npt.NDArray[np.int64]) -> FirstWrites:
        order = np.argsort(id_number, kind="stable")
        id_number, event = id_number[order], event[order]
        begins = np.flatnonzero(np.r_[True, id_number[1:] != id_number[:-1]])
        group = np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, len(event)]))
        # What is unknown is the least of all, so that one write of which it is unknown leaves it unknown of the first.
        counter = told.counter[event]
        one_counter = np.minimum.reduceat(counter, begins) == np.maximum.reduceat(counter, begins)
        # Numbers of several counters have no smallest.
        sequence = np.where(one_counter, np.minimum.reduceat(told.sequence[event], begins), np.nan)
        without = told.zoneless[event]
        one_clock = np.minimum.reduceat(without, begins) == np.maximum.reduceat(without, begins)
        time = np.where(one_clock, np.minimum.reduceat(told.time[event], begins), NEVER)
        log = np.minimum.reduceat(told.log[event], begins)
        one_log = log == np.maximum.reduceat(told.log[event], begins)
        by_number = np.where(np.isnan(sequence)[group], 0.0, told.sequence[event])
        by_time = np.where((time == NEVER)[group], 0, told.time[event])
        first = event[np.lexsort((event, by_time, by_number, group))[begins]]
        return cls(
            id_number[begins],
            first,
            sequence,
            np.where(np.isnan(sequence), 0, told.counter[first] + 1),
            time,
            told.zoneless[first],
            np.where(one_log, first, -1),
            np.where(one_log, log, np.int32(-1)),
        )
