"""The time line in UTC: from the logs, from the journal of this run, from the ledger. Nothing else has a time."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.report.account import Account, StageState
from vecforensics.report.blocks import Block, Code, Inline, Moment, Paragraph, Section, State, Timeline
from vecforensics.report.events import Shape
from vecforensics.report.facts import Facts
from vecforensics.report.headline import progress_of_repair, progress_of_roll_back
from vecforensics.report.wording import plural, utc

__all__ = ["timeline"]

_MOST_SHAPES = 14
_STAGES = {
    "collect": "evidence frozen",
    "diff": "vectors compared",
    "reproduce": "migration code explored",
    "migrate": "corrected migration",
}
# One stage, several acts.
_MODES = {"plan": " planned", "rollback": " rolled back"}


def timeline(account: Account) -> Section:
    """What happened when, by the sources that carry a time."""
    return Section("timeline", "Timeline (UTC)", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    moments = sorted(
        (*_logged(account), *_journalled(account), *_ledger(account)),
        key=lambda item: (not item.time, item.time),
    )
    if moments:
        yield Timeline("Events by time", tuple(moments))
    else:
        yield Paragraph.of("No source of this run carries a time.")
    dated = [shape for shape in account.logs.shapes if shape.first]
    if account.logs.events and len(dated) > _MOST_SHAPES:
        yield Paragraph.of(
            f"The logs hold {plural(account.logs.events, 'event')} of {plural(len(account.logs.shapes), 'shape')}; "
            f"shown are the {_MOST_SHAPES} that matter most: errors first, then the first and the last."
        )
    if account.logs.events and not dated:
        yield Paragraph.of("The log lines carry no time stamps, so they cannot be placed here.")


def _chosen(shapes: tuple[Shape, ...]) -> list[Shape]:
    dated = [shape for shape in shapes if shape.first]
    edges = {min((s.first for s in dated), default=""), max((s.last for s in dated), default="")}
    ranked = sorted(dated, key=lambda s: (not s.is_error, not ({s.first, s.last} & edges), s.first))
    return ranked[:_MOST_SHAPES]


def _logged(account: Account) -> Iterator[Moment]:
    for shape in _chosen(account.logs.shapes):
        parts: tuple[Inline, ...] = (Code(shape.example.text("message"), 140),)
        if shape.count > 1:
            until = f", the last at {utc(shape.last)}" if shape.last > shape.first else ""
            parts = (*parts, f" and {plural(shape.count - 1, 'more')} alike{until}".replace("mores", "more"))
        if shape.ends:
            parts = (*parts, " – nothing caught it, and the log ends")
        place = f"log {shape.example.text('file')}:{shape.example.count('line_number')}"
        yield Moment(utc(shape.first), place, parts, State.BAD if shape.is_error else State.PLAIN)


def _journalled(account: Account) -> Iterator[Moment]:
    """Each stage when it was done first, since what came later rests on that; what was repeated says so."""
    entries = [
        *account.journal.each("earlier"),
        *(Facts({"stage": n, **f.values}) for n, f in account.stages.items()),
    ]
    for stage, what in _STAGES.items():
        times = sorted((e for e in entries if e.text("stage") == stage), key=lambda e: e.text("began"))
        by_mode: dict[str, list[Facts]] = {}
        for entry in times:
            by_mode.setdefault(_MODES.get(entry.facts("parameters").text("mode"), ""), []).append(entry)
        for more, alike in by_mode.items():
            yield from _of_one_stage(what + more, alike)


def _of_one_stage(what: str, entries: list[Facts]) -> Iterator[Moment]:
    done = [utc(entry.text("ended")) for entry in entries if entry.text("status") == StageState.DONE]
    if done:
        again = (
            f"; again at {done[-1]}"
            if len(done) == 2
            else f"; again {len(done) - 1} times, the last at {done[-1]}"
        )
        yield Moment(done[0], "this run", (what + (again if len(done) > 1 else ""),))
    last = entries[-1]
    time = utc(last.text("ended") or last.text("began"))
    if last.text("status") == StageState.FAILED:
        yield Moment(time, "this run", (f"{what}: failed – ", Code(last.text("error"), 200)), State.BAD)
    elif last.text("status") == StageState.RUNNING:
        yield Moment(time, "this run", (f"{what}: began, never ended",), State.UNKNOWN)


def _ledger(account: Account) -> Iterator[Moment]:
    ledger = account.ledger
    if ledger is None:
        return
    if ledger.first:
        yield Moment(utc(ledger.first), "ledger", ("first entry of the repair's ledger",))
    if ledger.last and ledger.last != ledger.first:
        bad = ledger.quarantined or ledger.broke_off or ledger.roll_back_broke_off
        state = State.BAD if bad else State.GOOD if ledger.applied else State.PLAIN
        back = ledger.rolling_back or ledger.rolled_back
        told = progress_of_roll_back(ledger) if back else progress_of_repair(ledger)
        yield Moment(
            utc(ledger.last),
            "ledger",
            (f"last entry: {told}",),
            state,
        )
