"""What a migration did, as one object that displays itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from vecforensics.errors import printable
from vecforensics.findings import Verdict
from vecforensics.migrate.chain import State
from vecforensics.migrate.verification import Verification

__all__ = ["MigrationRun"]

_SHOWN = 10
_ID_WIDTH = 80


@dataclass(frozen=True, slots=True)
class MigrationRun:
    """A plan, or what became of one.

    `planned`: collection → upsert, delete, quarantine. `examples`: collection → operation → first ids. `states`: operations in
    each state of the ledger. `written`, `deleted`, `restored`: operations that ended so. `quarantined`: (collection, id, reason),
    the first thousand. `conflicts`: keys that a rollback left alone. `duration_s`: of this call. `resumed`: it went on with an
    earlier one. `earlier`: operations that had come to their end before this call. `cautions`: what has to be said before it is
    written, as lines. `carried_out`: of a plan that was carried out already when that last took a step, `taken_back` whether it
    was rolled back.
    """

    mode: str
    strategy: str
    run: Path
    planned: Mapping[str, Mapping[str, int]]
    examples: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    written: int = 0
    deleted: int = 0
    restored: int = 0
    earlier: int = 0
    quarantined: Sequence[tuple[str, str, str]] = ()
    conflicts: Sequence[tuple[str, str]] = ()
    duration_s: float = 0.0
    resumed: bool = False
    verification: Verification | None = None
    planned_for: str = ""
    cautions: Sequence[str] = ()
    carried_out: str = ""
    taken_back: bool = False

    @property
    def verdict(self) -> Verdict:
        """Of the target, by the verification; unknown where nothing was verified."""
        return self.verification.verdict if self.verification is not None else Verdict.UNKNOWN

    def lines(self) -> list[str]:
        """The result as lines of text."""
        if self.carried_out:
            return self._carried_out_lines()
        return self._plan_lines() if self.mode == "plan" else self._outcome_lines()

    @property
    def headline(self) -> str:
        """Of a plan for what has been done, or begun: when that was, what is left, and the states of the ledger."""
        what = f"{self.planned_for} by {self.strategy}"
        total = sum(self.states.values())
        if self.taken_back:
            head = f"carried out and rolled back at {self.carried_out} ({what}): begin a new run to migrate again"
        elif self.earlier < total:
            head = (
                f"begun and broken off at {self.carried_out} ({what}): {self.earlier:,} of {total:,} operations have ended; "
                f"go on with it by migrate --{self.planned_for}"
            )
        else:
            head = f"already carried out at {self.carried_out} ({what}); nothing is left to do"
        return f"{head}; {self._ledger}"

    def _carried_out_lines(self) -> list[str]:
        lines = [self.headline]
        lines += [f"  {name}: {self._counts(counts)}" for name, counts in self.planned.items()]
        return lines + self._quarantine_lines()

    @property
    def _ledger(self) -> str:
        return "ledger: " + (", ".join(f"{s} {n:,}" for s, n in self.states.items() if n) or "no operations")

    @staticmethod
    def _counts(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{operation} {count:,}" for operation, count in counts.items())

    def _plan_lines(self) -> list[str]:
        total = sum(sum(counts.values()) for counts in self.planned.values())
        lines = [f"plan for {self.planned_for}: {total:,} operations, nothing is written"]
        for name, counts in self.planned.items():
            lines.append(f"  {name}: {self._counts(counts)}")
            for operation, ids in self.examples.get(name, {}).items():
                more = " …" if counts[operation] > len(ids) else ""
                lines.append(f"    {operation}: {', '.join(printable(one, _ID_WIDTH) for one in ids)}{more}")
        lines += [f"  left as it is: {kind} {count:,}" for kind, count in self.left.items() if count]
        lines += self._quarantine_lines()
        return lines + [f"  {caution}" for caution in self.cautions]

    def _outcome_lines(self) -> list[str]:
        head = f"{self.mode} by {self.strategy}" if self.mode != "rollback" else "rollback"
        lines = [f"{head}: {self._done()}; {self.duration_s:.1f} s" + (", resumed" if self.resumed else "")]
        lines.append(f"  {self._ledger}")
        lines += self._quarantine_lines()
        lines += [
            f"  left alone, changed by somebody else since: {c}/{i}" for c, i in self.conflicts[:_SHOWN]
        ]
        lines += [f"  {caution}" for caution in self.cautions]
        if self.verification is not None:
            lines += self.verification.lines()
        return lines

    def _done(self) -> str:
        """What was done, and how much of it by an earlier call."""
        if self.mode == "rollback":
            ended, done = self.restored, f"{self.restored:,} keys are as they were"
        else:
            given_up = self.states.get(State.QUARANTINED, 0)
            ended = self.written + self.deleted + given_up
            done = f"{self.written:,} written, {self.deleted:,} deleted, {given_up:,} in quarantine"
        if not self.earlier:
            return done
        if self.earlier == ended:
            return f"nothing was left to do ({done} before)"
        return f"{done}, {self.earlier:,} of them before"

    def _quarantine_lines(self) -> list[str]:
        lines = [f"  quarantine: {c}/{i}: {reason}" for c, i, reason in self.quarantined[:_SHOWN]]
        more = len(self.quarantined) - _SHOWN
        return [*lines, *((f"  … and {more:,} more",) if more > 0 else ())]

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in self.lines())

    def _repr_html_(self) -> str:
        rows = Markup("").join(
            Markup("<tr><td>{}</td><td>{:,}</td><td>{:,}</td><td>{:,}</td></tr>").format(
                name, counts["upsert"], counts["delete"], counts["quarantine"]
            )
            for name, counts in self.planned.items()
        )
        return Markup(
            "<table><tr><th>collection</th><th>upsert</th><th>delete</th><th>quarantine</th></tr>{}</table><pre>{}</pre>"
        ).format(rows, str(self))
