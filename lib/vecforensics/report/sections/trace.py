"""The diagnostic trace: the log line that was seen, its stack, and the smallest run that does the same, as swim lanes."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Block,
    Bullets,
    Code,
    Column,
    Drawing,
    Listing,
    Paragraph,
    Section,
    Subheading,
    Table,
)  # fmt: skip
from vecforensics.report.crash import crash_of
from vecforensics.report.drawings import clean_svg
from vecforensics.report.facts import Facts
from vecforensics.report.sections.absence import absence
from vecforensics.report.sections.pictures import pictures
from vecforensics.report.wording import count, plural, utc

__all__ = ["trace"]

_MOST_STEPS = 40


def trace(account: Account) -> Section:
    """What was seen, and what it looks like in the laboratory."""
    return Section("trace", "Diagnostic trace", (*_log(account), *_witness(account)))


def _log(account: Account) -> Iterator[Block]:
    yield Subheading("What the log says")
    logs, event = account.logs, account.logs.telling
    if not logs.events:
        named = account.case.logs
        yield Paragraph.of(
            "The case names no log." if not named else "No event was found in the logs that the case names."
        )
        return
    event = event or logs.ending
    if not event:
        yield Paragraph.of(
            f"The logs hold {plural(logs.events, 'event')}, none of them an error or a warning."
        )
        return
    same = sum(shape.count for shape in logs.shapes if shape.level == event.text("level"))
    place = f"{event.text('file', 'log')}:{event.count('line_number')}"
    when = f", {utc(event.text('time'))} UTC" if event.text("time") else ""
    yield Listing(
        "\n".join(
            [f"{event.text('level').upper()}: {event.text('message')}", *map(_frame, event.each("stack"))]
        ),
        title=f"{place}{when}",
    )
    crash = crash_of(account)
    ends = (
        (
            " The logs end with ",
            Code(crash.error, 160),
            f" at {crash.place}, which nothing caught; see the root cause.",
        )
        if crash is not None and crash.event.values != event.values
        else ()
    )
    yield Paragraph.of(
        f"One of {plural(same, 'event')} of level {event.text('level')} among {plural(logs.events, 'event')} in the logs.",
        *ends,
    )


def _frame(frame: Facts) -> str:
    place = ":".join([frame.text("file"), *(count(n).replace(",", "") for n in _place(frame))])
    return f"    at {frame.text('function')} ({place})" if frame.text("function") else f"    at {place}"


def _place(frame: Facts) -> list[int]:
    return [number for number in (frame.count("line"), frame.count("column")) if number]


def _witness(account: Account) -> Iterator[Block]:
    yield Subheading("The smallest run that does the same")
    if not account.exploration:
        yield absence(account, account.exploration)
        return
    witness = account.witness
    if not witness:
        yield Paragraph.of(
            "No failing order of events was found, so there is no witness to show; see the limits below."
        )
        return
    records, of = len(witness.each("records")), witness.count("original_records")
    yield Paragraph.of(
        f"{plural(records, 'record')}" + (f" of {count(of)}" if of else "") + " and "
        f"{plural(len(witness.each('constraints')), 'condition')} on the order of events are enough. It fails whenever:"
    )
    yield Bullets(tuple((Code(item.text("text"), 160),) for item in witness.each("constraints")))
    svg = clean_svg(account.swimlanes) if account.swimlanes else None
    if svg is not None:
        shown = (
            "The failing run beside one that does not fail."
            if witness.facts("passing")
            else "The failing run; no order of events was found in which these records do not fail."
        )
        yield Drawing(
            "race/swimlanes.svg",
            svg,
            f"Swim lanes. {shown} The same events stand in race/witness.json.",
            f"{shown} Drawn from a replay in virtual time: the order is what matters.",
        )
    else:
        yield _steps(witness)
    yield from pictures(account, "trace")
    if witness.text("replay"):
        yield Paragraph.of("Replays with the string ", Code(witness.text("replay"), 200), ".")


def _steps(witness: Facts) -> Table:
    """The witness's events as a table, where there is no drawing of them."""
    run = witness.facts("trace")
    labels = {op.text("id"): op.text("label") for op in run.each("operations")}
    events = [event for event in run.each("events") if event.text("kind") not in ("begin", "task-start")]
    rows = tuple(
        (
            count(number),
            event.text("kind").replace("-", " "),
            (Code(labels.get(event.text("operation")) or event.text("text") or event.text("task") or "–"),),
        )
        for number, event in enumerate(events[:_MOST_STEPS], 1)
    )
    left = f" (first {_MOST_STEPS} of {len(events)})" if len(events) > _MOST_STEPS else ""
    return Table(
        f"The failing run, step by step{left}",
        (Column("Step", Align.RIGHT), Column("Event"), Column("Of")),
        rows,
    )
