"""Root cause and mechanics: what ended the process, what the code does, why nobody noticed, and how much it explains."""

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
    Listing,
    Note,
    Paragraph,
    Section,
    Signal,
    State,
    Subheading,
    Table,
    joined,
)  # fmt: skip
from vecforensics.report.crash import Crash, crash_of
from vecforensics.report.explanation import (
    explained,
    follows,
    kinds_of_race,
    left_to_explain,
    unexplained,
    unrehearsed,
)
from vecforensics.report.facts import Facts
from vecforensics.report.prose import blocks_of_markdown
from vecforensics.report.sections.absence import absence
from vecforensics.report.wording import count, plural, share, utc

__all__ = ["cause"]

_DONE_WORDS = ("complete", "success", "finished", "done")
# A comparison of counts that sees more of the damage than this would have been a reason to look.
_HARDLY_ANY = 0.1


def cause(account: Account) -> Section:
    """Why it happened, as far as a replayable run shows it."""
    return Section("cause", "Root cause and mechanics", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    crash = crash_of(account)
    if crash is not None:
        if crash.missing:
            yield _shares(account, crash)
        yield Subheading("The error that ended the process")
        yield from _ended(account, crash)
        yield Subheading("What the code does")
    yield from _race(account, "The cause of the rest" if crash is not None and crash.missing else "The cause")


def _shares(account: Account, crash: Crash) -> Table:
    """How many findings each cause accounts for."""
    known = explained(account) if account.race_verdict == "failing" else ()
    rest = tuple(kind for kind in (*explained(account), *unexplained(account)) if kind not in known)
    suspect = account.exploration.facts.text("suspect").rsplit("/", 1)[-1]
    parts: list[tuple[tuple[Inline, ...], Kind, int]] = [
        (("the process died: ", Code(crash.error, 80)), Kind.MISSING, crash.missing),
        *((("the race in ", Code(suspect, 80)), kind, left_to_explain(account, kind)) for kind in known),
        *((("not explained",), kind, left_to_explain(account, kind)) for kind in rest),
    ]
    whole = sum(number for _, _, number in parts)
    return Table(
        "What each cause accounts for",
        (
            Column("Cause"),
            Column("Kind"),
            Column("Findings", Align.RIGHT),
            Column("Share of all", Align.RIGHT),
        ),
        tuple(
            (what, (Code(kind.value),), count(number), share(number, whole)) for what, kind, number in parts
        ),
    )


def _ended(account: Account, crash: Crash) -> Iterator[Block]:
    """What the log ends with, and what was not reached because of it."""
    when = f", {utc(crash.event.text('time'))} UTC" if crash.event.text("time") else ""
    yield Listing(crash.error[:2_000], title=f"{crash.place}{when}")
    says = (
        "The log ends with this line: what the runtime prints of an error that nothing caught. The process died of it, and what "
        "was under way was lost."
    )
    if crash.refused:
        says += (
            " It is a refusal, since the provider had more requests than it allows; it came through to the runtime instead of "
            "being waited out and repeated."
        )
    yield Paragraph.of(says)
    if crash.missing:
        every = account.caused(Kind.MISSING)
        there = f"{plural(crash.of, 'row')} there ({crash.where})"
        gone = f"of {there} {count(crash.missing)}" if crash.missing < crash.of else f"all {there}"
        yield Paragraph.of(
            f"The process had not come to the end of the source: {gone} are missing. That is {share(crash.missing, every)} of "
            f"the {plural(every, 'missing row')}."
        )
    else:
        yield Paragraph.of(
            "The source does not end with a run of missing rows, so none is put down to it by its place."
        )
    yield from _rehearsed_crashes(account)


def _rehearsed_crashes(account: Account) -> Iterator[Paragraph]:
    """What a crash costs in the rehearsals, where some of them crash and others do not."""
    fell: list[float] = []
    lived: list[float] = []
    for run in account.rehearsal.facts.each("runs"):
        if run.text("side") == "before" and run.count("records"):
            (fell if run.flag("crashed") else lived).append(run.count("wrong") / run.count("records"))
    if fell and lived:
        yield Paragraph.of(
            f"The rehearsals (section 5) show both: in {count(len(fell))} of {plural(len(fell) + len(lived), 'run')} the process "
            f"dies, and {share(sum(fell) / len(fell))} of the records are wrong; in the others {share(sum(lived) / len(lived))}."
        )


def _race(account: Account, what: str) -> Iterator[Block]:
    if not account.exploration:
        yield absence(account, account.exploration, f"{what} is open.")
        return
    if account.race_verdict != "failing":
        yield Note(
            (
                "No failing order of events ",
                "exists at the size examined"
                if account.race_verdict == "proved"
                else "was found among those tried",
                f": a race in this code is not what the laboratory can show. {what} is open.",
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
    crash = crash_of(account)
    if crash is not None and crash.event.text("level", "info") == "info":
        others = sum(shape.count for shape in account.logs.shapes if shape.is_error and not shape.ends)
        yield (
            "The line of the error that ended the process bears no level: a search of the log for errors finds "
            + (f"{count(others)} others and not this one." if others else "nothing."),
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
        if shape.level in ("info", "notice") and any(word in message.casefold() for word in _DONE_WORDS):
            yield (
                "The log reports an end as if all were well: ",
                Code(message, 160),
                f" ({plural(shape.count, 'time')}).",
            )
            break
    for name, found in account.collections.items():
        source, target, corrupt = (found.count(key) for key in ("source_rows", "target_rows", "rows_corrupt"))
        if corrupt and source and abs(source - target) <= _HARDLY_ANY * corrupt:
            yield (
                Code(name, 40),
                f" holds {plural(target, 'vector')} for {plural(source, 'record')}: a comparison of counts sees "
                f"{plural(abs(source - target), 'row')} amiss, where {count(corrupt)} are corrupt.",
            )


def _explains(account: Account) -> Table:
    shown, crash = kinds_of_race(account), crash_of(account)
    names = [kind.value for kind in Kind if kind.value in shown or kind in account.corrupt_kinds]
    schedules = account.exploration.facts.facts("certificate").count("schedules")
    sure = Signal("likely", State.UNKNOWN) if unrehearsed(account) else Signal("explained", State.GOOD)
    not_reached = crash.missing if crash is not None else 0
    rows = []
    for name in names:
        found, in_target, in_race = (
            account.count(Kind(name)),
            left_to_explain(account, Kind(name)),
            shown.get(name, 0),
        )
        because = follows(Kind(name), shown)
        says = (
            sure
            if in_target and in_race
            else Signal(f"follows from {because[0].value}", State.GOOD)
            if in_target and because
            else Signal("not explained", State.BAD)
            if in_target
            else Signal(
                "the crash"
                if account.caused(Kind(name))
                else "broken in the source"
                if found
                else "not in the target",
                State.PLAIN,
            )
        )
        lost = (count(not_reached) if name == Kind.MISSING.value else "–",) if not_reached else ()
        rows.append(((Code(name),), count(in_race), share(in_race, schedules), count(found), *lost, (says,)))
    return Table(
        f"Kinds of damage in {plural(schedules, 'schedule')} of the suspect, beside those in the target",
        (
            Column("Kind"),
            Column("Schedules", Align.RIGHT),
            Column("Share", Align.RIGHT),
            Column("Found in target", Align.RIGHT),
            *((Column("Of these not reached", Align.RIGHT),) if not_reached else ()),
            Column("The others" if not_reached else "Race and target"),
        ),
        tuple(rows),
    )
