"""Before and after: what the rehearsals measured, how, how often and how surely, beside what the incident claims of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
from vecforensics.report.conditions import conditions, differing
from vecforensics.report.explanation import unrehearsed
from vecforensics.report.facts import Facts
from vecforensics.report.sections.absence import absence
from vecforensics.report.sections.pictures import pictures
from vecforensics.report.wording import claim_text, count, figure, metric_label, metric_text, plural

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
        yield Note((" ".join(_simulated(account.rehearsal.facts)),), State.PLAIN)
    yield from _calm(account)
    drawn = [measure for name, item in measured if (measure := _measure(name, item)) is not None]
    if drawn:
        yield Measures("As measured in the rehearsals; each scale begins at nought", tuple(drawn))
    if measured:
        yield _table(account, measured)
    elif account.case.claims:
        yield _claims(account)
    yield from _slower(dict(measured))
    yield from pictures(account, "metrics")
    if account.rehearsal.facts.facts("physics"):
        yield conditions(account.rehearsal.facts)


def _simulated(rehearsal: Facts) -> Iterator[str]:
    """What the figures are, and under which conditions both sides ran."""
    yield (
        "Simulated: both migrations were rehearsed in virtual time, on the same records, against a model of the embedder and the "
        "store."
    )
    other = differing(rehearsal)
    if not other:
        yield "The figures compare the two programs under the same conditions."
    elif other == ("retry_rate_limited",):
        yield (
            "The conditions are the same but for one: before, a request that the provider refuses is an error in the program; "
            "after, the client waits and repeats it."
        )
        refused = sum(run.count("refusals") for run in rehearsal.each("runs") if run.text("side") == "after")
        yield (
            f"{plural(refused, 'request was', 'requests were')} repeated so."
            if refused
            else "None was refused after, so this made no difference."
        )
    else:
        yield "The conditions are not all the same; the table below marks those that differ."
    yield "The figures are no measurement of a production system."


def _calm(account: Account) -> Iterator[Note]:
    """Why nothing failed, where the laboratory found a race and no rehearsal met it."""
    runs = unrehearsed(account)
    if not runs:
        return
    witness = account.witness
    met = witness.text("granularity") == "fine" and any(
        "in the same round of the loop" in item.text("text") for item in witness.each("constraints")
    )
    faults = witness.texts("faults")
    if met:
        why = "it needs two answers in the same round of the event loop, and in a rehearsal each arrives at a moment of its own"
    elif faults:
        why = "it needs a fault, and in a rehearsal there is none but a refusal for too many requests"
    else:
        why = "the order of answers that it needs did not come up under these conditions"
    yield Note(
        (
            f"The race of section 3 came up in none of {plural(runs, 'rehearsal')}: {why}. These figures do not say how often it "
            "comes up in practice.",
        ),
        State.UNKNOWN,
    )


def _slower(measured: Mapping[str, Facts]) -> Iterator[Paragraph]:
    """That a run takes longer, which the latency of an insert does not show."""
    duration, latency = (measured.get(name, Facts()) for name in ("duration_s", "latency_ms"))
    before, after = (_measured(duration, side) for side in ("before", "after"))
    if not before or not after or after <= before:
        return
    one, other = (_measured(latency, side) for side in ("before", "after"))
    sooner = "Although an insert is answered sooner, the" if one and other and other < one else "The"
    yield Paragraph.of(
        f"{sooner} corrected run as a whole takes longer: {metric_text('duration_s', after)} instead of "
        f"{metric_text('duration_s', before)}, {figure(after / before)} times as long."
    )


def _measured(item: Facts, side: str) -> float | None:
    """The value of one side; None where no run gave one."""
    return item.facts(side).number("value") if item.facts(side).count("n") else None


def _value(name: str, item: Facts, side: Facts) -> str:
    """The measured value; a number of runs says of how many."""
    value = side.number("value")
    if value is None or side.values.get("n") == 0:
        return "not measured"
    of = f" of {count(side.count('n'))}" if item.text("unit") == "count" and side.count("n") else ""
    return metric_text(name, value) + of


def _measure(name: str, item: Facts) -> Measure | None:
    before, after = (_interval(name, item, item.facts(side)) for side in ("before", "after"))
    return None if before is None or after is None else Measure(metric_label(name), before, after)


def _interval(name: str, item: Facts, side: Facts) -> Interval | None:
    value = side.number("value")
    if value is None or side.values.get("n") == 0:
        return None
    return Interval(value, side.number("low"), side.number("high"), _value(name, item, side))


def _range(name: str, facts: Facts) -> str:
    low, high = facts.number("low"), facts.number("high")
    return (
        "–"
        if low is None or high is None or facts.values.get("n") == 0
        else f"{metric_text(name, low)} to {metric_text(name, high)}"
    )


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
