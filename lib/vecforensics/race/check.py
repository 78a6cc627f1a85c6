"""What is checked in every schedule, and what a failure is called.

When `migrate` returns and again when all is quiet: every record present exactly once under its own id with its own vector and
metadata. Throughout: no write before what it depends on. At the end: no exception lost, no task left behind, no deadlock.
Names are those of the diff (`findings.Kind`), so that damage found in a real store and damage found here can be compared.

What a correct migration may do is no damage: extra metadata fields, no metadata at all, the same row written twice, a vector
normalised or rounded to float16, a text of its own making embedded for a record. A migration that raises because of an injected
fault or a time-out, or by a `raise` of its own after one, has told its caller: then nothing is held against it but what it
wrote wrongly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from vecforensics.errors import SuspectError
from vecforensics.findings import Kind
from vecforensics.race.driver import Session
from vecforensics.race.guard import NoSuchOperation, stray_thread
from vecforensics.race.model import Damage, Moment, Outcome
from vecforensics.race.places import last_place
from vecforensics.race.waiting import waiting
from vecforensics.race.world import DIMENSION, Ground, Slot, World

__all__ = ["damage", "judge", "right"]

_BROADCAST_FROM = 3
_RAISES = re.compile(r"\b(raise|throw|reject)\b")
_ORDER = {kind: place for place, kind in enumerate(Kind)}
_SHIFT_FROM = 3


def right(world: World) -> bool:
    """Whether the target is exactly what it should be. The fast path: thousands of schedules a second pass through here."""
    ground, data = world.ground, world.data
    if len(data) != len(ground.expected):
        return False
    expected, own = ground.expected, ground.metadata
    for key, (raw, _, stored, _) in data.items():
        if raw != expected.get(key):
            return False
        if stored is not None:
            try:
                for name, value in own[key].items():
                    found = stored[name]
                    if found is not value and (type(found) is not type(value) or found != value):
                        return False
            except KeyError:
                return False
    return True


def _same(own: dict[str, Any], stored: Any) -> bool:
    """Whether every field of the record stands in the target unchanged and with its type. Fields of the program's own may be
    there too."""
    for name, value in own.items():
        if name not in stored:
            return False
        found = stored[name]
        if found is not value and (type(found) is not type(value) or found != value):
            return False
    return True


def damage(world: World, moment: Moment) -> list[Damage]:
    """Everything wrong with the target now."""
    ground, data = world.ground, world.data
    found: list[Damage] = []
    for key in ground.expected:
        if key not in data:
            detail = (
                "not there when migrate returned"
                if moment is Moment.RETURN
                else "never written, or gone again"
            )
            found.append(Damage(Kind.MISSING, key, None, None, detail, moment))
    wrong: dict[str, str] = {}
    for key, slot in data.items():
        if key not in ground.expected:
            found.append(_stranger(world, key, slot, moment))
            continue
        content = _content(ground, key, slot, moment)
        if content is not None:
            if content.kind is Kind.SWAPPED:
                wrong[key] = content.partner_id or ""
            else:
                found.append(content)
        if slot[2] is not None and not _same(ground.metadata[key], slot[2]):
            found.append(
                Damage(Kind.METADATA_DRIFT, key, key, None, _drift(ground.metadata[key], slot[2]), moment)
            )
    found.extend(_misplaced(ground, data, wrong, moment))
    if moment is Moment.QUIESCENCE:
        for key, parents in ground.parents.items():
            if key in data:
                found.extend(
                    Damage(
                        Kind.DANGLING,
                        key,
                        key,
                        parent,
                        f"depends on {parent}, which is not in the target",
                        moment,
                    )
                    for parent in parents
                    if parent not in data
                )
    return found


def _stranger(world: World, key: str, slot: Slot, moment: Moment) -> Damage:
    ground = world.ground
    owner = ground.owner.get(slot[0])
    if owner is not None and owner[0] in ground.expected:
        if owner[0] in world.data:
            return Damage(
                Kind.DUPLICATE, owner[0], key, owner[0], f"{owner[0]} stands under {key} too", moment
            )
        return Damage(
            Kind.MANGLED_ID, owner[0], key, owner[0], f"{key} holds the vector of {owner[0]}", moment
        )
    partner = next((name for name in ground.expected if _alike(key, name)), None)
    if partner is not None or key.strip().lower() in {
        "nan",
        "none",
        "null",
        "undefined",
        "",
        "[object object]",
    }:
        return Damage(Kind.MANGLED_ID, partner, key, partner, f"{key!r} is no record's id", moment)
    return Damage(Kind.ORPHAN, None, key, None, f"no record is called {key!r}", moment)


def _alike(key: str, name: str) -> bool:
    """Whether `key` is `name` after a trip through a number, a trim or a change of case."""
    if key.strip().casefold() == name.strip().casefold():
        return True
    try:
        return float(key) == float(name)
    except ValueError:
        return False


def _content(ground: Ground, key: str, slot: Slot, moment: Moment) -> Damage | None:
    raw, well_shaped = slot[0], slot[1]
    if raw == ground.expected[key]:
        return None
    vector = np.frombuffer(raw, dtype=np.float32)
    if not well_shaped:
        return Damage(
            Kind.WRONG_DIMENSION, key, key, None, f"{vector.size} numbers where {DIMENSION} belong", moment
        )
    if not np.isfinite(vector).all():
        return Damage(Kind.NON_FINITE, key, key, None, "NaN or infinity in the vector", moment)
    if not vector.any():
        return Damage(Kind.ZERO, key, key, None, "all zero", moment)
    record = ground.current[key]
    owner = ground.owner.get(raw)
    if owner is not None:
        if owner[0] == key:
            if owner[1] >= record.version:
                return None
            return Damage(
                Kind.STALE, key, key, None, f"the vector of version {owner[1]}, not {record.version}", moment
            )
        if owner[0] in ground.expected:
            return Damage(Kind.SWAPPED, key, key, owner[0], f"holds the vector of {owner[0]}", moment)
        return None  # embedded from a text of the program's own
    want = np.frombuffer(ground.expected[key], dtype=np.float32)
    cosine = float(vector @ want / (np.linalg.norm(vector) * np.linalg.norm(want)))
    if cosine > 0.999:
        return None  # normalised, scaled, or a narrower number format
    if np.isclose(vector, want, rtol=1e-6).sum() >= DIMENSION // 4:
        return Damage(Kind.PARTIAL, key, key, None, "part of the vector is right, the rest is not", moment)
    return Damage(Kind.DRIFTED, key, key, None, f"cosine {cosine:.4f} to the right vector", moment)


def _drift(own: dict[str, Any], stored: Any) -> str:
    for name, value in own.items():
        if name not in stored:
            return f"field {name} is lost"
        if type(stored[name]) is not type(value) or stored[name] != value:
            return f"field {name} is {stored[name]!r}, was {value!r}"
    return ""


def _misplaced(
    ground: Ground, data: dict[str, Slot], wrong: dict[str, str], moment: Moment
) -> Iterator[Damage]:
    """Split vectors of other records into broadcast (one under many ids), shifted (a run of neighbours) and swapped."""
    holders = Counter(slot[0] for key, slot in data.items() if key in ground.expected)
    position = {name: index for index, name in enumerate(ground.expected)}
    shifted = set(_runs(wrong, position))
    for key, partner in wrong.items():
        count = holders[data[key][0]]
        if count >= _BROADCAST_FROM:
            yield Damage(
                Kind.BROADCAST, key, key, partner, f"the vector of {partner} stands under {count} ids", moment
            )
        elif key in shifted:
            offset = position[partner] - position[key]
            yield Damage(
                Kind.SHIFTED, key, key, partner, f"holds the vector of its neighbour at {offset:+d}", moment
            )
        else:
            yield Damage(Kind.SWAPPED, key, key, partner, f"holds the vector of {partner}", moment)


def _runs(wrong: dict[str, str], position: dict[str, int]) -> Iterator[str]:
    """Ids in runs of consecutive records whose vectors come from the same small distance."""
    run: list[str] = []
    last: tuple[int, int] | None = None
    for key in sorted(wrong, key=position.__getitem__):
        here = position[key]
        offset = position[wrong[key]] - here
        if last is None or (here, offset) != (last[0] + 1, last[1]):
            if len(run) >= _SHIFT_FROM:
                yield from run
            run = []
        run.append(key)
        last = (here, offset)
    if len(run) >= _SHIFT_FROM:
        yield from run


def judge(
    world: World,
    session: Session,
    at_return: list[Damage],
    left: tuple[str, ...],
    *,
    deadlock: bool,
    ended: bool,
) -> Outcome:
    """The outcome of a run that is over. `at_return`: damage found when migrate returned; `ended`: all became quiet."""
    found: dict[tuple[Kind, str | None, str | None, str | None], Damage] = {}
    for key, parent, op in world.premature:
        found.setdefault(
            (Kind.PREMATURE, key, key, parent),
            Damage(
                Kind.PREMATURE,
                key,
                op.key,
                parent,
                f"written before {parent}, which it depends on",
                Moment.WRITE,
            ),
        )
    error = session.error
    if isinstance(error, NoSuchOperation):
        place = last_place(error)
        where = f"{place.file}:{place.lineno}" if place is not None else ""
        world.refuse(
            SuspectError(str(error), where=where, hint="Let an adapter of yours make these calls of it")
        )
    stray = stray_thread() if deadlock else None
    if stray is not None:
        world.refuse(stray)
    tolerated = error is not None and _honest(world, session, error)
    unhandled = session.unhandled
    final = damage(world, Moment.QUIESCENCE) if not right(world) else []
    for item in (*final, *at_return):
        found.setdefault((item.kind, item.record_id, item.target_id, item.partner_id), item)
    losses = (Kind.MISSING, Kind.DANGLING)
    harm = [item for item in found.values() if not (tolerated and item.kind in losses)]
    lost = tuple(session.lost_errors()) if not tolerated else ()
    crashed = unhandled if unhandled is not None else error
    return Outcome(
        damage=tuple(sorted(harm, key=lambda item: _ORDER[item.kind])),
        lost=lost,
        left_behind=left if not tolerated else (),
        stuck=tuple(info.path for info in session.stuck()) if deadlock or not ended else (),
        deadlock=deadlock,
        crashed=f"{type(crashed).__name__}: {crashed}" if crashed is not None else "",
        tolerated=tolerated,
        waits=waiting(session) if deadlock and world.log is not None else (),
    )


def _honest(world: World, session: Session, error: BaseException) -> bool:
    """Whether `error` passes on an injected fault or a time-out that the schedule brought about, or is what the program says of
    them itself ("3 of 8 failed"): a line that raises, not one that stumbles."""
    stack, seen = [error], set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if any(item is injected for injected in world.injected):
            return True
        if isinstance(item, TimeoutError) and world.timers_ahead:
            return True
        if isinstance(item, BaseExceptionGroup):
            stack.extend(item.exceptions)
        stack.extend(cause for cause in (item.__cause__, item.__context__) if cause is not None)
    if not world.injected and not world.timers_ahead:
        return False
    script = getattr(session, "script", None)  # JavaScript tells of its lines in the text of a stack
    place = script.innermost(getattr(error, "stack", "")) if script is not None else last_place(error)
    return place is not None and _RAISES.search(place.text) is not None
