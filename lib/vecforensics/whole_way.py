"""The whole way, headless: the five notebooks through papermill, then the verdict of the run.

Evidence is collected before the first notebook starts, in this process: input that cannot be used is then one line and exit 2,
not a failed notebook. A notebook that fails nevertheless leaves its executed copy and a report that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vecforensics.custody import write_manifest
from vecforensics.errors import ToolFailed, printable
from vecforensics.investigation import Investigation
from vecforensics.runner import run_notebooks

__all__ = ["RunVerdict", "run_all", "verdict_of"]

_NOTEBOOKS: Final = (
    "01_collect_evidence",
    "02_diff_vectors",
    "03_reproduce_race",
    "04_corrected_migration",
    "05_incident_report",
)


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What a run found, and what its repair left: the verdict of the diff, that of the verification ("" where none was made).

    `estimate`: the diff's sentence about what was not looked at, where contents were sampled.
    """

    found: str
    repaired: str
    headline: str
    estimate: str
    report: Path

    def exit_code(self, fail_on: str) -> int:
        """0 clean, 1 corrupt, 3 unknown; `unrepaired` looks at the target as the repair left it, `never` is always 0."""
        if fail_on == "never":
            return 0
        verdict = self.repaired if fail_on == "unrepaired" and self.repaired else self.found
        return {"clean": 0, "corrupt": 1}.get(verdict, 3)

    def __str__(self) -> str:
        lines = [printable(self.headline)]
        if self.estimate:
            lines.append(f"This is {printable(self.estimate)}")
        return "\n".join([*lines, f"Report: {printable(self.report)}"])


def run_all(inv: Investigation, *, apply: bool, sample: int | None) -> RunVerdict:
    """Run all five notebooks on `inv`. Raises ToolFailed where one fails, after a report was written that says so."""
    inv.collect(sample=sample)
    run = str(inv.run.path)
    extra: dict[str, dict[str, Any]] = {
        "02_diff_vectors": {"sample": sample or 0},
        "04_corrected_migration": {"apply": apply},
    }
    try:
        run_notebooks(inv.run, {name: {"run": run, **extra.get(name, {})} for name in _NOTEBOOKS})
    except ToolFailed as failure:
        inv.run.note(status="failed", error=str(failure))
        inv.report()
        raise
    inv.run.note(status="done")
    # The last notebook sealed the run from inside; now its own executed copy is there too.
    write_manifest(inv.case, inv.run)
    return verdict_of(inv)


def verdict_of(inv: Investigation) -> RunVerdict:
    """What stands in the run folder of a case that was investigated."""
    found = inv.run.read_json(inv.run.findings_json, made_by="diff")
    verified = inv.run.verification_json
    repaired = (
        inv.run.read_json(verified, made_by="migrate --repair")["verdict"] if verified.is_file() else ""
    )
    total = sum(one["source_rows"] for one in found["collections"].values())
    # A sample that took in everything estimates nothing.
    sampled = found["estimate"] if found["estimate"] and found["estimate"]["estimate"] else None
    least = "at least " if sampled else ""
    headline = (
        f"{inv.case.case}: {found['verdict']}, {least}{found['records_corrupt']:,} of {total:,} records"
    )
    foreign = found["rows_corrupt"] - found["records_corrupt"]
    if foreign:
        headline += f" and {foreign:,} target rows without a record"
    if repaired:
        headline += f"; after the repair: {repaired}"
    estimate = sampled["sentence"] if sampled else ""
    return RunVerdict(found["verdict"], repaired, headline, estimate, inv.run.report_html)
