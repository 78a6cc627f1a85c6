"""Summary and impact: the figures that matter, what they rest on, and what the damage costs the people who search."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.findings import SEVERITY, Kind, Severity, Verdict
from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Block,
    Code,
    Column,
    Inline,
    Note,
    Section,
    Signal,
    State,
    Table,
    Tile,
    Tiles,
    joined,
)  # fmt: skip
from vecforensics.report.crash import crash_of
from vecforensics.report.explanation import explained, left_to_explain, unexplained, unrehearsed
from vecforensics.report.headline import progress_of_repair, progress_of_roll_back
from vecforensics.report.sections.absence import absence
from vecforensics.report.sections.impact import impact, worst_recall
from vecforensics.report.wording import count, figure, plural, share

__all__ = ["summary"]


def summary(account: Account) -> Section:
    """The first page."""
    return Section("summary", "Summary and impact", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    yield Tiles(tuple(_tiles(account)))
    if not account.findings:
        yield absence(account, account.findings, "Until then the verdict is unknown.")
        return
    if account.estimate:
        yield Note(_estimate(account), State.UNKNOWN)
    yield _collections(account)
    yield from impact(account)


def _tiles(account: Account) -> Iterator[Tile]:
    rows, bad = account.source_rows, account.records_corrupt
    if account.findings:
        checked = account.findings.facts.count("rows_checked")
        state = {Verdict.CLEAN: State.GOOD, Verdict.CORRUPT: State.BAD}.get(account.verdict, State.UNKNOWN)
        label = "Corrupt records, at least" if account.estimate else "Corrupt records as found"
        yield Tile(label, count(bad), f"of {count(rows)} · {share(bad, rows)}", state)
        full = checked >= rows
        yield Tile(
            "Records checked",
            share(checked, rows),
            f"{count(checked)} of {count(rows)}",
            State.PLAIN if full else State.UNKNOWN,
        )
    else:
        yield Tile("Corrupt records", "?", "not compared", State.UNKNOWN)
    worst = worst_recall(account)
    if worst is not None:
        k, recall = worst
        yield Tile(
            f"Recall at {k}",
            figure(recall),
            "of 1 where it is worst",
            State.BAD if recall < 1 else State.GOOD,
        )
    yield _cause_tile(account)
    yield _repair_tile(account)


def _cause_tile(account: Account) -> Tile:
    """Of how much of the damage the cause is known, race and crash together."""
    crash = crash_of(account)
    if crash is None or not crash.missing:
        return _race_tile(account)
    known, rest = explained(account), unexplained(account)
    by_race = (
        sum(left_to_explain(account, kind) for kind in known) if account.race_verdict == "failing" else 0
    )
    whole = crash.missing + sum(left_to_explain(account, kind) for kind in (*known, *rest))
    of = plural(whole, "corrupt finding")
    if crash.missing + by_race < whole:
        return Tile("Cause", "In part", f"found for {count(crash.missing + by_race)} of {of}", State.UNKNOWN)
    if not by_race:
        return Tile("Cause", "A crash", f"explains all {of}", State.BAD)
    return Tile("Causes", "Two", f"crash {count(crash.missing)} · race {count(by_race)}", State.BAD)


def _race_tile(account: Account) -> Tile:
    schedules = account.exploration.facts.facts("certificate").count("schedules")
    match account.race_verdict:
        case "failing":
            first = account.exploration.facts.count("schedules_to_first_failure")
            detail = f"in schedule {count(first)} of {count(schedules)}" if first else "replayable"
            known, rest, calm = explained(account), unexplained(account), unrehearsed(account)
            if not rest and not calm:
                return Tile("Cause", "Reproduced", detail, State.BAD)
            if not rest:
                return Tile("Cause", "Likely", f"in none of {plural(calm, 'rehearsal')}", State.UNKNOWN)
            found, whole = (sum(map(account.caused, kinds)) for kinds in (known, (*known, *rest)))
            of = plural(whole, "corrupt finding")
            if not known:
                return Tile("Cause", "Not found", f"explains none of {of}", State.UNKNOWN)
            how = "likely" if calm else "reproduced"
            return Tile("Cause", "In part", f"{how} for {count(found)} of {of}", State.UNKNOWN)
        case "proved":
            return Tile("Cause", "Not this code", "no failing order exists", State.UNKNOWN)
        case "sampled":
            return Tile("Cause", "Not found", f"{plural(schedules, 'schedule')} tried", State.UNKNOWN)
    return Tile("Cause", "Open", "not reproduced", State.UNKNOWN)


def _repair_tile(account: Account) -> Tile:
    if account.taken_back:
        return Tile("Target now", "Not repaired", "the repair was taken back", State.UNKNOWN)
    if account.ledger is not None and account.roll_back_broke_off:
        return Tile("Target now", "Half taken back", progress_of_roll_back(account.ledger), State.BAD)
    if account.ledger is not None and account.broke_off:
        return Tile("Target now", "Repair broke off", progress_of_repair(account.ledger), State.BAD)
    if not account.applied:
        return Tile("Target now", "Not repaired", "plan ready" if account.plan else "no plan", State.UNKNOWN)
    match account.repaired:
        case Verdict.CLEAN:
            return Tile("Target now", "Clean", "repaired and verified", State.GOOD)
        case Verdict.CORRUPT:
            return Tile("Target now", "Corrupt", "the repair did not hold", State.BAD)
    return Tile("Target now", "Unknown", "repaired, not fully verified", State.UNKNOWN)


def _estimate(account: Account) -> tuple[Inline, ...]:
    """The sentence on a sampled diff, with whatever of rate, interval and sample size is given."""
    estimate = account.estimate
    low, high = (estimate.number(key) for key in ("low", "high"))
    sample, of = estimate.count("sampled"), estimate.count("rows")
    head = "This is an estimate: ids were all compared, contents only on a sample"
    if sample:
        head += f" of {count(sample)} of {plural(of, 'record')}"
    if account.estimated_share:
        head += f". Estimated share of wrong contents: {account.estimated_share}"
        if low is not None and high is not None:
            level = estimate.number("confidence") or 0.95
            head += f", {level:.0%} interval {share(low)} to {share(high)}"
            method = estimate.text("method")
            head += f" ({method})" if method else ""
    return (head + ".",)


def _collections(account: Account) -> Table:
    rows: list[tuple[object, ...]] = []
    for name, facts in account.collections.items():
        source, bad = facts.count("source_rows"), facts.count("records_corrupt")
        of = facts.count("of") or source
        counts = facts.facts("counts")
        kinds = [
            Code(kind.value)
            for kind in Kind
            if SEVERITY[kind] is Severity.CORRUPT and counts.count(kind.value)
        ]
        verdict = (
            Signal("corrupt", State.BAD)
            if kinds
            else Signal("clean", State.GOOD)
            if facts.count("checked") >= of and not facts.count("unchecked") and of
            else Signal("unknown", State.UNKNOWN)
        )
        rows.append(
            (
                (Code(name, 40),),
                count(source),
                count(facts.count("target_rows")),
                f"{count(facts.count('checked'))} of {count(of)}",
                count(bad),
                share(bad, source),
                (verdict,),
                joined(kinds) if kinds else "none",
            )
        )
    left = [
        Column(title, Align.RIGHT)
        for title in ("Source records", "Target vectors", "Checked", "Corrupt", "Share")
    ]
    return Table(
        "Collections as they were found",
        (Column("Collection"), *left, Column("Verdict"), Column("Corrupt kinds found")),
        tuple(rows),  # type: ignore[arg-type]
    )
