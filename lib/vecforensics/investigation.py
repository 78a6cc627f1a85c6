"""An investigation: one case, one run folder, five stages, in the order in which a person asks.

    inv = vecforensics.investigate("case.yaml")      # or a run folder, to go on with it
    inv.collect()       what was there, exactly?
    inv.diff()          which vectors are wrong, how, and where do they cluster?
    inv.reproduce()     which code path does exactly this, and in what order of events?
    inv.migrate()       does the corrected migration leave the target right?
    inv.report()        what happened, why, what was done, how do we know?

Notebooks, the command line and the runner all come through here. A stage reads what the earlier ones left in the run folder and
nothing else; what is missing is made first, so that each notebook can be run alone.

A run that is finished stays what it is. Once the report has sealed it, a stage without settings shows what was found, or finds
the same again; a rehearsal is never replaced by a shorter one; the report stands as long as nothing that it tells has changed.
What a stage writes all the same is accounted for, so that `custody` can tell it from tampering.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vecforensics.case import Case, load_case
from vecforensics.custody import accounted
from vecforensics.errors import InputError
from vecforensics.run_folder import RunFolder

if TYPE_CHECKING:
    from vecforensics.custody import Custody
    from vecforensics.diff import Diff
    from vecforensics.diff.impact.results import Neighbours
    from vecforensics.evidence import Evidence
    from vecforensics.figures import Figures
    from vecforensics.migrate import MigrationRun
    from vecforensics.race import Curve, Exploration, Rehearsal, Unexplored
    from vecforensics.report import IncidentReport

__all__ = ["Investigation", "bundled_case", "investigate"]

_ROOT = Path(__file__).resolve().parents[2]
_BUNDLED = _ROOT / "data" / "postpilot" / "case.yaml"


@dataclass(frozen=True, slots=True)
class Investigation:
    """A case and the run folder in which it is investigated."""

    case: Case
    run: RunFolder

    def collect(self, *, empty_target: bool = False, sample: int | None = None) -> Evidence:
        """Freeze both sides and the logs into the run folder; once frozen, evidence stays as it is.

        `empty_target`: a target that is empty or not there yet is no error (a first migration). `sample`: embed only so many
        records again, drawn once both sides' ids are known; what follows is an estimate.
        """
        from vecforensics.collect import collect
        from vecforensics.evidence import Evidence

        if self.run.done("collect"):
            evidence = Evidence.open(self.run.evidence)
        elif not sample:
            evidence = collect(self.case, self.run, empty_target=empty_target)
        else:
            from vecforensics.diff import choose_contents

            evidence = collect(
                self.case,
                self.run,
                empty_target=empty_target,
                sample=sample,
                choose=lambda evidence: choose_contents(self.case, evidence, sample),
            )
        return evidence.in_order(self.case.collections)

    def diff(self, **settings: Any) -> Diff:
        """Compare target with source. Settings: `sample` (None: everything), `workers`, `memory_mb`, `cluster`, `shared`."""
        from vecforensics.diff import diff_vectors
        from vecforensics.figures import draw_diff

        settings = self._as_before("diff", "sample") | settings
        self.collect(sample=settings.get("sample"))
        with accounted(self.run, "diff"):
            result = diff_vectors(self.case, self.run, **settings)
            draw_diff(self.run, result)
        return result

    def neighbours(self, collection: str, record: str, *, k: int = 10) -> Neighbours:
        """Who the nearest of a record should be, and who they are in the target as it was found."""
        from vecforensics.diff.one_record import neighbours_of

        self.collect()
        return neighbours_of(self.run, collection, record, k=k)

    def reproduce(self, **settings: Any) -> Exploration | Unexplored:
        """Explore the suspect's schedules. Settings: `records`, `schedules`, `seed`, `faults`."""
        from vecforensics.race import reproduce

        self.collect()
        if not settings and (known := self._explored(self.run.witness_json)):
            return known
        with accounted(self.run, "reproduce"):
            return reproduce(self.case, self.run, **settings)

    def prove(self, **settings: Any) -> Exploration | Unexplored:
        """Explore the corrected code exhaustively. Settings: `records`, `schedules`, `seed`."""
        from vecforensics.race import prove_corrected

        self.collect()
        if not settings and (known := self._explored(self.run.corrected_json)):
            return known
        with accounted(self.run, "reproduce"):
            return prove_corrected(self.case, self.run, **settings)

    def _explored(self, file: Path) -> Exploration | None:
        """What was explored in a run that is finished; None where it is not, or where there is nothing."""
        from vecforensics.race import exploration_from_json

        if not self.finished or not file.is_file():
            return None
        return exploration_from_json(file.read_text(encoding="utf-8"), str(file))

    def rehearse(self, *, runs: int | None = None) -> Rehearsal | Unexplored:
        """Both migrations many times in simulated conditions: error rate, latency, crashes.

        `runs`: how often; by default as the case says. A rehearsal of more runs that stands in the run already is shown instead.
        """
        from vecforensics.figures import draw_rehearsal
        from vecforensics.race import Rehearsal, rehearse_case

        self.collect()
        if runs is not None and (known := self._longer_rehearsal(runs)):
            return known
        with accounted(self.run, "reproduce"):
            result = rehearse_case(self.case, self.run, runs=runs)
            if isinstance(result, Rehearsal):
                draw_rehearsal(self.run, result)
        return result

    def _longer_rehearsal(self, runs: int) -> Rehearsal | None:
        from vecforensics.race import Rehearsal

        with suppress(FileNotFoundError, ValueError):  # what is damaged is no rehearsal
            known = Rehearsal.from_json(self.run.rehearsal_json.read_text(encoding="utf-8"))
            return known if len(known.before) > runs else None
        return None

    def failure_curve(self, **settings: Any) -> Curve | Unexplored:
        """How likely the suspect fails, over the number of connections to the provider. Settings: `records`, `runs`."""
        from vecforensics.figures import draw_curve
        from vecforensics.race import Curve, failure_curve_of_case

        self.collect()
        with accounted(self.run, "reproduce"):
            result = failure_curve_of_case(self.case, self.run, **settings)
            if isinstance(result, Curve):
                draw_curve(self.run, result)
        return result

    def migrate(self, mode: str = "plan", **settings: Any) -> MigrationRun:
        """Plan, apply, repair or roll back the corrected migration. Settings: `strategy`, `concurrency`, `replace_all`,
        `accept_loss`."""
        from vecforensics.migrate import migrate

        self.collect(empty_target=mode == "apply")
        if mode in ("plan", "repair") and not self.run.done("diff"):
            self.diff()
        settings = self._as_before("migrate", "strategy") | settings
        with accounted(self.run, "migrate"):
            return migrate(self.case, self.run, mode=mode, **settings)

    def figures(self, stage: str) -> Figures:
        """What a stage drew: "diff" or "reproduce"."""
        from vecforensics.figures import figures_of

        return figures_of(self.run, stage)

    def _as_before(self, stage: str, setting: str) -> dict[str, Any]:
        """What a stage of a run that is finished was given: left out, it is meant again, so that the stage finds the same."""
        entry = self.run.journal()["stages"].get(stage, {}) if self.finished else {}
        given = entry.get("parameters", {}).get(setting)
        return {} if given is None else {setting: given}

    @property
    def finished(self) -> bool:
        """Whether the report has been written and the run sealed."""
        return self.run.done("report") and self.run.manifest_json.is_file()

    def report(self, *, anew: bool = False) -> IncidentReport:
        """Write the incident report from whatever stands in the run folder, and seal the run.

        Where that has been done, and nothing was written since, the report and its seal stand; `anew` writes them all the same.
        """
        from vecforensics.report import standing_report, write_report

        if not anew and self.finished:
            custody = self.custody()
            if custody.intact and not custody.amended:
                return standing_report(self.case, self.run)
        return write_report(self.case, self.run)

    def custody(self) -> Custody:
        """Whether everything in the run folder is still what it was when the report was sealed."""
        from vecforensics.custody import verify_run
        from vecforensics.migrate import check_ledger

        return verify_run(self.run, check_ledger=check_ledger)

    def _repr_html_(self) -> str:
        from markupsafe import escape

        return f"<p><b>{escape(self.case.case)}</b> {escape(self.case.title)}<br><code>{escape(self.run.path)}</code></p>"

    def __str__(self) -> str:
        from vecforensics.errors import printable

        return f"{printable(self.case.case)}: {printable(self.case.title)}\n{printable(self.run.path)}"


def bundled_case() -> Path:
    """The case file of ERR-2026-57; its data are made at first use. Raises InputError outside a checkout."""
    if not _BUNDLED.is_file():
        raise InputError(
            "the bundled case is not there",
            where=str(_BUNDLED),
            hint="Work in a checkout, or name a case file",
        )
    from vecforensics.postpilot import is_made, make_case

    if not is_made(_BUNDLED.parent):
        make_case(_BUNDLED.parent)
    return _BUNDLED


def investigate(where: str | Path = "", out: str | Path | None = None) -> Investigation:
    """Begin or go on: `where` is a case file (begins a run below `out`), a run folder, or "" for the bundled case.

    With "" the newest run of the bundled case is taken up again, so that notebooks opened one after the other share it.
    `out` is `reports/` of the checkout unless given. A relative run folder may also be named from the checkout, so that a
    notebook finds it whatever its working folder is.
    """
    below = (
        Path(out)
        if out is not None
        else _ROOT / "reports"
        if (_ROOT / "notebooks").is_dir()
        else Path("reports")
    )
    for place in (Path(where), _ROOT / where) if where else ():
        if RunFolder.is_run(place):
            run = RunFolder.open(place)
            return Investigation(run.case(), run)
    if not where:
        file = bundled_case()
        case = load_case(file)
        latest = RunFolder.latest(below, case.case)
        if latest is not None:
            return Investigation(latest.case(), latest)
    else:
        file = bundled_case() if Path(where).resolve() == _BUNDLED else Path(where)
        if not file.exists() and file.suffix not in (".yaml", ".yml"):
            raise InputError(
                "this is neither a run folder nor a case file",
                where=str(where),
                hint="Name one of them; a case file is written by: vecforensics init",
            )
        case = load_case(file)
    return Investigation(case, RunFolder.begin(file, case, below))
