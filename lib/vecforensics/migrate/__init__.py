"""Migrate: does the corrected migration leave the target right, whatever happens?

    plan       says what would be done, and writes nothing to the store; the default
    apply      the whole migration into the target, made right whatever stands there
    repair     only what the diff proved bad
    rollback   what stood before, from the pre-images of the ledger; also after a run that broke off

One run folder holds one migration: a second `apply` or `repair` in it goes on with the first where that broke off, and only
verifies where it had ended.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vecforensics.case import Case
from vecforensics.errors import CaseError, EvidenceError
from vecforensics.evidence import Evidence, damage_named
from vecforensics.migrate.cautions import ACCEPT_LOSS, REPLACE_ALL, cautions
from vecforensics.migrate.chain import State
from vecforensics.migrate.ledger import Ledger, check_ledger
from vecforensics.migrate.plan import QUARANTINE, Plan, differences, make_plan
from vecforensics.migrate.result import MigrationRun
from vecforensics.migrate.sealed import refuse_what_changed
from vecforensics.migrate.strategies import STRATEGIES, load_strategy
from vecforensics.migrate.verification import Verification
from vecforensics.progress import progress as terminal_progress
from vecforensics.retry import Retry
from vecforensics.run_folder import RunFolder, write_json

__all__ = [
    "MODES",
    "STRATEGIES",
    "MigrationRun",
    "Retry",
    "Verification",
    "check_ledger",
    "migrate",
    "what_was_done",
]

MODES = ("apply", "plan", "repair", "rollback")
_EXAMPLES = 5
_QUARANTINE_SHOWN = 1_000

Progress = Callable[[int, int], None]


def migrate(
    case: Case,
    run: RunFolder,
    *,
    mode: str = "plan",
    strategy: str = "waves",
    concurrency: int = 1_024,
    retry: Retry | None = None,
    progress: Progress | None = None,
    replace_all: bool = False,
    accept_loss: bool = False,
) -> MigrationRun:
    """Plan, carry out or undo the corrected migration of a case whose evidence lies in `run`.

    `concurrency`: records under way at once (serial: always one). `progress`: called with operations ended and operations in all;
    a bar on the terminal where None. `replace_all`, `accept_loss`: write although the expectation looks wrong, or although not
    everything can be kept that the case does not name; without them that is a CaseError or a TargetError (`cautions.py`). Raises
    EvidenceError where the evidence, the findings or the source changed since they were made, or a resumed plan is no longer the
    one that was begun; RunLocked where another process works on the run; ToolFailed where the store or the embedder is out of
    reach (the same call then goes on where it stopped).
    """
    if mode not in MODES:
        raise CaseError(f"no mode {mode!r}", where="migrate", hint=f"Known: {', '.join(MODES)}")
    load_strategy(strategy, concurrency)
    evidence = Evidence.open(run.evidence)
    retry = retry or Retry()
    settings = {"mode": mode, "strategy": strategy, "concurrency": concurrency}
    chosen = {flag for flag, given in ((REPLACE_ALL, replace_all), (ACCEPT_LOSS, accept_loss)) if given}
    with run.stage("migrate", settings), damage_named(run.evidence):
        if mode == "plan":
            return _plan(case, run, evidence, strategy)
        began = time.monotonic()
        with _shown(f"{mode} ({strategy})", progress) as show:
            if mode == "rollback":
                return _rollback(case, run, evidence, retry, show, began)
            return _carry_out(case, run, evidence, mode, strategy, concurrency, retry, show, began, chosen)


def _plan(case: Case, run: RunFolder, evidence: Evidence, strategy: str) -> MigrationRun:
    before = what_was_done(run)
    if before is not None:
        return before
    planned_for = "repair" if run.findings_parquet.is_file() else "apply"
    plan = make_plan(case, run, evidence, mode=planned_for, strategy=strategy)
    write_json(run.plan_json, plan.as_dict())
    return MigrationRun(
        mode="plan",
        strategy=strategy,
        run=run.path,
        planned=plan.counts(),
        planned_for=planned_for,
        examples=_examples(plan),
        left=plan.left,
        quarantined=[(c, i, reason) for (c, i), reason in plan.quarantined.items()][:_QUARANTINE_SHOWN],
        cautions=[one.line for one in cautions(case, evidence, plan, run.findings_parquet)],
    )


def what_was_done(run: RunFolder) -> MigrationRun | None:
    """What the ledger of a run says of its migration, as the answer to a plan for it; None where none was begun. Raises
    EvidenceError where the ledger is damaged."""
    if not Ledger.begun(run.ledger_sqlite):
        return None
    with Ledger.open(run.ledger_sqlite) as ledger:
        begun, counts = ledger.notes("plan")[0], ledger.counts()
        earlier = counts[State.DONE] + counts[State.QUARANTINED]
        strategy = begun["settings"]["strategy"]
        outcome = _outcome("plan", strategy, run, ledger, None, time.monotonic(), earlier, resumed=False)
        return dataclasses.replace(
            outcome,
            planned_for=begun["mode"],
            carried_out=ledger.last_step(),
            taken_back=bool(ledger.notes("rollback")),
        )


def _examples(plan: Plan) -> dict[str, dict[str, list[str]]]:
    shown: dict[str, dict[str, list[str]]] = {}
    for chunk in plan.chunks:
        for collection, record_id in chunk.keys:
            ids = shown.setdefault(collection, {}).setdefault(chunk.kind, [])
            if len(ids) < _EXAMPLES:
                ids.append(record_id)
    return shown


def _carry_out(
    case: Case,
    run: RunFolder,
    evidence: Evidence,
    mode: str,
    strategy: str,
    concurrency: int,
    retry: Retry,
    show: Progress,
    began: float,
    chosen: set[str],
) -> MigrationRun:
    from vecforensics.migrate.apply import carry_out
    from vecforensics.migrate.verify import changed_sources, verify_target

    damaged = evidence.verify()
    if damaged:
        raise EvidenceError(
            f"the evidence is not what was frozen ({damaged[0]})",
            where=str(run.evidence),
            hint="Begin a new run",
        )
    refuse_what_changed(run, evidence)
    changed = [name for name, state in changed_sources(case, run).items() if state == "changed"]
    if changed:
        raise EvidenceError(
            f"the {changed[0]} changed since the evidence was collected, so the plan would write what is no longer so",
            where=str(run.path),
            hint="Begin a new run: vecforensics collect CASE.yaml",
        )
    plan = make_plan(case, run, evidence, mode=mode, strategy=strategy)
    frozen = plan.as_dict()
    resumed = Ledger.begun(run.ledger_sqlite)
    said = [] if resumed else cautions(case, evidence, plan, run.findings_parquet)
    for one in said:
        if one.flag and one.flag not in chosen:
            raise one.refusal(f"vecforensics migrate {run.path} --{mode}")
    with _opened(run, plan, frozen, resumed) as ledger:
        if said:
            ledger.note("cautions", {"chosen": sorted(chosen), "said": [one.text for one in said]})
        # What was chosen at the beginning holds for whoever goes on with it.
        chosen = chosen.union(*(note["chosen"] for note in ledger.notes("cautions")))
        before = ledger.counts()
        for operation in ledger.operations(QUARANTINE):
            if ledger.state(operation.op) is State.PLANNED:
                reason = plan.quarantined[(operation.collection, operation.id)]
                ledger.advance([operation.op], State.QUARANTINED, reason)
        carry_out(
            case,
            evidence,
            plan,
            ledger,
            load_strategy(strategy, concurrency),
            retry,
            show,
            accept_loss=ACCEPT_LOSS in chosen,
        )
        verification = verify_target(case, run, evidence, ledger)
        ledger.note("verified", {"verdict": verification.verdict.value})
        earlier = before[State.DONE] + before[State.QUARANTINED]
        outcome = _outcome(mode, strategy, run, ledger, verification, began, earlier, resumed=resumed)
        return dataclasses.replace(outcome, left=plan.left, cautions=[one.said for one in said])


@contextmanager
def _opened(run: RunFolder, plan: Plan, frozen: dict[str, object], resumed: bool) -> Iterator[Ledger]:
    """The ledger of this plan: a new one, or the one that was begun, if it was begun with the same plan."""
    if not resumed:
        write_json(run.plan_json, frozen)
        summary = {key: frozen[key] for key in ("mode", "digest", "settings")}
        with Ledger.create(run.ledger_sqlite, plan.operations(), summary) as ledger:
            yield ledger
        return
    with Ledger.open(run.ledger_sqlite) as ledger:
        if ledger.notes("rollback"):
            raise EvidenceError(
                "this migration was rolled back",
                where=str(run.path),
                hint="Begin a new run: vecforensics collect CASE.yaml",
            )
        begun = ledger.notes("plan")[0]
        if begun["digest"] != frozen["digest"]:
            changed = differences({"format": frozen["format"], **begun}, frozen)
            raise EvidenceError(
                f"the plan is no longer the one that was begun here (changed: {', '.join(changed)})",
                where=str(run.ledger_sqlite),
                hint="Go on with what it was begun with, roll it back, or begin a new run",
            )
        if run.read_json(run.plan_json, made_by="migrate --plan") != frozen:
            raise EvidenceError(
                "is not the plan that was begun (the ledger knows its digest)",
                where=str(run.plan_json),
                hint="Restore it from a copy, or begin a new run",
            )
        ledger.note("resumed", {state.value: count for state, count in ledger.counts().items() if count})
        yield ledger


def _rollback(
    case: Case, run: RunFolder, evidence: Evidence, retry: Retry, show: Progress, began: float
) -> MigrationRun:
    from vecforensics.migrate.rollback import roll_back
    from vecforensics.migrate.verify import verify_target

    with Ledger.open(run.ledger_sqlite) as ledger:
        begun = ledger.notes("plan")[0]
        moved = [
            name
            for name, settings in begun["settings"]["collections"].items()
            if name not in case.collections
            or case.collections[name].target.model_dump() != settings["target"]
        ]
        if moved:
            raise EvidenceError(
                f"the target of {moved[0]!r} is no longer the one that was written to",
                where=str(run.path),
                hint="Roll back with the case file of that run",
            )
        earlier = ledger.counts()[State.ROLLED_BACK]
        ledger.note("rollback", {})
        conflicts = roll_back(case, evidence, ledger, retry, show)
        verification = verify_target(case, run, evidence)
        ledger.note("verified", {"verdict": verification.verdict.value})
        strategy = begun["settings"]["strategy"]
        outcome = _outcome("rollback", strategy, run, ledger, verification, began, earlier, resumed=False)
        return dataclasses.replace(outcome, conflicts=[(one.collection, one.id) for one in conflicts])


def _outcome(
    mode: str,
    strategy: str,
    run: RunFolder,
    ledger: Ledger,
    verification: Verification | None,
    began: float,
    earlier: int,
    *,
    resumed: bool,
) -> MigrationRun:
    operations = {operation.op: operation for operation in ledger.operations()}
    done = [op for op in operations if ledger.state(op) is State.DONE]
    # Who was quarantined, taken back and quarantined again counts once, with the last reason.
    reasons = {
        entry.op: entry.detail
        for entry in ledger.entries(State.QUARANTINED)
        if ledger.state(entry.op) is State.QUARANTINED
    }
    quarantined = [(operations[op].collection, operations[op].id, reason) for op, reason in reasons.items()]
    counts = ledger.counts()
    planned: dict[str, dict[str, int]] = {}
    for one in operations.values():
        row = planned.setdefault(one.collection, {"upsert": 0, "delete": 0, "quarantine": 0})
        row["quarantine" if one.chunk == QUARANTINE else one.kind] += 1
    return MigrationRun(
        mode=mode,
        strategy=strategy,
        run=run.path,
        planned=planned,
        planned_for=mode,
        states={state.value: count for state, count in counts.items()},
        written=sum(operations[op].kind == "upsert" for op in done),
        deleted=sum(operations[op].kind == "delete" for op in done),
        restored=counts[State.ROLLED_BACK],
        earlier=earlier,
        quarantined=quarantined[:_QUARANTINE_SHOWN],
        duration_s=time.monotonic() - began,
        resumed=resumed,
        verification=verification,
    )


@contextmanager
def _shown(label: str, progress: Progress | None) -> Iterator[Progress]:
    """The caller's progress, or a bar on the terminal that is told the difference."""
    if progress is not None:
        yield progress
        return
    with terminal_progress(label) as advance:
        last = 0

        def show(done: int, total: int) -> None:
            nonlocal last
            advance(done - last)
            last = done

        yield show
