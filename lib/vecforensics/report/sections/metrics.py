"""Before and after: what the rehearsals measured, how, how often and how surely, beside what the incident claims of itself."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Block,
    Cell,
    Column,
    Interval,
    Measure,
    Measures,
    Note,
    Paragraph,
    Section,
    State,
    Table,
)  # fmt: skip
from vecforensics.report.facts import Facts
from vecforensics.report.sections.absence import absence
from vecforensics.report.sections.pictures import pictures
from vecforensics.report.wording import claim_text, count, metric_label, metric_text, setting_text

__all__ = ["metrics"]


def metrics(account: Account) -> Section:
    """Measured and claimed, never mixed."""
    return Section("metrics", "Before and after", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    measured = [
        (item.text("name"), item) for item in account.rehearsal.facts.each("metrics") if item.text("name")
    ]
    if not account.rehearsal:
        yield absence(account, account.rehearsal, "Nothing was measured.")
    elif account.rehearsal.facts.flag("simulated") is not False:
        yield Note(
            (
                "Simulated: both migrations were rehearsed in virtual time against a model of the embedder and the store. "
                "The figures compare the two programs under the same conditions; they are no measurement of a production system.",
            ),
            State.PLAIN,
        )
    drawn = [measure for name, item in measured if (measure := _measure(name, item)) is not None]
    if drawn:
        yield Measures("As measured in the rehearsals; each scale begins at nought", tuple(drawn))
    if measured:
        yield _table(account, measured)
    elif account.case.claims:
        yield _claims(account)
    yield from pictures(account, "metrics")
    yield from _conditions(account.rehearsal.facts)


def _value(name: str, item: Facts, side: Facts) -> str:
    """The measured value; a number of runs says of how many."""
    value = side.number("value")
    if value is None:
        return "not measured"
    of = f" of {count(side.count('n'))}" if item.text("unit") == "count" and side.count("n") else ""
    return metric_text(name, value) + of


def _measure(name: str, item: Facts) -> Measure | None:
    before, after = (_interval(name, item, item.facts(side)) for side in ("before", "after"))
    return None if before is None or after is None else Measure(metric_label(name), before, after)


def _interval(name: str, item: Facts, side: Facts) -> Interval | None:
    value = side.number("value")
    if value is None:
        return None
    return Interval(value, side.number("low"), side.number("high"), _value(name, item, side))


def _range(name: str, facts: Facts) -> str:
    low, high = facts.number("low"), facts.number("high")
    return "–" if low is None or high is None else f"{metric_text(name, low)} to {metric_text(name, high)}"


def _table(account: Account, measured: list[tuple[str, Facts]]) -> Table:
    known = dict(measured)
    claims = account.case.claims
    names = list(dict.fromkeys([*known, *claims]))
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        item = known.get(name, Facts())
        claim = " → ".join(claim_text(name, value) for value in claims[name]) if name in claims else "–"
        cells: list[Cell] = [metric_label(name)]
        for side in ("before", "after"):
            facts = item.facts(side)
            cells += [
                _value(name, item, facts),
                _range(name, facts),
                count(facts.count("n")) if facts.count("n") else "–",
            ]
        rows.append((*cells, item.text("method", "–"), *((claim,) if claims else ())))
    right = Align.RIGHT
    return Table(
        "Before and after, with 95 % intervals" + ("; the last column is the incident's own claim" if claims else ""),
        (
            Column("Metric"),
            Column("Before", right), Column("Interval", right), Column("n", right),
            Column("After", right), Column("Interval", right), Column("n", right),
            Column("Method"),
            *((Column("Claimed by the incident", right),) if claims else ()),
        ),
        tuple(rows),
    )  # fmt: skip


def _claims(account: Account) -> Table:
    """The incident's own figures alone, where there is nothing to set beside them."""
    return Table(
        "What the incident claims of itself; nothing of it was measured in this run",
        (Column("Metric"), Column("Claimed before", Align.RIGHT), Column("Claimed after", Align.RIGHT)),
        tuple(
            (metric_label(name), claim_text(name, before), claim_text(name, after))
            for name, (before, after) in account.case.claims.items()
        ),
    )


def _conditions(facts: Facts) -> Iterator[Paragraph]:
    physics = facts.facts("physics")
    settings = [
        setting_text(name, value)
        for name, value in sorted(physics.values.items())
        if isinstance(value, str | int | float)
    ]
    named = [f"{key} {facts.count(key)}" for key in ("records", "seed") if key in facts]
    if settings or named:
        yield Paragraph.of("Conditions of the rehearsals: ", "; ".join([*named, *settings]), ".")
