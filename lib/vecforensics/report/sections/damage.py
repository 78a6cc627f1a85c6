"""Damage per kind, zeros shown; where it clusters; examples that can be looked up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from vecforensics.finding_words import in_words
from vecforensics.findings import MEANING, SEVERITY, Kind, Severity
from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Bar,
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Paragraph,
    Section,
    Signal,
    State,
    Subheading,
    Table,
)  # fmt: skip
from vecforensics.report.crash import crash_of
from vecforensics.report.facts import Facts
from vecforensics.report.prose import inline_of_markdown
from vecforensics.report.sections.absence import absence
from vecforensics.report.sections.pictures import pictures
from vecforensics.report.wording import count, figure, plural

__all__ = ["damage"]

_CHANGES = ("changed", "missing", "retyped")
_MOST_EXAMPLES = 40
_MOST_OF_A_DETAIL = 300
# More collections than this have their numbers in findings.json; a wider table cannot be read.
_MOST_COLUMNS = 6
_STATE = {Severity.CORRUPT: State.BAD, Severity.BENIGN: State.GOOD, Severity.UNKNOWN: State.UNKNOWN}


def damage(account: Account) -> Section:
    """Everything the diff found, and what it looked for and did not find."""
    return Section("damage", "Damage by kind", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    if not account.findings:
        yield absence(account, account.findings)
        return
    yield _kinds(account)
    fields = _fields(account)
    if fields.rows:
        yield fields
    yield from pictures(account, "damage")
    yield Subheading("Where it clusters")
    spots = [spot for spot in account.findings.facts.each("hot_spots") if spot.text("sentence")]
    if spots:
        crash = crash_of(account)
        reached = crash.where if crash is not None and crash.missing else None
        yield Bullets(tuple(_spot(spot, reached) for spot in spots), ordered=True)
    else:
        yield Paragraph.of("Nowhere more than chance would put there, or there was nothing to cluster.")
    for name, facts in account.collections.items():
        for note in facts.texts("notes"):
            yield Paragraph.of(Code(name, 40), ": ", *inline_of_markdown(note))
    examples = account.findings.facts.each("examples")
    if examples:
        yield Subheading("Examples")
        yield _examples(examples, account.collections)
        yield Paragraph.of("All findings: ", Code("findings.parquet"), " in the run folder, one row each.")


def _spot(spot: Facts, not_reached: str | None) -> str:
    """A hot spot with its p-value. `not_reached`: where the rows stand to which the process did not come before it died."""
    p = spot.number("p_value")
    said = spot.text("sentence")
    if p is not None:
        said += f"; p {'< 1e-12' if p < 1e-12 else '= ' + figure(p)}"
    if spot.text("kind") == Kind.MISSING.value and spot.text("where") == not_reached:
        said += ". The process died before it came to them (section 3)"
    return said


def _kinds(account: Account) -> Table:
    names = list(account.collections) if 1 < len(account.collections) <= _MOST_COLUMNS else []
    rows: list[tuple[Cell, ...]] = []
    faint = set()
    most = max((account.count(kind) for kind in Kind), default=0)
    for number, kind in enumerate(Kind):
        total = account.count(kind)
        state = _STATE[SEVERITY[kind]]
        if not total:
            faint.add(number)
        each = [count(account.count(kind, name)) for name in names]
        rows.append(
            (
                (Code(kind.value),),
                (Signal(SEVERITY[kind].value, state if total else State.PLAIN),),
                *each,
                count(total),
                Bar(total / most if most else 0.0, state),
                MEANING[kind],
            )
        )
    return Table(
        "Findings by kind; a record may have several",
        (
            Column("Kind"),
            Column("Severity"),
            *(Column(name, Align.RIGHT) for name in names),
            Column("Total", Align.RIGHT),
            Column(""),
            Column("Meaning"),
        ),
        tuple(rows),
        faint=frozenset(faint),
    )


def _fields(account: Account) -> Table:
    """How many records each metadata field drifted in, and how."""
    rows: list[tuple[Cell, ...]] = [
        ((Code(name, 40),), (Code(field, 60),), *(count(counts.count(change)) for change in _CHANGES))
        for name, facts in account.collections.items()
        for field, counts in facts.items("metadata_fields")
    ]
    return Table(
        "Metadata that drifted, field by field",
        (
            Column("Collection"),
            Column("Field"),
            *(Column(change.capitalize(), Align.RIGHT) for change in _CHANGES),
        ),
        tuple(rows),
    )


def _shared_out(examples: Sequence[Facts]) -> list[Facts]:
    """So many examples as there is room for: the first of every kind, the second of every kind, and so on, kind by kind."""
    kinds = Counter[str]()
    turns = []
    for number, item in enumerate(examples):
        kind = item.text("kind")
        turns.append((kinds[kind], number))
        kinds[kind] += 1
    return [examples[number] for number in sorted(number for _, number in sorted(turns)[:_MOST_EXAMPLES])]


def _examples(examples: tuple[Facts, ...], collections: Mapping[str, Facts]) -> Table:
    rows = []
    for item in _shared_out(examples):
        dimension = collections.get(item.text("collection"), Facts()).count("dimension")
        distance, words = item.number("distance"), in_words(item.values.get("detail"), dimension)
        rows.append(
            (
                (Code(item.text("kind")),),
                (Code(item.text("collection"), 30),),
                (Code(item.text("source_id"), 48),) if item.text("source_id") else "–",
                (Code(item.text("target_id"), 48),) if item.text("target_id") else "–",
                (Code(item.text("partner_id"), 48),) if item.text("partner_id") else "–",
                figure(distance) if distance is not None else "–",
                (Code(words, _MOST_OF_A_DETAIL),) if words else "–",
            )
        )
    shown = f"{plural(len(rows), 'example')}" + (
        f" of {count(len(examples))} listed" if len(examples) > len(rows) else ""
    )
    return Table(
        f"{shown}",
        (
            Column("Kind"), Column("Collection"), Column("Source id"), Column("Target id"), Column("Partner"),
            Column("Distance", Align.RIGHT), Column("Detail"),
        ),
        tuple(rows),
    )  # fmt: skip
