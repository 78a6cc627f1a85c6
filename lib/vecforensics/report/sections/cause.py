"""Root cause and mechanics: the story, what sets it off, why nobody noticed, and whether it explains what was found."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.findings import Kind
from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Block,
    Bullets,
    Code,
    Column,
    Inline,
    Note,
    Paragraph,
    Section,
    Signal,
    State,
    Subheading,
    Table,
    joined,
)  # fmt: skip
from vecforensics.report.explanation import follows, kinds_of_race
from vecforensics.report.facts import Facts
from vecforensics.report.prose import blocks_of_markdown
from vecforensics.report.sections.absence import absence
from vecforensics.report.wording import count, plural, share

__all__ = ["cause"]

_DONE_WORDS = ("complete", "success", "finished", "done", "all users", "migrated")


def cause(account: Account) -> Section:
    """Why it happened, as far as a replayable run shows it."""
    return Section("cause", "Root cause and mechanics", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    if not account.exploration:
        yield absence(account, account.exploration, "The cause is open.")
        return
    if account.race_verdict != "failing":
        yield Note(
            (
                "No failing order of events ",
                "exists at the size examined"
                if account.race_verdict == "proved"
                else "was found among those tried",
                ": a race in this code is not what the laboratory can show. The cause is open.",
            ),
            State.UNKNOWN,
        )
        return
    yield from blocks_of_markdown(account.story) if account.story else _told(account)
    yield Subheading("What sets it off")
    yield Bullets(tuple(_triggers(account.witness)))
    yield Subheading("Why it was not noticed")
    reasons = tuple(_silence(account))
    yield Bullets(reasons) if reasons else Paragraph.of("The files of this run do not say.")
    yield Subheading("What this race produces, and what the target shows")
    yield _explains(account)


def _told(account: Account) -> Iterator[Paragraph]:
    """The cause in one sentence, where the race stage left no prose."""
    conditions = [Code(item.text("text"), 160) for item in account.witness.each("constraints")]
    suspect = account.exploration.facts.text("suspect", "the suspect")
    yield Paragraph.of(
        Code(suspect, 160),
        " leaves the order of its operations to chance; it fails with: ",
        *joined(conditions),
        ".",
    )


def _triggers(witness: Facts) -> Iterator[tuple[Inline, ...]]:
    operations = {op.text("id"): op for op in witness.facts("trace").each("operations")}
    for item in witness.each("constraints"):
        source = operations.get(item.text("then"), Facts()).facts("source")
        place: tuple[Inline, ...] = ()
        if source.text("file"):
            name = source.text("file").rsplit("/", 1)[-1]
            place = (" – ", Code(f"{name}:{source.count('lineno')}"), " ", Code(source.text("text"), 120))
        fault = (" – needs the fault ", Code(item.text("fault"))) if item.text("fault") else ()
        yield (Code(item.text("text"), 160), *place, *fault)


def _silence(account: Account) -> Iterator[tuple[Inline, ...]]:
    facts, outcome = account.exploration.facts, account.witness.facts("trace").facts("outcome")
    for tried in facts.facts("certificate").each("passes"):
        if tried.text("strategy") == "fifo" and tried.count("schedules") and not tried.count("failures"):
            yield (
                "In the order in which a fast, idle store answers (first in, first out) nothing fails: "
                "a test against a local store passes every time.",
            )
    left = outcome.texts("left_behind")
    if left:
        yield (
            f"The function returned while {plural(len(left), 'task')} of its own had not ended; its caller took that as done.",
        )
    lost = outcome.each("lost")
    if lost:
        yield (
            f"{plural(len(lost), 'error')} reached nobody: ",
            *joined([Code(item.text("error"), 120) for item in lost[:3]]),
            ".",
        )
    for shape in account.logs.shapes:
        message = shape.example.text("message")
        if shape.level in ("info", "notice") and any(word in message.casefold() for word in _DONE_WORDS[:4]):
            yield (
                "The log reports an end as if all were well: ",
                Code(message, 160),
                f" ({plural(shape.count, 'time')}).",
            )
            break
    for name, found in account.collections.items():
        source, target = found.count("source_rows"), found.count("target_rows")
        if found.count("rows_corrupt") and source and abs(source - target) < found.count("rows_corrupt"):
            yield (
                Code(name, 40),
                f" holds {plural(target, 'vector')} for {plural(source, 'record')}: a comparison of counts sees "
                f"{plural(abs(source - target), 'row')} amiss, where {count(found.count('rows_corrupt'))} are corrupt.",
            )


def _explains(account: Account) -> Table:
    shown = kinds_of_race(account)
    names = [kind.value for kind in Kind if kind.value in shown or kind in account.corrupt_kinds]
    schedules = account.exploration.facts.facts("certificate").count("schedules")
    rows = []
    for name in names:
        found, in_target, in_race = account.count(Kind(name)), account.caused(Kind(name)), shown.get(name, 0)
        because = follows(Kind(name), shown)
        says = (
            Signal("explained", State.GOOD)
            if in_target and in_race
            else Signal(f"follows from {because[0].value}", State.GOOD)
            if in_target and because
            else Signal("not explained", State.BAD)
            if in_target
            else Signal("broken in the source" if found else "not in the target", State.PLAIN)
        )
        rows.append(((Code(name),), count(in_race), share(in_race, schedules), count(found), (says,)))
    return Table(
        f"Kinds of damage in {plural(schedules, 'schedule')} of the suspect, beside those in the target",
        (
            Column("Kind"),
            Column("Schedules", Align.RIGHT),
            Column("Share", Align.RIGHT),
            Column("Found in target", Align.RIGHT),
            Column("Race and target"),
        ),
        tuple(rows),
    )
