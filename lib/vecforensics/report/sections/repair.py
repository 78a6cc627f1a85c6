"""What was repaired, or what would be: the frozen plan, the ledger's account, and the independent verification."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vecforensics.findings import SEVERITY, Kind, Severity, Verdict
from vecforensics.report.account import Account, in_order
from vecforensics.report.blocks import (
    Align,
    Block,
    Bullets,
    Cell,
    Code,
    Column,
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
from vecforensics.report.facts import Facts
from vecforensics.report.headline import progress_of_repair, progress_of_roll_back
from vecforensics.report.ledger import LedgerDigest
from vecforensics.report.sections.absence import absence
from vecforensics.report.sections.pictures import pictures
from vecforensics.report.wording import count, plural, utc

__all__ = ["repair"]

_FAR = {
    "PLANNED": "planned, nothing sent",
    "INTENT": "about to be sent; what stood there is saved",
    "SENT": "sent, outcome not yet read back",
    "APPLIED": "acknowledged by the store",
    "VERIFIED": "read back and equal",
    "DONE": "done",
    "QUARANTINED": "given up, with a reason",
    "ROLLED_BACK": "taken back to what stood there before",
}


def repair(account: Account) -> Section:
    """Done and proved, or planned, or not yet thought of."""
    title = (
        "A repair that broke off"
        if account.broke_off
        else "What was repaired"
        if account.applied
        else "Repair plan"
    )
    return Section("repair", title, tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    if not account.plan and account.ledger is None:
        yield absence(account, account.plan)
        return
    if account.taken_back:
        yield Note(("Nothing stands in the target of the repair: it was rolled back.",), State.UNKNOWN)
    elif account.ledger is not None and account.roll_back_broke_off:
        yield Note(
            (
                f"The roll-back broke off: {progress_of_roll_back(account.ledger)}. The same command finishes it:",
            ),
            State.BAD,
        )
        yield Listing(account.command("migrate", "--rollback"), language="sh")
    elif account.ledger is not None and account.broke_off:
        yield Note(
            (
                f"The repair broke off: {progress_of_repair(account.ledger)}. The same command goes on where it stopped; the "
                "other one takes back what was written:",
            ),
            State.BAD,
        )
        again = account.command("migrate", f"--{account.plan.facts.text('mode') or 'repair'}")
        yield Listing(f"{again}\n{account.command('migrate', '--rollback')}", language="sh")
    elif not account.applied:
        yield Paragraph.of(
            "Nothing has been written to the target. This is what would be done, and the command that does it:"
        )
        yield Listing(account.command("migrate", "--repair"), language="sh")
    if account.plan:
        yield from _plan(account, account.plan.facts)
    if account.ledger is not None:
        yield from _ledger(account.ledger)
    yield from _verification(account)
    yield from pictures(account, "repair")


def _plan(account: Account, plan: Facts) -> Iterator[Block]:
    yield Subheading("The plan, frozen before the first write")
    rows: list[tuple[Cell, ...]] = [
        ((Code(name, 40),), *(count(facts.count(kind)) for kind in ("upsert", "delete", "quarantine")))
        for name, facts in in_order(account.case, plan, "counts")
    ]
    if rows:
        yield Table(
            "What the plan does to each collection",
            (
                Column("Collection"),
                *(Column(title, Align.RIGHT) for title in ("Upserts", "Deletes", "Quarantined")),
            ),
            tuple(rows),
        )
    left = {kind: number for kind, number in plan.counts("left_as_it_is").items() if number}
    if left:
        named = [Code(f"{kind} {count(number)}") for kind, number in sorted(left.items())]
        yield Paragraph.of("Left as it is, since no writing mends it: ", *joined(named), ".")
    settings = [
        (key, str(value))
        for source in (plan, plan.facts("settings"))
        for key, value in sorted(source.values.items())
        if isinstance(value, str | int | float) and key not in ("format", "case", "run")
    ]
    if settings:
        yield Table(
            "Settings of the plan; resuming is refused where they changed",
            (Column("Setting"), Column("Value")),
            tuple((key.replace("_", " "), (Code(value, 80),)) for key, value in settings),
        )


def _ledger(ledger: LedgerDigest) -> Iterator[Block]:
    yield Subheading("What the ledger says")
    if ledger.problem:
        yield Note((f"The ledger {ledger.problem}.",), State.BAD)
        return
    between = (
        f", from {utc(ledger.first_write)} to {utc(ledger.last_write)} UTC" if ledger.first_write else ""
    )
    yield Table(
        f"{plural(ledger.operations, 'operation')} by how far they came{between}",
        (Column("State"), Column("Meaning"), Column("Operations", Align.RIGHT)),
        tuple(
            ((Code(state),), meaning, count(ledger.states.get(state, 0))) for state, meaning in _FAR.items()
        ),
        faint=frozenset(n for n, state in enumerate(_FAR) if not ledger.states.get(state)),
    )
    if ledger.in_doubt:
        yield Note(
            (
                f"{plural(ledger.in_doubt, 'operation')} with unknown outcome: a resumed run reads them back first.",
            ),
            State.UNKNOWN,
        )
    if ledger.quarantine:
        yield Table(
            f"In quarantine: {count(ledger.quarantined)}"
            + (f" (first {len(ledger.quarantine)})" if ledger.quarantined > len(ledger.quarantine) else ""),
            (Column("Collection"), Column("Id"), Column("Reason")),
            tuple(
                ((Code(item.collection, 40),), (Code(item.id, 48),), (Code(_reason(item.reason), 160),))
                for item in ledger.quarantine
            ),
        )


def _reason(detail: str) -> str:
    """The reason in an entry's detail, which may be JSON."""
    try:
        value = json.loads(detail)
    except (ValueError, RecursionError):
        return detail
    return Facts.of(value).text("reason") or detail


def _verification(account: Account) -> Iterator[Block]:
    yield Subheading("Independent verification")
    facts = account.verification.facts
    if account.taken_back:
        yield Paragraph.of(
            "Whatever was verified before the roll-back says nothing of the target as it is now."
        )
        return
    if account.broke_off or account.roll_back_broke_off:
        yield Note(
            ("It broke off before it could be verified: the target may hold rows of before and of after.",),
            State.UNKNOWN,
        )
        return
    if not account.verification:
        if account.applied:
            yield Note(
                ("The repair was not verified: what the target holds now is not known.",), State.UNKNOWN
            )
        else:
            yield Paragraph.of("There is nothing to verify before a repair is applied.")
        return
    verdict = account.repaired
    signal = {
        Verdict.CLEAN: Signal("clean", State.GOOD),
        Verdict.CORRUPT: Signal("corrupt", State.BAD),
    }.get(verdict or Verdict.UNKNOWN, Signal("unknown", State.UNKNOWN))
    yield Paragraph.of("Verdict on the target as it is now: ", signal, ".")
    by_collection = facts.facts("by_collection")
    rows: list[tuple[Cell, ...]] = []
    for name, done in in_order(account.case, facts, "checked"):
        found = by_collection.counts(name)
        bad = sum(found.get(kind.value, 0) for kind in Kind if SEVERITY[kind] is Severity.CORRUPT)
        rows.append(
            ((Code(name, 40),), f"{count(done.count('checked'))} of {count(done.count('of'))}", count(bad))
        )
    if rows:
        yield Table(
            "Vectors compared after the repair, by another path than the writer's",
            (Column("Collection"), Column("Compared", Align.RIGHT), Column("Corrupt findings", Align.RIGHT)),
            tuple(rows),
        )
    kinds = facts.counts("kinds")
    left = [Code(f"{kind.value} {count(kinds[kind.value])}") for kind in Kind if kinds.get(kind.value)]
    if left:
        yield Paragraph.of("Still found: ", *joined(left), ".")
    changed = [
        Code(name) for name, state in sorted(facts.facts("sources").values.items()) if state == "changed"
    ]
    if changed:
        yield Note(("Changed since the evidence was frozen: ", *joined(changed), "."), State.UNKNOWN)
    damaged = facts.texts("evidence_damaged")
    if damaged:
        yield Note(("Evidence damaged: ", *joined([Code(text, 160) for text in damaged]), "."), State.BAD)
    if facts.texts("method"):
        yield Paragraph.of("How it was verified:")
        yield Bullets(facts.texts("method"))
