"""Limits and alternative explanations: what was not looked at, what would look the same, and what the cause does not explain."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.findings import Verdict
from vecforensics.report.account import Account
from vecforensics.report.blocks import Block, Bullets, Code, Inline, Section, Subheading
from vecforensics.report.crash import crash_of
from vecforensics.report.explanation import left_to_explain, unexplained, unrehearsed
from vecforensics.report.prose import inline_of_markdown
from vecforensics.report.wording import count, figure, listing, plural, share

__all__ = ["limits"]


def limits(account: Account) -> Section:
    """The honest part."""
    return Section("limits", "Limits and alternative explanations", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    yield Subheading("What was not seen")
    unseen = tuple(_unseen(account))
    yield Bullets(unseen)
    others = tuple(_alternatives(account))
    if others:
        yield Subheading("What else it could be")
        yield Bullets(others)


def _unseen(account: Account) -> Iterator[tuple[Inline, ...]]:
    findings = account.findings.facts
    if not findings:
        yield ("The target: its vectors were not compared.",)
    for name, facts in account.collections.items():
        of, checked = facts.count("of") or facts.count("source_rows"), facts.count("checked")
        if checked < of:
            yield (
                Code(name, 40),
                f": {count(of - checked)} of {plural(of, 'record')} were not checked ({share(of - checked, of)}).",
            )
    if account.estimate:
        yield ("Contents were sampled, so the number of corrupt records is an estimate.",)
    for text in findings.texts("limits"):
        yield inline_of_markdown(text)
    certificate = account.exploration.facts.facts("certificate")
    if not account.exploration:
        yield ("The migration code: no order of events was tried.",)
    else:
        how = "all orders at this size" if certificate.flag("exhaustive") else "a part of the possible orders"
        yield (
            f"The race laboratory tried {plural(certificate.count('schedules'), 'schedule')} with "
            f"{plural(certificate.count('records'), 'record')}: {how}. "
            "It shows what the code can do, not what it did on that day.",
        )
    for text in certificate.texts("not_seen"):
        yield ("The race laboratory does not see: ", text)
    for text in account.exploration.facts.texts("leaks"):
        yield (
            "Two replays of one schedule differed, because of ",
            Code(text, 160),
            ": the witness is weaker.",
        )
    corrected = account.corrected.facts
    if corrected.text("verdict") == "sampled":
        yield ("The corrected form is not proved: no failing order was found among those tried.",)
    bounds = corrected.facts("certificate").facts("pct_bound")
    chances = [
        (d, bound) for d in sorted(bounds.values) if (bound := bounds.number(d)) is not None and bound < 1
    ]
    if chances:
        yield (
            "Where only sampled, a fault of the corrected form that needs "
            f"{listing([d for d, _ in chances])} ordering steps is hit by one random-priority schedule with a probability "
            f"of at least {listing([figure(bound) for _, bound in chances])}.",
        )
    for text in account.verification.facts.texts("not_seen"):
        yield ("The verification does not see: ", text)
    if account.logs.lines_left_out:
        yield (
            f"{plural(account.logs.lines_left_out, 'log event')} of rare shapes were counted and not looked at.",
        )
    if account.rehearsal:
        yield ("The before/after figures come from rehearsals in virtual time, not from production.",)


def _of_a_crash(account: Account) -> Iterator[tuple[Inline, ...]]:
    crash = crash_of(account)
    if crash is None:
        return
    if not crash.missing:
        yield (
            "The log ends with ",
            Code(crash.error, 160),
            ", but the source does not end with a run of missing rows: what that error kept from being written is not known.",
        )
        return
    were = "was" if crash.missing == 1 else "were"
    yield (
        f"That {plural(crash.missing, 'missing row')} {were} not reached follows from their place at the end of the source and "
        "from the end of the log. Had the process lived, the code might have lost some of them as well; and what was under way "
        "when it died is missing among the rows before them, where it cannot be told from what the code lost.",
    )


def _alternatives(account: Account) -> Iterator[tuple[Inline, ...]]:
    if account.verdict is not Verdict.CORRUPT:
        return
    rest = unexplained(account)
    if account.exploration and rest:
        names = listing([f"{kind.value} ({count(left_to_explain(account, kind))})" for kind in rest])
        yield (
            f"The race examined does not produce {names}: another fault, a later edit or another writer may have.",
        )
    if account.exploration and account.race_verdict == "failing" and not rest:
        crash = crash_of(account)
        yield (
            "Every corrupt kind found is one that this race produces"
            + (", or what the crash left out" if crash is not None and crash.missing else "")
            + ": consistent with it, and no proof that nothing else took part.",
        )
    yield from _of_a_crash(account)
    calm = unrehearsed(account)
    if calm:
        yield (
            f"The race was found in the laboratory; in none of {plural(calm, 'rehearsal')} did it come up. Whether it came up on "
            "that day is not shown.",
        )
    if account.exploration and account.race_verdict != "failing":
        yield (
            "The code examined may not be the code that ran, or the fault lies outside it: "
            "in the embedder, the store, or a later writer.",
        )
    for name, facts in account.collections.items():
        counts = facts.facts("counts")
        if counts.count("missing"):
            yield (
                Code(name, 40),
                ": records deleted from the target on purpose after the migration would be counted as missing, too.",
            )
        if counts.count("orphan"):
            yield (
                Code(name, 40),
                ": records deleted from the source since the migration would leave orphans, too.",
            )
        if counts.count("drifted") or counts.count("stale"):
            yield (
                Code(name, 40),
                ": a source text edited after the migration looks like a stale or drifted vector.",
            )
