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
    """The nearest records of one record by the expected vectors (`before`) and by the target as it is (`after`). `outside`: how
    many records have no expected vector and are in neither."""

    id: str
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]
    outside: int = 0

    @property
    def _left_out(self) -> str:
        return f"{self.outside:,} records without an expected vector are left out" if self.outside else ""

    def __str__(self) -> str:
        lines = [f"{printable(self.id)}: {'expected':<40} {'target':<40}"]
        for place in range(max(len(self.before), len(self.after))):
            sides = (
                f"{printable(side[place].id, 30)} {side[place].similarity:.4f}"
                if place < len(side)
                else "(nothing)"
                for side in (self.before, self.after)
            )
            lines.append(f"{place + 1:>3}. " + " ".join(f"{text:<40}" for text in sides).rstrip())
        return "\n".join([*lines, self._left_out] if self.outside else lines)

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        kept = {one.id for one in self.before} & {one.id for one in self.after}
        rows = Markup("")
        for place in range(max(len(self.before), len(self.after))):
            cells = Markup("")
            for side in (self.before, self.after):
                text = (
                    f"{printable(side[place].id, 80)} ({side[place].similarity:.4f})"
                    if place < len(side)
                    else "nothing"
                )
                same = place < len(side) and side[place].id in kept
                cells += Markup("<td>{}</td>").format(text if same else Markup("<b>{}</b>").format(text))
            rows += Markup("<tr><td>{}</td>{}</tr>").format(place + 1, cells)
        head = Markup("<tr><th>{}</th><th>expected</th><th>in the target</th></tr>").format(
            printable(self.id, 80)
        )
        told = Markup("<p><small>{}</small></p>").format(self._left_out) if self.outside else ""
        return str(Markup("<table>{}{}</table>{}").format(head, rows, told))
