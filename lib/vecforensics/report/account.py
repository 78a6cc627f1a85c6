"""Everything that the report knows: what lies in the run folder, read once, with the reason beside whatever is not there.

No stage is asked anything: a report can be written from a run folder alone, also from one whose notebook failed half way. What a
section needs and does not find is a `Part` without facts; its `state` says whether the stage never ran, failed, was interrupted
or left a damaged file, and its `verb` is the command that makes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from vecforensics.case import Case
from vecforensics.custody import InputDigest, inputs_of
from vecforensics.findings import SEVERITY, Kind, Severity, Verdict
from vecforensics.report.blocks import Picture
from vecforensics.report.events import LogDigest, read_log_digest
from vecforensics.report.facts import Facts, read_facts
from vecforensics.report.figures import read_pictures
from vecforensics.report.ledger import LedgerDigest, read_ledger_digest
from vecforensics.report.wording import quoted, share
from vecforensics.run_folder import RunFolder

__all__ = ["VERBS", "Account", "Part", "StageState", "in_order", "read_account"]

# The verb of the command line that runs each stage.
VERBS: Final[Mapping[str, str]] = {
    "collect": "collect",
    "diff": "diff",
    "reproduce": "race",
    "migrate": "migrate",
    "report": "report",
}
_TEXT_LIMIT: Final = 400_000


class StageState(StrEnum):
    """How far a stage came."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the run and the stage that makes it. `why` is set where there are no facts."""

    stage: str
    facts: Facts
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.facts)


@dataclass(frozen=True, slots=True)
class Account:
    """What is known. `collections`: the diff's account of each, in the order of the case file. `inputs` are the digests that were
    taken when the evidence was collected, `inputs_now` those of this moment. `story` is the race stage's prose, `notes` the
    analyst's; "" where there is none.
    """

    case: Case
    run: RunFolder
    journal: Facts
    findings: Part
    collections: Mapping[str, Facts]
    exploration: Part
    corrected: Part
    rehearsal: Part
    plan: Part
    verification: Part
    logs: LogDigest
    ledger: LedgerDigest | None
    inputs: Facts
    inputs_now: tuple[InputDigest, ...]
    evidence: Facts
    story: str = ""
    notes: str = ""
    swimlanes: bytes = b""
    pictures: tuple[tuple[str, Picture], ...] = ()
    stages: Mapping[str, Facts] = field(default_factory=dict)

    # --- verdict and figures ---------------------------------------------------------------------------------------

    @property
    def verdict(self) -> Verdict:
        """What the diff said of the target as it was found; unknown where it did not."""
        try:
            return Verdict(self.findings.facts.text("verdict"))
        except ValueError:
            return Verdict.UNKNOWN

    @property
    def estimate(self) -> Facts:
        """Filled where contents were only sampled; a sample that took in all of them estimates nothing."""
        estimate = self.findings.facts.facts("estimate")
        return Facts() if estimate.flag("estimate") is False else estimate

    @property
    def estimated_share(self) -> str:
        """The estimated share of wrong contents, from and to where some could not be judged; empty where none is given."""
        rate, most = (self.estimate.number(key) for key in ("rate", "rate_most"))
        if rate is None:
            return ""
        return share(rate) if most is None or most <= rate else f"{share(rate)} to {share(most)}"

    @property
    def source_rows(self) -> int:
        return sum(facts.count("source_rows") for facts in self.collections.values())

    @property
    def records_corrupt(self) -> int:
        """Source records that are damaged; what the target holds beyond them is counted by kind (`orphan`)."""
        return self.findings.facts.count("records_corrupt")

    def count(self, kind: Kind, collection: str | None = None) -> int:
        """Findings of a kind, in all or in one collection."""
        if collection is None:
            return self.findings.facts.facts("counts").count(kind.value)
        return self.collections.get(collection, Facts()).facts("counts").count(kind.value)

    @property
    def broken_references(self) -> int:
        """Dangling records whose parent the source does not have either."""
        return sum(facts.count("broken_references") for facts in self.collections.values())

    def caused(self, kind: Kind) -> int:
        """Findings of a kind that a migration can have caused: references that are broken in the source were so before it."""
        return self.count(kind) - (self.broken_references if kind is Kind.DANGLING else 0)

    @property
    def corrupt_kinds(self) -> tuple[Kind, ...]:
        """Corrupt kinds that were found, in their fixed order."""
        return tuple(k for k in Kind if SEVERITY[k] is Severity.CORRUPT and self.count(k))

    # --- race ------------------------------------------------------------------------------------------------------

    @property
    def witness(self) -> Facts:
        return self.exploration.facts.facts("witness")

    @property
    def race_verdict(self) -> str:
        """`failing`, `proved`, `sampled`, or "" where nothing was explored."""
        return self.exploration.facts.text("verdict")

    # --- repair ----------------------------------------------------------------------------------------------------

    @property
    def applied(self) -> bool:
        """Whether a repair was written to the target (and not only planned)."""
        return self.ledger is not None and self.ledger.applied > 0

    @property
    def broke_off(self) -> bool:
        """Whether a repair was begun and has not come to its end."""
        return self.ledger is not None and self.ledger.broke_off

    @property
    def roll_back_broke_off(self) -> bool:
        """Whether somebody began to take a repair back, and that has not come to its end."""
        return self.ledger is not None and self.ledger.roll_back_broke_off

    @property
    def taken_back(self) -> bool:
        """Whether a repair was written and rolled back, as far as nobody had changed the rows meanwhile."""
        if self.ledger is None or self.roll_back_broke_off:
            return False
        return self.ledger.rolling_back or (not self.ledger.applied and self.ledger.rolled_back > 0)

    @property
    def repaired(self) -> Verdict | None:
        """What the independent verification said after the repair; None where nothing was verified, or nothing of it stands."""
        if self.taken_back or self.broke_off or self.roll_back_broke_off:
            return None
        try:
            return Verdict(self.verification.facts.text("verdict"))
        except ValueError:
            return None

    # --- stages ----------------------------------------------------------------------------------------------------

    def stage_state(self, stage: str) -> StageState:
        try:
            return StageState(self.stages.get(stage, Facts()).text("status", "not run"))
        except ValueError:
            return StageState.NOT_RUN

    def stage_seconds(self, stage: str) -> float | None:
        entry = self.stages.get(stage, Facts())
        try:
            began = datetime.fromisoformat(entry.text("began"))
            return (datetime.fromisoformat(entry.text("ended")) - began).total_seconds()
        except (ValueError, TypeError):
            return None

    @property
    def base(self) -> Path:
        """The folder that commands are written for: the nearest one above both the case file and the run folder."""
        try:
            common = Path(os.path.commonpath([self.case.folder, self.run.path]))
        except ValueError:
            return Path(self.run.path.anchor)
        return common

    def shown_path(self, path: Path) -> str:
        """`path` as a command names it: relative to `base`, unless that is the root."""
        base = self.base
        return str(path) if base == Path(base.anchor) else os.path.relpath(path, base)

    @property
    def run_path(self) -> str:
        return self.shown_path(self.run.path)

    @property
    def case_path(self) -> str:
        return self.shown_path(self.case.folder / self.journal.text("case_file", "case.yaml"))

    def command(self, stage: str, *options: str) -> str:
        """The command that runs a stage of this run."""
        return quoted("vecforensics", VERBS[stage], self.run_path, *options)


def read_account(case: Case, run: RunFolder) -> Account:
    """Read a run folder. Raises EvidenceError only where `run.json` itself cannot be read."""
    journal = Facts(run.journal())
    stages = dict(journal.items("stages"))

    def part(stage: str, path: Path) -> Part:
        facts, why = read_facts(path)
        return Part(stage, facts, why or ("" if facts else "is empty"))

    findings = part("diff", run.findings_json)
    return Account(
        case=case,
        run=run,
        journal=journal,
        findings=findings,
        collections=dict(in_order(case, findings.facts, "collections")),
        exploration=part("reproduce", run.witness_json),
        corrected=part("reproduce", run.corrected_json),
        rehearsal=part("reproduce", run.rehearsal_json),
        plan=part("migrate", run.plan_json),
        verification=part("migrate", run.verification_json),
        logs=read_log_digest(run.evidence / "logs.jsonl"),
        ledger=read_ledger_digest(run.ledger_sqlite),
        inputs=read_facts(run.evidence / "inputs.json")[0],
        inputs_now=tuple(inputs_of(case)),
        evidence=read_facts(run.evidence / "evidence.json")[0],
        story=_text(run.race / "witness.md"),
        notes=_text(run.notes_md),
        swimlanes=_bytes(run.race / "swimlanes.svg"),
        pictures=read_pictures(run),
        stages=stages,
    )


def in_order(case: Case, facts: Facts, key: str) -> list[tuple[str, Facts]]:
    """An object of objects by collection, in the order of the case file; names that it does not know come last."""
    order = {name: number for number, name in enumerate(case.collections)}
    return sorted(facts.items(key), key=lambda item: (order.get(item[0], len(order)), item[0]))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_TEXT_LIMIT * 8)
    except OSError:
        return b""


def _text(path: Path) -> str:
    return _bytes(path)[:_TEXT_LIMIT].decode("utf-8", "replace")
