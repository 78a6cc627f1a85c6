"""What the damage costs: how many of its nearest records a search still finds, and whose neighbours changed."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.report.account import Account, in_order
from vecforensics.report.blocks import (
    Align,
    Block,
    Cell,
    Code,
    Column,
    Inline,
    Paragraph,
    Subheading,
    Table,
    joined,
)
from vecforensics.report.facts import Facts
from vecforensics.report.sections.pictures import pictures
from vecforensics.report.wording import count, figure, share

__all__ = ["impact", "worst_recall"]

_MOST_HURT = 3
_MOST_IDS = 3


def worst_recall(account: Account) -> tuple[int, float] | None:
    """k and recall@k of the collection that lost most; None where nothing was measured."""
    found = [
        (facts.count("k"), recall)
        for _, facts in account.findings.facts.items("impact")
        if facts.count("queries") and (recall := facts.number("recall")) is not None
    ]
    return min(found, key=lambda item: item[1], default=None)


def impact(account: Account) -> Iterator[Block]:
    """Impact per collection, or the sentence that it was not measured."""
    yield Subheading("Impact on search and recommendations")
    found = [
        (name, facts)
        for name, facts in in_order(account.case, account.findings.facts, "impact")
        if facts.count("queries")
    ]
    if not found:
        yield Paragraph.of("Not measured in this run.")
        return
    right = Align.RIGHT
    yield Table(
        "Searches on the target as found, against the right neighbours",
        (
            Column("Collection"),
            Column("Recall", right),
            Column("Interval", right),
            Column("Records that lost at least one neighbour", right),
            Column("Interval", right),
            Column("Asked", right),
        ),
        tuple(_row(name, facts) for name, facts in found),
    )
    hurt = [row for name, facts in found for row in _hurt(name, facts)]
    if hurt:
        yield Table(
            "Searches hurt most",
            (
                Column("Collection"),
                Column("Record"),
                Column("Recall", right),
                Column("Lost"),
                Column("Found instead"),
            ),
            tuple(hurt),
        )
    yield from pictures(account, "summary")
    for method in dict.fromkeys(facts.text("method") for _, facts in found):
        if method:
            yield Paragraph.of("Method: ", method)


def _between(facts: Facts, low: str, high: str) -> tuple[float, float] | None:
    """The interval, where the figure is a sample's."""
    a, b = facts.number(low), facts.number(high)
    return None if a is None or b is None or facts.count("queries") >= facts.count("population") else (a, b)


def _row(name: str, facts: Facts) -> tuple[Cell, ...]:
    recall, changed = facts.number("recall"), facts.number("changed_share")
    around, among = (
        _between(facts, "recall_low", "recall_high"),
        _between(facts, "changed_low", "changed_high"),
    )
    return (
        (Code(name, 40),),
        f"{figure(recall)} at {facts.count('k')}" if recall is not None else "–",
        f"{figure(around[0])} to {figure(around[1])}" if around else "exact",
        share(changed) if changed is not None else "–",
        f"{share(among[0])} to {share(among[1])}" if among else "exact",
        f"{count(facts.count('queries'))} of {count(facts.count('population'))}",
    )


def _ids(ids: tuple[str, ...]) -> tuple[Inline, ...]:
    more = (f" and {len(ids) - _MOST_IDS} more",) if len(ids) > _MOST_IDS else ()
    return (*joined([Code(one, 32) for one in ids[:_MOST_IDS]]), *more) or ("nothing",)


def _hurt(name: str, facts: Facts) -> Iterator[tuple[Cell, ...]]:
    for item in facts.each("hurt")[:_MOST_HURT]:
        recall = item.number("recall")
        yield (
            (Code(name, 40),),
            (Code(item.text("id"), 48),),
            figure(recall) if recall is not None else "–",
            _ids(item.texts("lost")),
            _ids(item.texts("instead")),
        )
