"""What the damage costs: the recall lost and whose neighbours changed, as the diff measured it."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.report.account import Account
from vecforensics.report.blocks import Align, Block, Cell, Code, Column, Paragraph, Subheading, Table
from vecforensics.report.facts import Facts
from vecforensics.report.wording import figure, share

__all__ = ["impact"]


def impact(account: Account) -> Iterator[Block]:
    """Impact per collection, or the sentence that it was not measured."""
    yield Subheading("Impact on search and recommendations")
    found = list(account.findings.facts.items("impact"))
    if not found:
        yield Paragraph.of("Not measured: no collection has expected vectors to compare neighbours with.")
        return
    for name, facts in found:
        for sentence in (facts.text("sentence"), *facts.texts("sentences")):
            if sentence:
                yield Paragraph.of(Code(name), ": ", sentence)
    rows = [row for name, facts in found for row in _rows(name, facts)]
    if rows:
        yield Table(
            "Impact as measured",
            (Column("Collection"), Column("Measure"), Column("Value", Align.RIGHT)),
            tuple(rows),
        )


def _rows(name: str, facts: Facts) -> Iterator[tuple[Cell, ...]]:
    for key in facts.values:
        value = facts.number(key)
        if value is None:
            continue
        as_share = 0 <= value <= 1 and any(word in key for word in ("share", "recall", "rate", "lost"))
        yield (Code(name, 40),), key.replace("_", " "), share(value) if as_share else figure(value)
