"""The first sentence: how much is corrupt, where, why, and whether it was repaired. Facts only, each from a file of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vecforensics.findings import Kind, Verdict
from vecforensics.report.account import Account, StageState
from vecforensics.report.blocks import visible
from vecforensics.report.crash import Crash, crash_of
from vecforensics.report.explanation import explained, left_to_explain, unexplained, unrehearsed
from vecforensics.report.ledger import LedgerDigest
from vecforensics.report.wording import count, listing, plural, share

__all__ = [
    "cause_phrase",
    "headline",
    "progress_of_repair",
    "progress_of_roll_back",
    "repair_phrase",
    "spelled",
]

_MOST_KINDS: Final = 4


def headline(account: Account) -> str:
    """One sentence for a board and an engineer alike."""
    found = _found(account)
    if account.verdict is not Verdict.CORRUPT:
        return found
    return "; ".join((found, cause_phrase(account), repair_phrase(account))) + "."


def _found(account: Account) -> str:
    if not account.findings:
        state = account.stage_state("diff")
        how = (
            "failed"
            if state is StageState.FAILED
            else "did not finish"
            if state is StageState.RUNNING
            else "has not been run"
        )
        return f"Nothing is known about the target yet: the comparison of vectors {how}."
    rows, checked = account.source_rows, account.findings.facts.count("rows_checked")
    if account.verdict is Verdict.CLEAN:
        return f"No corruption: all {plural(rows, 'record')} in the target were checked and are right."
    if account.verdict is Verdict.UNKNOWN:
        left = max(rows - checked, 0)
        return (
            f"Nothing corrupt was found, but {count(left)} of {plural(rows, 'record')} could not be checked: "
            "the target is not known to be clean."
            if left
            else f"Nothing corrupt was found among {plural(rows, 'record')}, but not everything could be checked: "
            "the target is not known to be clean."
        )
    verb = "were" if account.applied and account.repaired is Verdict.CLEAN else "are"
    where = listing(
        [visible(name, 40) for name, facts in account.collections.items() if facts.count("records_corrupt")]
    )
    bad = account.records_corrupt
    if not bad:
        kinds = [f"{count(account.count(kind))} {spelled(kind)}" for kind in account.corrupt_kinds]
        return f"No source record is damaged, but the target holds what it should not: {listing(kinds)}"
    subject = f"{count(bad)} of {plural(rows, 'record')} ({share(bad, rows)})"
    found = f"{subject} in the target {verb} corrupt" + (f", in {where}" if where else "")
    return f"At least {found}, contents being sampled ({_estimated(account)})" if account.estimate else found


def _estimated(account: Account) -> str:
    """The estimate in a clause."""
    if not account.estimated_share:
        return "an estimate"
    low, high = (account.estimate.number(key) for key in ("low", "high"))
    between = f", interval {share(low)} to {share(high)}" if low is not None and high is not None else ""
    return f"estimated share of wrong contents {account.estimated_share}{between}"


def cause_phrase(account: Account) -> str:
    """The causes in a clause each, what explains most of the damage first, or that they are not known."""
    crash = crash_of(account)
    if crash is None or not crash.missing:
        return _cause_in_code(account)
    died = f"the process died of an error that nothing caught ({visible(crash.error, 100)})"
    if not explained(account) and not unexplained(account):
        return f"cause: {died}"
    by_crash = f"cause of {plural(crash.missing, 'missing row')}: {died}"
    by_code = _cause_in_code(account, crash)
    behind = sum(left_to_explain(account, kind) for kind in explained(account))
    return "; ".join((by_crash, by_code) if crash.missing >= behind else (by_code, by_crash))


def _cause_in_code(account: Account, crash: Crash | None = None) -> str:
    """What the race laboratory found, as the cause of all damage or of what the crash leaves."""
    of_rest = " of the rest" if crash is not None else ""
    if not account.exploration:
        return f"cause{of_rest} not examined" + (
            "" if account.case.suspect else ", since the case names no code"
        )
    suspect = account.exploration.facts.text("suspect") or account.case.suspect or "the migration"
    suspect = visible(_file_name(suspect), 60)
    match account.race_verdict:
        case "failing":
            return _cause_found(account, suspect, of_rest)
        case "proved":
            return f"cause{of_rest} not found: {suspect} has no failing order of events at the size examined"
        case "sampled":
            return f"cause{of_rest} not found: no failing order of events among those tried in {suspect}"
    return f"cause{of_rest} not established"


def _cause_found(account: Account, suspect: str, of_rest: str) -> str:
    """A race was found: what it does, and of which damage it is the cause; only likely the cause where no rehearsal shows it."""
    does = f"{suspect} {_what_it_does(account)}"
    if account.broken_references:
        does += f" ({plural(account.broken_references, 'dangling reference')} to no record of the source left aside)"
    known, rest = explained(account), unexplained(account)
    if not known:
        return (
            f"cause{of_rest} not found: {does}, which explains none of {'it' if of_rest else 'this damage'}"
        )
    calm = unrehearsed(account)
    cause = "likely cause" if calm else "cause"
    does += f", though in none of {plural(calm, 'rehearsal')}" if calm else ""
    if not rest:
        return f"{cause} of {_amounts(account, known)}: {does}" if of_rest else f"{cause}: {does}"
    return (
        f"{cause} of {_amounts(account, known)}: {does}; not explained: {_amounts(account, rest, other=True)}"
    )


def _amounts(account: Account, kinds: Sequence[Kind], *, other: bool = False) -> str:
    """ "103 missing and 5 dangling rows", or only their number where there are many kinds."""
    found = sum(left_to_explain(account, kind) for kind in kinds)
    if len(kinds) > _MOST_KINDS:
        return f"{plural(found, 'finding')} of {len(kinds)} {'other ' if other else ''}kinds"
    each = listing([f"{count(left_to_explain(account, kind))} {spelled(kind)}" for kind in kinds])
    return f"{each} row{'s' if found != 1 else ''}"


def _file_name(suspect: str) -> str:
    """ "/src/migration.js:migrate" -> "migration.js"; a module keeps its whole reference."""
    name = suspect.rsplit("/", 1)[-1]
    file, colon, _ = name.partition(":")
    return file if colon and file.endswith((".js", ".mjs", ".cjs", ".py")) else name


# What the witness shows, the most telling first: the trouble or kind, and what the code does that brings it about.
_MECHANISMS: Final = (
    ("task_left_behind", "returns while its own writes are still under way"),
    ("never_awaited", "starts work that nothing awaits"),
    ("deadlock", "waits for itself and never ends"),
    ("premature", "writes records before what they depend on"),
    ("dangling", "writes records before what they depend on"),
    ("swapped", "mixes up the vectors of records that are under way together"),
    ("shifted", "joins vectors to records by position"),
    ("broadcast", "writes one vector for several records"),
    ("stale", "lets an older version overwrite a newer one"),
    ("lost_error", "loses the errors of its own writes"),
    ("duplicate", "writes a record twice under different ids"),
    ("mangled_id", "writes under ids that are not the records'"),
    ("missing", "loses records in some orders of events"),
)


def _what_it_does(account: Account) -> str:
    """The mechanism in a clause."""
    shown = set(account.witness.texts("kinds")) | set(
        account.witness.facts("trace").facts("outcome").texts("kinds")
    )
    return next((says for name, says in _MECHANISMS if name in shown), "fails in some orders of events")


def repair_phrase(account: Account) -> str:
    """What was done about it, as far as it was proved."""
    ledger = account.ledger
    if ledger is not None and account.taken_back:
        left = (
            f", but for {plural(ledger.applied, 'row')} that somebody changed since" if ledger.applied else ""
        )
        return f"a repair was applied and taken back{left}"
    if ledger is not None and account.roll_back_broke_off:
        return f"the roll-back of a repair broke off: {progress_of_roll_back(ledger)}"
    if ledger is not None and account.broke_off:
        return f"the repair broke off: {progress_of_repair(ledger)}"
    if not account.applied:
        return "a repair is planned and not applied" if account.plan else "not repaired"
    match account.repaired:
        case Verdict.CLEAN:
            return "repaired and verified clean"
        case Verdict.CORRUPT:
            return "repaired, but the verification still finds corruption"
        case Verdict.UNKNOWN:
            return "repaired, but not everything could be verified"
    return "repaired, not verified"


def progress_of_repair(ledger: LedgerDigest) -> str:
    """How far a repair came, in a clause."""
    of = f"{count(ledger.applied)} of {plural(ledger.operations, 'write')}"
    doubt = f", the outcome of {count(ledger.in_doubt)} is unknown" if ledger.in_doubt else ""
    if not ledger.applied:
        return f"none of {plural(ledger.operations, 'write')} was acknowledged{doubt}"
    if ledger.read_back == ledger.applied:
        return f"{of} acknowledged and read back{doubt}"
    return f"{of} acknowledged, {count(ledger.read_back)} read back{doubt}"


def progress_of_roll_back(ledger: LedgerDigest) -> str:
    """How far a roll-back came, in a clause."""
    of = ledger.rolled_back + ledger.applied + ledger.in_doubt
    return f"{count(ledger.rolled_back)} of {plural(of, 'row')} put back"


def spelled(kind: Kind) -> str:
    """A kind as words: "mangled id"."""
    return kind.value.replace("_", " ").replace("non finite", "non-finite")
