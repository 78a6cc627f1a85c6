"""What the impact of damage looks like: figures with their intervals, the queries hurt most, one record's neighbours.

Plain data that displays itself; how it is measured stands in `impact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vecforensics.diff.impact.search import Metric
from vecforensics.errors import printable

__all__ = ["HurtQuery", "Impact", "Neighbour", "Neighbours"]


@dataclass(frozen=True, slots=True)
class HurtQuery:
    """A record that asks, how many of its k right neighbours a search still finds, and which it loses and gets instead."""

    id: str
    recall: float
    lost: tuple[str, ...]
    instead: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """What the damage costs one collection, measured on `queries` of its `population` records.

    `recall` and its limits: search with the right vector. `changed`: queries whose top k, asked with the stored vector, lost
    a right record. `lost_counts[j]`: queries that lost j of k in search. `records` could be returned if all were right;
    the target can return `returnable`. `outside`: further records, which have no expected vector; they and what the target holds
    under their ids are left out of all of this.
    """

    collection: str
    metric: Metric
    k: int
    records: int
    returnable: int
    outside: int
    queries: int
    population: int
    recall: float
    recall_low: float
    recall_high: float
    changed: int
    changed_share: float
    changed_low: float
    changed_high: float
    lost_counts: tuple[int, ...]
    hurt: tuple[HurtQuery, ...]
    seed: int
    confidence: float
    method: str

    @property
    def is_sampled(self) -> bool:
        return self.queries < self.population

    def as_dict(self) -> dict[str, Any]:
        numbers = ("recall", "recall_low", "recall_high", "changed_share", "changed_low", "changed_high")
        plain = (
            "collection",
            "metric",
            "k",
            "records",
            "returnable",
            "outside",
            "queries",
            "population",
            "changed",
            "seed",
        )
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: float(f"{getattr(self, name):.6g}") for name in numbers},
            "confidence": self.confidence,
            "lost_counts": list(self.lost_counts),
            "hurt": [
                {
                    "id": one.id,
                    "recall": round(one.recall, 6),
                    "lost": list(one.lost),
                    "instead": list(one.instead),
                }
                for one in self.hurt
            ],
            "method": self.method,
        }

    def __str__(self) -> str:
        between = (
            f" ({self.recall_low:.4f} to {self.recall_high:.4f})",
            f" ({self.changed_low:.2%} to {self.changed_high:.2%})",
        )
        return (
            f"{printable(self.collection)}: recall@{self.k} is {self.recall:.4f}{between[0] if self.is_sampled else ''} of 1; "
            f"asked with their own vectors, {self.changed_share:.2%}{between[1] if self.is_sampled else ''} of the records lost "
            f"at least one of their right {self.k} ({self.queries:,} of {self.population:,} records asked"
            + (f"; {self.outside:,} without an expected vector are left out)" if self.outside else ")")
        )

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        def names(ids: Sequence[str]) -> str:
            return ", ".join(printable(one, 80) for one in ids[:5]) + (" …" if len(ids) > 5 else "")

        rows = Markup("").join(
            Markup("<tr><td>{}</td><td>{:.1f}</td><td>{}</td><td>{}</td></tr>").format(
                printable(one.id, 80), one.recall, names(one.lost), names(one.instead)
            )
            for one in self.hurt
        )
        head = Markup("<tr><th>hurt most</th><th>recall@{}</th><th>lost</th><th>instead</th></tr>").format(
            self.k
        )
        table = Markup("<table>{}{}</table>").format(head, rows) if self.hurt else ""
        return str(Markup("<p>{}</p>{}<p><small>{}</small></p>").format(str(self), table, self.method))


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One place of a list: whose vector, how similar (cosine, product, or minus the squared distance)."""

    id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest records of one record: by the expected vectors (`before`), what a search with its expected vector finds in the
    target (`searched`; `right` of them are as near as they should be), and what it finds with the vector that stands under its
    own id (`after`; None where there is none that a search can use). `outside`: how many records have no expected vector and are
    in none of these; `said`: what the diff found of this record.
    """

    id: str
    before: tuple[Neighbour, ...]
    searched: tuple[Neighbour, ...]
    right: int
    after: tuple[Neighbour, ...] | None
    outside: int = 0
    said: tuple[str, ...] = ()

    @property
    def _sentence(self) -> str:
        """What was asked, and what came of it."""
        name, said = printable(self.id, 80), "; ".join(printable(one) for one in self.said)
        if self.after is None:
            why = f" ({said})" if said else ""
            how = f"{name} has no usable vector under its id in the target{why}; asked with the expected one, a search finds"
        else:
            how = f"{name}{f' ({said})' if said else ''}: asked with the expected vector, a search finds"
        return f"{how} {self.right} of the {len(self.before)} right neighbours"

    @property
    def _columns(self) -> tuple[tuple[str, tuple[Neighbour, ...]], ...]:
        """What is shown side by side; the own vector only where it finds something else."""
        own = (
            () if self.after in (None, self.searched) else (("found with its own vector", self.after or ()),)
        )
        return (("should be found", self.before), ("found in the target", self.searched), *own)

    @property
    def _left_out(self) -> str:
        return f"{self.outside:,} records without an expected vector are left out" if self.outside else ""

    def _cells(self, limit: int) -> list[list[str]]:
        """Row by row what each column names."""
        return [
            [
                f"{printable(side[place].id, limit)} {side[place].similarity:.4f}"
                if place < len(side)
                else "(nothing)"
                for _, side in self._columns
            ]
            for place in range(max(len(side) for _, side in self._columns))
        ]

    def __str__(self) -> str:
        table = [[title for title, _ in self._columns], *self._cells(40)]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        lines = [self._sentence]
        for place, row in enumerate(table):
            number = f"{place:>4}. " if place else " " * 6
            lines.append((number + "  ".join(map(str.ljust, row, widths))).rstrip())
        return "\n".join([*lines, self._left_out] if self.outside else lines)

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        def shown(cell: str, one: Neighbour | None, in_all: set[str]) -> Markup:
            text = Markup("{}") if one is not None and one.id in in_all else Markup("<b>{}</b>")
            return Markup("<td style='text-align:left'>{}</td>").format(text.format(cell))

        kept = set.intersection(*({one.id for one in side} for _, side in self._columns))
        rows = Markup("").join(
            Markup("<tr><td>{}</td>{}</tr>").format(
                place + 1,
                Markup("").join(
                    shown(cell, side[place] if place < len(side) else None, kept)
                    for cell, (_, side) in zip(cells, self._columns, strict=True)
                ),
            )
            for place, cells in enumerate(self._cells(80))
        )
        head = Markup("").join(
            Markup("<th style='text-align:left'>{}</th>").format(title) for title, _ in self._columns
        )
        told = Markup("<p><small>{}</small></p>").format(self._left_out) if self.outside else ""
        return str(
            Markup("<p>{}</p><table><tr><th></th>{}</tr>{}</table>{}").format(
                self._sentence, head, rows, told
            )
        )
