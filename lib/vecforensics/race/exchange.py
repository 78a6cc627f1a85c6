"""Explorations as JSON, and schedules as one line of text.

The JSON is a plain image of the data model: one object a dataclass, field names as they are, keys sorted. It can be read back,
so that a view or a report needs nothing but the file. The replay string holds what `--replay` needs to play the same schedule
again: how the records are made, which of them are used, granularity, faults, and the choices that differ from first in, first
out, run-length coded:

    vf1:100:0:36:quiet:-:0*12.3.0*5.1
    │   │   │ │  │     │ └ choices (index of what completes next; trailing noughts left out)
    │   │   │ │  │     └ faults, "operation=variant" joined by commas, or -
    │   │   │ │  └ granularity
    │   │   │ └ positions of the records that are used, or all
    │   │   └ seed
    │   └ number of generated records (with v: earlier versions too), or g and a digest where they were given
    └ format
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from vecforensics.errors import SuspectError
from vecforensics.race.model import Exploration, Outcome
from vecforensics.records import Record, canonical_json

__all__ = [
    "ReplayString",
    "digest_of_records",
    "exploration_from_json",
    "exploration_to_json",
    "parse_replay",
    "records_from_plain",
    "to_plain",
]


def exploration_to_json(exploration: Exploration) -> str:
    """Sorted keys, two spaces, a line feed at the end."""
    return (
        json.dumps(to_plain(exploration), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        + "\n"
    )


def to_plain(value: Any) -> Any:
    """A dataclass of the model as dicts, lists, text and numbers. Outcome and exploration carry their derived kinds too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Outcome | Exploration):
            plain["kinds"] = list(value.kinds)
        return plain
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return json.loads(canonical_json(value))
    return str(value)


def exploration_from_json(text: str, where: str = "witness.json") -> Exploration:
    """The exploration that `to_json` wrote. Raises SuspectError where the text is none."""
    try:
        found = _decode(Exploration, json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise SuspectError(
            f"this is no exploration ({error})", where=where, hint="Make it again: vecforensics race RUN"
        ) from None
    return typing.cast("Exploration", found)


def records_from_plain(plain: Sequence[Any]) -> tuple[Record, ...]:
    """The records that `to_plain` made plain."""
    return tuple(_decode(Record, item) for item in plain)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [item for item in typing.get_args(kind) if item is not type(None)]
        return None if value is None else _decode(inner[0], value)
    if origin is tuple:
        return tuple(_decode(typing.get_args(kind)[0], item) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        key_kind, item_kind = typing.get_args(kind)
        return {_decode(key_kind, key): _decode(item_kind, item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast("type", kind))
        names = [field.name for field in dataclasses.fields(kind)]
        return typing.cast("type", kind)(
            **{name: _decode(hints[name], value[name]) for name in names if name in value}
        )
    if isinstance(kind, type) and issubclass(kind, StrEnum | int | float) and not isinstance(value, bool):
        return kind(value)
    return value


def digest_of_records(records: Sequence[Record]) -> str:
    """Eight hexadecimal digits that tell one list of given records from another."""
    lines = [canonical_json(to_plain(record)) for record in records]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayString:
    """What one line of `--replay` says. `keep`: positions of the records used, None for all."""

    origin: str
    seed: int
    keep: tuple[int, ...] | None
    granularity: str
    plan: Mapping[str, str]
    choices: tuple[int, ...]

    def __str__(self) -> str:
        keep = "all" if self.keep is None else ".".join(map(str, self.keep))
        faults = ",".join(f"{operation}={variant}" for operation, variant in sorted(self.plan.items())) or "-"
        return f"vf1:{self.origin}:{self.seed}:{keep}:{self.granularity}:{faults}:{_pack(self.choices)}"

    @property
    def generated(self) -> tuple[int, bool] | None:
        """(count, with earlier versions) of generated records; None where they were given."""
        return (
            (int(self.origin.rstrip("v")), self.origin.endswith("v"))
            if not self.origin.startswith("g")
            else None
        )


def _pack(choices: Sequence[int]) -> str:
    groups: list[list[int]] = []
    last = max((place for place, choice in enumerate(choices) if choice), default=-1)
    for choice in choices[: last + 1]:
        if groups and groups[-1][0] == choice:
            groups[-1][1] += 1
        else:
            groups.append([choice, 1])
    return ".".join(str(choice) if count == 1 else f"{choice}*{count}" for choice, count in groups) or "fifo"


def parse_replay(text: str) -> ReplayString:
    """Raises SuspectError with one line where `text` is no replay string."""
    parts = text.strip().split(":")
    try:
        mark, origin, seed, keep, granularity, faults, choices = parts
        if mark != "vf1" or granularity not in ("quiet", "fine"):
            raise ValueError
        unpacked: list[int] = []
        for group in choices.split(".") if choices != "fifo" else ():
            choice, _, count = group.partition("*")
            times = int(count or 1)
            if times > 1_000_000 or len(unpacked) + times > 10_000_000:
                raise ValueError
            unpacked.extend([int(choice)] * times)
        plan = {}
        for pair in faults.split(",") if faults != "-" else ():
            operation, equals, variant = pair.rpartition("=")
            if not equals:
                raise ValueError
            plan[operation] = variant
        found = ReplayString(
            origin,
            int(seed),
            None if keep == "all" else tuple(int(place) for place in keep.split(".")),
            granularity,
            plan,
            tuple(unpacked),
        )
        _ = found.generated
    except ValueError:
        raise SuspectError(
            "this is no replay string",
            where=f"--replay {text}",
            hint="Copy the whole line that an exploration printed; it begins with vf1:",
        ) from None
    return found
