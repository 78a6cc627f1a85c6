"""What went wrong with a run, in clauses: one for each trouble and each kind of finding, records named."""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.findings import MEANING, Kind
from vecforensics.race.model import Damage, Moment, Outcome
from vecforensics.race.views.words import Names, clip, listed

__all__ = ["clauses"]


def clauses(outcome: Outcome, names: Names) -> list[str]:
    """One clause for each kind, at least one."""
    said: list[str] = []
    if outcome.deadlock:
        said.append("the migration waits for ever")
    if outcome.crashed and not outcome.tolerated:
        said.append(f"the run ends with {clip(outcome.crashed, 80)}")
    for kind in Kind:
        mine = [item for item in outcome.damage if item.kind is kind]
        if mine:
            said.append(_damage(kind, mine, names))
    if outcome.lost:
        said.append(f"an error reaches nobody ({clip(outcome.lost[0].error, 60)})")
    if outcome.left_behind:
        n = len(outcome.left_behind)
        said.append(f"{n} task{'s are' if n > 1 else ' is'} left running when the function has returned")
    if outcome.never_awaited:
        said.append(
            f"{listed([clip(name, 40) for name in outcome.never_awaited])} was made and never awaited"
        )
    return said or ["the run differs from what it should be"]


def _damage(kind: Kind, mine: Sequence[Damage], names: Names) -> str:
    item, many = mine[0], len(mine) > 1
    who = listed([names.thing(one.record_id or one.target_id or "") for one in mine])
    are, have = ("are", "hold") if many else ("is", "holds")
    partners = {one.partner_id for one in mine}
    partner = names.thing(item.partner_id) if len(partners) == 1 and item.partner_id else ""
    match kind:
        case Kind.MISSING:
            late = all(one.moment is Moment.RETURN for one in mine)
            stay = ", and would stay so if the process ended there"
            return f"{who} {are} missing" + (f" when the function has returned{stay}" if late else "")
        case Kind.PREMATURE:
            before = f"{partner} does" if partner else "what they depend on" if many else "what it depends on"
            return f"{who} {'stand' if many else 'stands'} in the target before {before} (premature)"
        case Kind.DANGLING:
            on = f"{partner}, which is" if partner else "records that are"
            return f"{who} {'depend' if many else 'depends'} on {on} not in the target (dangling)"
        case Kind.SWAPPED if len(mine) == 2 and partners == {one.record_id for one in mine}:
            return f"{who} hold each other's vectors (swapped)"
        case Kind.SWAPPED | Kind.BROADCAST | Kind.SHIFTED:
            whose = (
                f"the vector of {partner}"
                if partner
                else "other records' vectors"
                if many
                else "another's vector"
            )
            return f"{who} {have} {whose} ({kind.value})"
        case Kind.STALE:
            return f"{who} {have} the vector of an earlier version (stale)"
        case Kind.METADATA_DRIFT:
            return f"{who} {'have' if many else 'has'} other metadata than the source (metadata_drift)"
        case Kind.DUPLICATE if item.target_id is not None:
            return f"{who} {are} in the target twice, also as {clip(item.target_id, 28)!r} (duplicate)"
        case Kind.MANGLED_ID if item.target_id is not None:
            known = who if item.record_id is not None else "a record"
            return f"{known} {are} in the target as {clip(item.target_id, 28)!r} (mangled_id)"
        case _:
            return f"{who}: {MEANING[kind]} ({kind.value})"
