"""Broken against verified code: the lines that fail, the lines that replace them, and what was tried on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vecforensics.report.account import Account, Part
from vecforensics.report.blocks import (
    Align,
    Block,
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
)
from vecforensics.report.facts import Facts
from vecforensics.report.sections.absence import absence
from vecforensics.report.wording import count, plural, quoted

__all__ = ["code"]

_WHOLE = 90
_AROUND = 12


def code(account: Account) -> Section:
    """Before and after, side by side with their proof."""
    return Section("code", "Broken against verified code", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    yield Subheading("As it ran")
    suspect = _frozen(account, "suspect", account.case.suspect)
    if suspect is None:
        yield Paragraph.of(
            "The case names no suspect."
            if account.case.suspect is None
            else "The suspect's text is not at hand: ",
            *((Code(account.case.suspect),) if account.case.suspect else ()),
        )
    else:
        yield _listing(suspect, _marks(account.exploration.facts, suspect[0], State.BAD))
    yield Subheading("The corrected form")
    if not account.corrected:
        fixed = _frozen(account, "corrected", account.case.corrected)
        if fixed is not None:
            yield _listing(fixed, ())
        yield absence(account, account.corrected, "Nothing is proved of a corrected form.")
    else:
        fixed = _frozen(account, "corrected", account.case.corrected)
        if fixed is None and (fixed := _packaged(account.corrected.facts)) is not None:
            yield Paragraph.of(
                "The case names no corrected form. This is the strategy with which ",
                Code("vecforensics migrate"),
                " writes, so it was explored instead. It is part of this package and imports from it; what a service of yours "
                "can take over is its order. A vector stays in a variable of its own from its embedding to its write; all "
                "records of a level are awaited before the next level begins (",
                Code("dependency_levels"),
                ": parents first; without dependencies there is one level); an error ends the run.",
            )
        if fixed is not None:
            yield _listing(fixed, ())
    yield Subheading("The replayed proof")
    rows = [
        row
        for part, what in ((account.exploration, "as it ran"), (account.corrected, "corrected"))
        for row in _proof(part, what)
    ]
    if rows:
        yield Table(
            "What the laboratory tried on each",
            (
                Column("Code"),
                Column("Verdict"),
                Column("Schedules", Align.RIGHT),
                Column("Failing", Align.RIGHT),
                Column("Records", Align.RIGHT),
                Column("How"),
            ),
            tuple(rows),
        )
    if account.corrected.facts.text("verdict") == "failing":
        yield Note(("The corrected form fails as well: it is not verified.",), State.BAD)
    replay = account.witness.text("replay")
    if replay:
        # A schedule on the case's own records ("g" and their digest) is known only to the run that froze them.
        played = account.run_path if ":g" in replay else account.case.suspect or "SUSPECT"
        command = quoted("vecforensics", "race", played, "--replay", replay)
        yield Paragraph.of("The failing run replays, event by event, with:")
        yield Listing(command, language="sh")
        if account.run.repro_py.is_file():
            yield Paragraph.of(
                "It also stands as a program of its own that fails without this tool: ",
                Code(f"python {quoted(f'{account.run_path}/race/repro.py')}", 300),
                ".",
            )


def _proof(part: Part, what: str) -> Iterator[tuple[str | tuple[Inline, ...], ...]]:
    facts, certificate = part.facts, part.facts.facts("certificate")
    if not part:
        return
    verdict = facts.text("verdict")
    signal = {
        "failing": Signal("fails", State.BAD),
        "proved": Signal("proved: no failing order exists at this size", State.GOOD),
        "sampled": Signal("sampled: no failing order among those tried", State.UNKNOWN),
    }.get(verdict, Signal("unknown", State.UNKNOWN))
    failing = sum(tried.count("failures") for tried in certificate.each("passes"))
    how = ", ".join(
        f"{tried.text('strategy')} {count(tried.count('schedules'))}"
        + (" (all)" if tried.flag("exhaustive") else "")
        for tried in certificate.each("passes")
        if tried.count("schedules")
    )
    name = facts.text("suspect").rsplit("/", 1)[-1] or what
    yield (
        (Code(name, 60), f" {what}"),
        (signal,),
        count(certificate.count("schedules")),
        count(failing),
        count(certificate.count("records")),
        how or "–",
    )


def _frozen(account: Account, role: str, reference: str | None) -> tuple[str, str] | None:
    """Name and text of the code that the case names: the copy frozen with the evidence, else the file itself."""
    if reference is None:
        return None
    head, colon, tail = reference.rpartition(":")
    file = Path(head if colon and tail.isidentifier() else reference)
    for path in (account.run.evidence / f"{role}{file.suffix}", account.case.path(str(file))):
        text = _read(path)
        if text is not None:
            return file.name, text
    return None


def _packaged(facts: Facts) -> tuple[str, str] | None:
    """Name and text of a corrected form that comes with this package, found by the name under which it was explored."""
    import vecforensics

    module = facts.text("suspect").partition(":")[0]
    if not module.startswith("vecforensics.") or not all(part.isidentifier() for part in module.split(".")):
        return None
    path = Path(vecforensics.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    text = _read(path)
    return None if text is None else (path.name, text)


def _read(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > 400_000:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _marks(facts: Facts, name: str, state: State) -> tuple[tuple[int, State], ...]:
    """The lines at which the operations of the witness's conditions begin."""
    witness = facts.facts("witness")
    operations = {op.text("id"): op for op in witness.facts("trace").each("operations")}
    lines = set()
    for item in witness.each("constraints"):
        for operation in (item.text("first"), item.text("then")):
            source = operations.get(operation, Facts()).facts("source")
            if source.text("file").rsplit("/", 1)[-1] == name and source.count("lineno"):
                lines.add(source.count("lineno"))
    return tuple((line, state) for line in sorted(lines))


def _listing(source: tuple[str, str], marks: tuple[tuple[int, State], ...]) -> Listing:
    """A file, or the lines around the marks where it is long."""
    name, text = source
    lines = text.rstrip("\n").split("\n")
    first, last = 1, len(lines)
    if last > _WHOLE:
        first = max(1, min((line for line, _ in marks), default=1) - _AROUND)
        last = min(last, max((line for line, _ in marks), default=_WHOLE) + _AROUND, first + _WHOLE - 1)
    cut = f", lines {first}–{last} of {plural(len(lines), 'line')}" if last - first + 1 < len(lines) else ""
    language = {"js": "js", "mjs": "js", "py": "python"}.get(name.rpartition(".")[2], "")
    return Listing("\n".join(lines[first - 1 : last]), f"{name}{cut}", language, first, marks)
