"""When, by whom and in which batch a record was written: from the log's events, or from what the target's metadata say.

Where an event of the log names its collection, as the case or the store calls it, that decides whose write it tells of, and so
does the key of an id (`log_keys.py`). Else the record belongs to the one collection that knows the id, and an id that two
collections know is left alone. Of an event that does not list what it wrote the first text that is a record counts, since a key
may also name a parent. What the log leaves unsaid metadata may say (`metadata_writes.py`). What counts is a record's first write.
Nothing here is needed for a verdict on contents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.diff.lookup import find
from vecforensics.diff.rows import Field
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.diff.writing.counters import counters
from vecforensics.diff.writing.log_keys import Keys
from vecforensics.diff.writing.log_writes import PLAIN_FIELDS, FirstWrites, Told
from vecforensics.diff.writing.metadata_writes import (
    SEQUENCE_FIELDS,
    TIME_FIELDS,
    as_field,
    earliest,
    of_several_workers,
    smallest,
    told_by_metadata,
)
from vecforensics.diff.writing.moments import NEVER, sequence_numbers

__all__ = ["Writes", "place_writes"]


@dataclass
class Writes:
    """By running source row: `sequence` float64 (NaN unknown), `counter` int64 (the number of what gave that out: two are only
    compared if it is the same), `time` int64 (ns, UTC; the smallest int64 unknown), `zoneless` bool (it is UTC only because no
    zone is named), `line` int64 (order in its log, -1 unknown or told of in several logs), `log` int32 (the number of that log,
    -1 as `line`), and `fields` by name for the hot spots.
    `undecided`: how many events name an id that this collection and another know, and not whose."""

    sequence: npt.NDArray[np.float64]
    counter: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    zoneless: npt.NDArray[np.bool_]
    line: npt.NDArray[np.int64]
    log: npt.NDArray[np.int32]
    fields: dict[str, Field] = field(default_factory=dict)
    undecided: int = 0

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.sequence).any() or (self.time != NEVER).any() or (self.line >= 0).any())


def place_writes(
    evidence: Path, all_sides: Mapping[str, Sides], strays: Mapping[str, Index] | None = None
) -> dict[str, Writes]:
    """What is known of each record's first write, by collection. With `strays`, the rows of each target that stand under no
    record's id, it is what is known of each row of the target instead."""
    asked = {name: sides.source if strays is None else sides.target for name, sides in all_sides.items()}
    placed = {name: _empty(side.rows) for name, side in asked.items()}
    keys = Keys.of(asked)
    told = Told.by(evidence / "logs.jsonl", keys)
    if len(told.event):
        _from_log(told, keys, asked, placed)
    for name, sides in all_sides.items():
        _from_metadata(sides, placed[name], None if strays is None else strays[name])
    if strays is None:
        _tell_counters_apart(told, list(placed.values()))
    return placed


def _empty(rows: int) -> Writes:
    """Nothing known of any row: six values that look like columns, so that most collections pay no memory for them."""
    return Writes(
        np.broadcast_to(np.float64(np.nan), rows),
        np.broadcast_to(np.int64(0), rows),
        np.broadcast_to(NEVER, rows),
        np.broadcast_to(np.False_, rows),
        np.broadcast_to(np.int64(-1), rows),
        np.broadcast_to(np.int32(-1), rows),
    )


def _from_log(told: Told, keys: Keys, all_sides: Mapping[str, Side], placed: dict[str, Writes]) -> None:
    ids, spoken = np.unique(told.id_hash, return_inverse=True)
    rows = {name: _rows_of(side, ids) for name, side in all_sides.items()}
    collection = told.said["collection"].take(arrow.numbers(told.event))
    known = {}
    for name, (_, id_number) in rows.items():
        there = np.zeros(len(ids), np.bool_)
        there[id_number] = True
        in_store = all_sides[name].evidence.collection(name).facts.get("target_collection", name)
        meant = pc.is_in(collection, arrow.texts([name, str(in_store)]))
        spoken_of = np.array([name in names for names in keys.sets])[told.key]
        known[name] = there[spoken] & spoken_of & (arrow.flags(meant) | ~arrow.present(collection))
    knowing = sum((mine.astype(np.int32) for mine in known.values()), np.zeros(len(spoken), np.int32))
    good = np.flatnonzero(knowing == 1)
    several = (knowing > 1) & ~np.isin(told.event, told.event[good])
    for name, mine in known.items():
        placed[name].undecided = len(np.unique(told.event[several & mine]))
    # Of each event everything that it lists, or the first.
    again = (
        np.r_[False, told.event[good][1:] == told.event[good][:-1]] if len(good) else np.empty(0, np.bool_)
    )
    good = good[~again | told.listed[good]]
    for name, (row, id_number) in rows.items():
        mine = good[known[name][good]]
        if not len(mine):
            continue
        first = FirstWrites.of(told, spoken[mine], told.event[mine])
        place, told_of = find(first.id_number, id_number)
        _fill_in(placed[name], told, first, row[told_of], place[told_of])


def _fill_in(
    writes: Writes, told: Told, first: FirstWrites, row: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
) -> None:
    """Enter what the log says of running rows `row`, each by the place of its id in `first`."""
    for name in ("sequence", "counter", "time", "zoneless", "line", "log"):
        column = getattr(writes, name).copy()
        column[row] = getattr(first, name)[place]
        setattr(writes, name, column)
    for key in (*PLAIN_FIELDS, "time"):
        said = told.said[key].take(arrow.numbers(first.event[place]))
        if said.null_count < len(row):
            name = "written_at" if key == "time" else key
            writes.fields[name] = Field.joined(len(writes.line), [(row, Field.of(said))])


def _tell_counters_apart(told: Told, placed: Sequence[Writes]) -> None:
    """Number the counters of all collections, since records depend on those of others. Up to here a row whose number is from the
    log has the log's counter, from 1, and any other 0."""
    if not any(np.isfinite(writes.sequence).any() for writes in placed):
        return
    workers: dict[str, int] = {}
    above = int(told.counter.max(initial=0)) + 2
    counter = np.concatenate([writes.counter for writes in placed])
    writer = np.concatenate([_workers(writes, workers) for writes in placed]) + above
    writer = np.where(counter > 0, counter, writer)
    # What the log's own numbers showed of its counters stays; they are all events, and these are first writes only.
    asked = counter == 0 if told.counter.any() else np.ones(len(counter), np.bool_)
    sequence = np.concatenate([writes.sequence for writes in placed])
    time = np.concatenate([writes.time for writes in placed])
    writer[asked] = counters(sequence[asked], time[asked], writer[asked])
    ends = np.cumsum([len(writes.counter) for writes in placed])[:-1]
    for writes, own in zip(placed, np.split(writer, ends), strict=True):
        writes.counter = own


def _workers(writes: Writes, numbers: dict[str, int]) -> npt.NDArray[np.int64]:
    """The number of each row's worker, 0 where none is named; `numbers` is added to."""
    named = writes.fields.get("worker")
    if named is None:
        return np.zeros(len(writes.counter), np.int64)
    texts = named.values.cast(pa.string()).to_pylist()
    known = np.array([*(numbers.setdefault(text, len(numbers) + 1) for text in texts), 0], np.int64)
    worker: npt.NDArray[np.int64] = known[named.codes]
    return worker


def _rows_of(side: Side, ids: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The running rows whose id hashes are among `ids`, which ascend, and the place of each one's there."""
    rows, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for bucket in range(side.buckets):
        held = side.column("id_hash", bucket)
        place, known = find(ids, held)
        there = np.flatnonzero(known)
        rows.append(side.number(bucket, there))
        places.append(place[there])
    return np.concatenate(rows), np.concatenate(places)


def _from_metadata(sides: Sides, writes: Writes, strays: Index | None) -> None:
    """Fields that the writer left in the target's metadata; `strays` as in `place_writes`."""
    count = (sides.source if strays is None else sides.target).rows
    told = told_by_metadata(sides, strays)
    for name, parts in told.items():
        if name in SEQUENCE_FIELDS:
            found = smallest(parts, sequence_numbers, count, np.float64(np.nan))
            # Numbers of several workers have no smallest.
            found[of_several_workers(told.get("worker", []), count)] = np.nan
            writes.sequence = np.where(np.isnan(writes.sequence), found, writes.sequence)
        elif name in TIME_FIELDS:
            moments, without_zone = earliest(parts, count)
            unknown = writes.time == NEVER
            writes.time = np.where(unknown, moments, writes.time)
            writes.zoneless = np.where(unknown, without_zone, writes.zoneless)
            _fill(writes.fields, "written_at", as_field(parts, count))
        else:
            _fill(writes.fields, name, as_field(parts, count))


def _fill(fields: dict[str, Field], name: str, more: Field) -> None:
    """Add a field; where one of that name is known already (the log's), only the rows that have no value there."""
    known = fields.get(name)
    every = slice(None)
    fields[name] = more if known is None else Field.joined(len(more.codes), [(every, known), (every, more)])
