"""When, by whom and in which batch a record was written: from the log's events, or from what the target's metadata say.

A log event that wrote something names a record, by a key, by its place in a sentence, or in a list of all that went in one
upsert. What it names is a record only if some collection knows the id: any word may stand where an id stands. Where the event
names its collection too, as the case or the store calls it, that decides; else the record belongs to the one collection that
knows the id, and an id that two collections know is left alone. Of an event that does not list what it wrote the first text
that is a record counts, since a key may also name a parent. In metadata a few field names are taken for the writer's own,
unless the case file lists them as data of the source. Nothing here is needed for a verdict on contents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.json_columns import loaded, metadata_columns
from vecforensics.diff.rows import Field
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.evidence import hash_text

__all__ = ["WRITERS_FIELDS", "Writes", "place_writes"]

_TIME_FIELDS: Final = ("written_at", "inserted_at", "upserted_at", "migrated_at", "ingested_at", "indexed_at")
_SEQUENCE_FIELDS: Final = ("seq", "sequence", "write_seq", "lsn")
_ZONE: Final = r"(?:Z|[+-]\d\d:?\d\d)$"
_PLAIN_FIELDS: Final = ("batch", "worker", "namespace", "shard")
# What is kept of each event, beside what it names.
_SAID: Final = ("time", "collection", *_PLAIN_FIELDS)
# So many events are read at once; so many texts under keys may name one record and what belongs to it.
_AT_ONCE: Final = 20_000
_MOST_NAMED: Final = 4
# So many rows of the target are asked which fields a writer left in them.
_LOOKED_AT: Final = 4096
WRITERS_FIELDS: Final = frozenset({*_TIME_FIELDS, *_SEQUENCE_FIELDS, *_PLAIN_FIELDS})


@dataclass
class Writes:
    """By running source row: `sequence` float64 (NaN unknown), `time` int64 (ns, UTC; the smallest int64 unknown), `line` int64
    (order in its log, -1 unknown or told of in several logs), `log` int32 (the number of that log, -1 as `line`), and `fields` by
    name for the hot spots."""

    sequence: npt.NDArray[np.float64]
    time: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    log: npt.NDArray[np.int32]
    fields: dict[str, Field] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.sequence).any() or (self.time != _NEVER).any() or (self.line >= 0).any())


_NEVER: Final = np.int64(np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the logs say of writes. Of each text that may be an id: `id_hash`, the number of its `event`, and whether it was
    `listed`; of each event: the number of its `log`, `sequence` and `time` as in `Writes`, and what is `said` as text columns."""

    id_hash: npt.NDArray[np.uint64]
    event: npt.NDArray[np.int64]
    listed: npt.NDArray[np.bool_]
    log: npt.NDArray[np.int32]
    sequence: npt.NDArray[np.float64]
    time: npt.NDArray[np.int64]
    said: Mapping[str, pa.Array]

    @classmethod
    def by(cls, path: Path) -> _Told:
        """Read `logs.jsonl`, some thousand events at a time: of a long log stay some tens of bytes an event."""
        hashes, events, listed = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.bool_)]
        logs, sequence, time = [np.empty(0, np.int32)], [np.empty(0)], [np.empty(0, np.int64)]
        said: dict[str, list[pa.Array]] = {name: [] for name in _SAID}
        count = 0
        for some in _in_portions(_writes_of(path), _AT_ONCE):
            spoken = [
                (count + n, text, one) for n, (_, event) in enumerate(some) for text, one in _named(event)
            ]
            hashes.append(hash_text(arrow.texts(text for _, text, _ in spoken)))
            events.append(np.array([number for number, _, _ in spoken], np.int64))
            listed.append(np.array([one for _, _, one in spoken], np.bool_))
            logs.append(np.array([number for number, _ in some], np.int32))
            sequence.append(_numbers([_as_text(event, "seq") for _, event in some]))
            time.append(_times([_as_text(event, "time") for _, event in some]))
            for name, column in said.items():
                column.append(arrow.texts(_as_text(event, name) for _, event in some))
            count += len(some)
        return cls(
            np.concatenate(hashes),
            np.concatenate(events),
            np.concatenate(listed),
            np.concatenate(logs),
            np.concatenate(sequence),
            np.concatenate(time),
            {name: pa.concat_arrays(column) if column else arrow.texts([]) for name, column in said.items()},
        )


_Event = Mapping[str, Any]


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


def _named(event: _Event) -> Iterator[tuple[str, bool]]:
    """The texts that may be the id of what an event wrote, the likeliest first, and whether it lists them."""
    listed = event.get("listed_ids")
    if listed:
        yield from ((text, True) for text in listed)
        return
    vector_id = event.get("vector_id")
    one = (*event.get("words", ()), *event.get("record_ids", ())[:_MOST_NAMED], vector_id)
    yield from ((text, False) for text in one if text is not None)


def _as_text(event: _Event, name: str) -> str | None:
    value = event.get("time") if name == "time" else event.get("fields", {}).get(name)
    return None if value is None else str(value)


def place_writes(
    evidence: Path, all_sides: Mapping[str, Sides], strays: Mapping[str, Index] | None = None
) -> dict[str, Writes]:
    """What is known of each record's first write, by collection. With `strays`, the rows of each target that stand under no
    record's id, it is what is known of each row of the target instead."""
    asked = {name: sides.source if strays is None else sides.target for name, sides in all_sides.items()}
    placed = {name: _empty(side.rows) for name, side in asked.items()}
    told = _Told.by(evidence / "logs.jsonl")
    if len(told.event):
        _from_log(told, asked, placed)
    for name, sides in all_sides.items():
        _from_metadata(sides, placed[name], None if strays is None else strays[name])
    return placed


def _empty(rows: int) -> Writes:
    """Nothing known of any row: four values that look like columns, so that most collections pay no memory for them."""
    return Writes(
        np.broadcast_to(np.float64(np.nan), rows),
        np.broadcast_to(_NEVER, rows),
        np.broadcast_to(np.int64(-1), rows),
        np.broadcast_to(np.int32(-1), rows),
    )


def _from_log(told: _Told, all_sides: Mapping[str, Side], placed: dict[str, Writes]) -> None:
    ids, spoken = np.unique(told.id_hash, return_inverse=True)
    rows = {name: _rows_of(side, ids) for name, side in all_sides.items()}
    collection = told.said["collection"].take(arrow.numbers(told.event))
    known = {}
    for name, (_, id_number) in rows.items():
        there = np.zeros(len(ids), np.bool_)
        there[id_number] = True
        in_store = all_sides[name].evidence.collection(name).facts.get("target_collection", name)
        meant = pc.is_in(collection, arrow.texts([name, str(in_store)]))
        known[name] = there[spoken] & (arrow.flags(meant) | ~arrow.present(collection))
    good = np.flatnonzero(sum(mine.astype(np.int8) for mine in known.values()) == 1)
    # Of each event everything that it lists, or the first.
    again = (
        np.r_[False, told.event[good][1:] == told.event[good][:-1]] if len(good) else np.empty(0, np.bool_)
    )
    good = good[~again | told.listed[good]]
    for name, (row, id_number) in rows.items():
        mine = good[known[name][good]]
        if not len(mine):
            continue
        first = _FirstWrites.of(told, spoken[mine], told.event[mine])
        place = np.minimum(np.searchsorted(first.id_number, id_number), len(first.id_number) - 1)
        told_of = first.id_number[place] == id_number
        _fill_in(placed[name], told, first, row[told_of], place[told_of])


@dataclass(frozen=True, slots=True)
class _FirstWrites:
    """By id, ascending: its number, the `event` that tells of its first write, and the rest as in `Writes`."""

    id_number: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.float64]
    time: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    log: npt.NDArray[np.int32]

    @classmethod
    def of(cls, told: _Told, id_number: npt.NDArray[np.int64], event: npt.NDArray[np.int64]) -> _FirstWrites:
        order = np.argsort(id_number, kind="stable")
        id_number, event = id_number[order], event[order]
        begins = np.flatnonzero(np.r_[True, id_number[1:] != id_number[:-1]])
        group = np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, len(event)]))
        # What is unknown is the least of all, so that one write of which it is unknown leaves it unknown of the first.
        sequence = np.minimum.reduceat(told.sequence[event], begins)
        time = np.minimum.reduceat(told.time[event], begins)
        log = np.minimum.reduceat(told.log[event], begins)
        one_log = log == np.maximum.reduceat(told.log[event], begins)
        by_number = np.where(np.isnan(sequence)[group], 0.0, told.sequence[event])
        by_time = np.where((time == _NEVER)[group], 0, told.time[event])
        first = event[np.lexsort((event, by_time, by_number, group))[begins]]
        return cls(
            id_number[begins],
            first,
            sequence,
            time,
            np.where(one_log, first, -1),
            np.where(one_log, log, np.int32(-1)),
        )


def _fill_in(
    writes: Writes, told: _Told, first: _FirstWrites, row: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
) -> None:
    """Enter what the log says of running rows `row`, each by the place of its id in `first`."""
    for name in ("sequence", "time", "line", "log"):
        column = getattr(writes, name).copy()
        column[row] = getattr(first, name)[place]
        setattr(writes, name, column)
    for key in (*_PLAIN_FIELDS, "time"):
        said = told.said[key].take(arrow.numbers(first.event[place]))
        if said.null_count < len(row):
            writes.fields["written_at" if key == "time" else key] = _field(row, said, len(writes.line))


def _rows_of(side: Side, ids: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The running rows whose id hashes are among `ids`, which ascend, and the place of each one's there."""
    rows, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for bucket in range(side.buckets):
        held = side.column("id_hash", bucket)
        place = np.minimum(np.searchsorted(ids, held), len(ids) - 1)
        there = np.flatnonzero(ids[place] == held)
        rows.append(side.number(bucket, there))
        places.append(place[there])
    return np.concatenate(rows), np.concatenate(places)


def _times(values: list[Any]) -> npt.NDArray[np.int64]:
    """ISO 8601, without a zone as UTC, or a number of seconds, milli-, micro- or nanoseconds since 1970, all as nanoseconds;
    what is no time is unknown."""
    column = arrow.texts(value if isinstance(value, str) else None for value in values)
    zoned = arrow.flags(pc.match_substring_regex(column, _ZONE))
    moments = np.full(len(values), _NEVER)
    for rows, kind in (
        (np.flatnonzero(zoned), pa.timestamp("ns", "UTC")),
        (np.flatnonzero(~zoned), pa.timestamp("ns")),
    ):
        part = column.take(arrow.numbers(rows))
        try:
            moments[rows] = arrow.as_numpy(part.cast(kind).cast(pa.int64()), _NEVER)
        except pa.ArrowInvalid:
            moments[rows] = [_moment(text, kind) for text in part]
    for number, value in enumerate(values):
        if type(value) in (int, float):
            moments[number] = _since_1970(value)
    return moments


def _since_1970(value: float) -> int:
    """A number as nanoseconds, its unit by its size: each covers the years 2001 to 2096 and none another."""
    for unit in (10**9, 10**6, 10**3, 1):
        if 10**18 <= value * unit < 4 * 10**18:
            return value * unit if isinstance(value, int) else int(value * 10**6) * unit // 10**6
    return int(_NEVER)


def _moment(text: pa.StringScalar, kind: pa.TimestampType) -> int:
    try:
        read = text.cast(kind)
    except pa.ArrowInvalid:
        return int(_NEVER)
    return int(read.value) if read.is_valid else int(_NEVER)


def _numbers(values: list[Any]) -> npt.NDArray[np.float64]:
    parsed = np.full(len(values), np.nan)
    for number, value in enumerate(values):
        if value is None:
            continue
        try:
            parsed[number] = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return parsed


def _field(at: npt.NDArray[np.int64], values: pa.Array, rows: int) -> Field:
    """Values of the running rows `at`; sorted, so that the number of buckets leaves no trace."""
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary.take(pc.sort_indices(encoded.dictionary))
    place = arrow.as_numpy(pc.index_in(encoded.dictionary, distinct)).astype(np.int32)
    codes = np.full(rows, -1, np.int32)
    codes[at] = np.append(place, np.int32(-1))[arrow.as_numpy(encoded.indices, -1)]
    return Field(codes, distinct)


def _from_metadata(sides: Sides, writes: Writes, strays: Index | None) -> None:
    """Fields that the writer left in the target's metadata; `strays` as in `place_writes`."""
    count = (sides.source if strays is None else sides.target).rows
    ours = set(sides.frozen.metadata)
    wanted = [name for name in (*_SEQUENCE_FIELDS, *_TIME_FIELDS, *_PLAIN_FIELDS) if name not in ours]
    sample = "\n".join(filter(None, _some_metadata(sides.target, strays)))
    seen = [name for name in wanted if f'"{name}"' in sample]
    if not seen:
        return
    parts: dict[str, list[_Part]] = {name: [] for name in seen}
    for bucket in range(sides.target.buckets):
        table = sides.target.table(bucket)
        columns = metadata_columns(table["metadata"])
        if strays is None:
            rows, own = sides.records(bucket), sides.standing(bucket).own
        else:
            rows = sides.target.number(bucket, np.arange(table.num_rows))
            own = np.ones(table.num_rows, np.bool_)
        for name in seen:
            if name in columns:
                parts[name].append(_Part.of(rows, own, columns[name]))
    for name in seen:
        if name in _SEQUENCE_FIELDS:
            found = _smallest(parts[name], _numbers, count, np.float64(np.nan))
            writes.sequence = np.where(np.isnan(writes.sequence), found, writes.sequence)
        elif name in _TIME_FIELDS:
            times = _smallest(parts[name], _times, count, _NEVER)
            writes.time = np.where(writes.time == _NEVER, times, writes.time)
            _fill(writes.fields, "written_at", _as_field(parts[name], count))
        else:
            _fill(writes.fields, name, _as_field(parts[name], count))


def _some_metadata(target: Side, strays: Index | None) -> list[str | None]:
    """The metadata of some target rows of each bucket, evenly spread, and of some of the strays, if there are any: the names of
    the fields there say whether all rows are worth reading."""
    texts: list[str | None] = []
    most = max(_LOOKED_AT // target.buckets, 16)
    for bucket in range(target.buckets):
        held = target.table(bucket)["metadata"]
        texts += held.take(arrow.numbers(np.arange(0, len(held), max(len(held) // most, 1)))).to_pylist()
    if strays is not None:
        texts += target.text("metadata", strays[:: max(len(strays) // _LOOKED_AT, 1)])
    return texts


def _fill(fields: dict[str, Field], name: str, more: Field) -> None:
    """Add a field; where one of that name is known already (the log's), only the rows that have no value there."""
    known = fields.get(name)
    if known is None:
        fields[name] = more
        return
    values = pa.concat_arrays(
        [known.values.cast(pa.string()), more.values.cast(pa.string())]
    ).dictionary_encode()
    place = np.append(arrow.as_numpy(values.indices), -1).astype(np.int32)
    theirs = np.where(more.codes >= 0, more.codes + len(known.values), -1)
    fields[name] = Field(place[np.where(known.codes >= 0, known.codes, theirs)], values.dictionary)


@dataclass(frozen=True, slots=True)
class _Part:
    """One field of one bucket. Of each target row that stands for one of the rows asked for: which (`rows`), whether it is that
    one's `own` and no further one, and the number of its value among `values`, -1 where it has none."""

    rows: npt.NDArray[np.int64]
    own: npt.NDArray[np.bool_]
    codes: npt.NDArray[np.int64]
    values: list[Any]

    @classmethod
    def of(cls, rows: npt.NDArray[np.int64], own: npt.NDArray[np.bool_], column: pa.Array) -> _Part:
        distinct = arrow.encoded(column)
        codes = arrow.as_numpy(distinct.indices, -1).astype(np.int64)
        kept = rows >= 0
        return cls(rows[kept], own[kept], codes[kept], loaded(distinct.dictionary))


def _smallest(
    parts: list[_Part], read: Callable[[list[Any]], npt.NDArray[Any]], rows: int, unknown: Any
) -> Any:
    """What `read` makes of each value, by row; of several the smallest, and that is what is unknown."""
    found = np.full(rows, unknown)
    for part in parts:
        values = np.append(read(part.values), unknown)[part.codes]
        found[part.rows[part.own]] = values[part.own]
        np.minimum.at(found, part.rows[~part.own], values[~part.own])
    return found


def _as_field(parts: list[_Part], rows: int) -> Field:
    """The values of the rows themselves as text, those of all buckets numbered through."""
    texts = [[str(value) for value in part.values] for part in parts]
    distinct = arrow.texts(sorted(set().union(*texts)))
    place = {text: number for number, text in enumerate(distinct.to_pylist())}
    codes = np.full(rows, -1, np.int32)
    for part, spelt in zip(parts, texts, strict=True):
        numbers = np.array([*(place[text] for text in spelt), -1], np.int32)
        codes[part.rows[part.own]] = numbers[part.codes[part.own]]
    return Field(codes, distinct)
