"""Action items, each because of something that was found; nothing for what was not."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.findings import Verdict
from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Block,
    Bullets,
    Code,
    Column,
    Inline,
    Paragraph,
    Section,
    Subheading,
    Table,
)
from vecforensics.report.crash import Crash, crash_of
from vecforensics.report.explanation import unexplained
from vecforensics.report.remedies import REMEDIES, TROUBLE_REMEDIES
from vecforensics.report.wording import count, listing, plural, quoted

__all__ = ["actions", "next_steps"]


def actions(account: Account) -> Section:
    """What to do now, and what to change so that it does not come back."""
    return Section("actions", "Action items", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    steps = tuple(next_steps(account))
    if steps:
        yield Subheading("Now")
        yield Bullets(steps, ordered=True)
    kinds = account.corrupt_kinds
    if kinds:
        yield Subheading("For each kind that was found")
        yield Table(
            "Remedies by kind",
            (
                Column("Kind"),
                Column("Found", Align.RIGHT),
                Column("Repair of the data"),
                Column("Change in the code"),
            ),
            tuple(
                (
                    (Code(kind.value),),
                    count(account.count(kind)),
                    REMEDIES[kind].repair,
                    REMEDIES[kind].prevent,
                )
                for kind in kinds
            ),
        )
    troubles = [name for name in TROUBLE_REMEDIES if account.exploration.facts.counts("failures").get(name)]
    if troubles:
        yield Subheading("For what the race laboratory saw besides damage")
        yield Bullets(tuple((Code(name), ": ", TROUBLE_REMEDIES[name]) for name in troubles))
    if not steps and not kinds and not troubles:
        yield Paragraph.of("None: nothing was found that asks for an action.")


def _against_the_crash(crash: Crash) -> tuple[Inline, ...]:
    """What keeps the exception that ended the process from ending the next one."""
    error = Code(crash.error, 100)
    if not crash.refused:
        return (
            "Handle ",
            error,
            " where it arises, or end the run as failed once what is under way has been written; keep a checkpoint, so that a "
            "run that died goes on where it stopped.",
        )
    return (
        "Repeat a request that the provider refuses, as with ",
        error,
        ", once the time that it asks for is over; keep the number under way bounded, and let a refusal that stays end the run "
        "as failed and not the process.",
    )


def next_steps(account: Account) -> Iterator[tuple[Inline, ...]]:
    """The steps that follow from the state of this run, the most urgent first."""
    corrupt = account.verdict is Verdict.CORRUPT

    def command(stage: str, *options: str) -> Code:
        return Code(account.command(stage, *options), 400)

    if not account.findings:
        yield ("Compare the vectors: ", command("diff"))
    if corrupt and account.race_verdict == "failing":
        where = account.case.suspect or account.exploration.facts.text("suspect")
        yield ("Stop every run of ", Code(where), " until its order of operations is fixed.")
    crash = crash_of(account)
    if crash is not None:
        yield _against_the_crash(crash)
    if account.roll_back_broke_off:
        yield ("Finish the roll-back, which broke off: ", command("migrate", "--rollback"))
    elif account.broke_off:
        mode = account.plan.facts.text("mode") or "repair"
        yield ("Finish the repair, which broke off: ", command("migrate", f"--{mode}"))
    elif corrupt and account.taken_back:
        again = quoted("vecforensics", "migrate", account.case_path, "--repair")
        yield ("Repair the target in a new run, since what was taken back is final: ", Code(again, 400))
    elif corrupt and not account.applied and any(map(account.caused, account.corrupt_kinds)):
        yield ("Repair what the diff proved bad: ", command("migrate", "--repair"))
    elif account.applied and account.repaired is not Verdict.CLEAN:
        yield ("Find out why the target is not verified clean: ", command("migrate", "--plan"))
    if account.broken_references:
        yield (
            f"Mend {plural(account.broken_references, 'reference')} in the source: no record there has the id of the parent that "
            "is named, and no repair of the target writes one.",
        )
    if account.ledger is not None and account.ledger.quarantined:
        yield (
            f"Decide on {plural(account.ledger.quarantined, 'quarantined operation')}; each has its reason in the ledger.",
        )
    if corrupt and account.case.suspect is None:
        yield (
            "Name the code that ran the migration in the case file, as ",
            Code("suspect:"),
            ", and look for the cause.",
        )
    elif corrupt and not account.exploration:
        yield ("Look for the cause: ", command("reproduce"))
    if unexplained(account) and account.exploration:
        names = listing([kind.value for kind in unexplained(account)])
        yield (f"Look for a second cause: the race examined does not produce {names}.",)
    if account.corrected.facts.text("verdict") in ("proved", "sampled") and account.race_verdict == "failing":
        yield (
            "Replace the code by the corrected form that this report shows, and keep its exploration as a test in CI."
            if account.case.corrected
            else "Give the code the order that this report shows under the corrected form; then name it in the case file as ",
            *(
                ()
                if account.case.corrected
                else (Code("corrected:"), " and have it explored, here and as a test in CI.")
            ),
        )
    unchecked = account.source_rows - account.findings.facts.count("rows_checked")
    if account.findings and unchecked > 0:
        yield (
            f"Check the {plural(unchecked, 'record')} that could not be checked; until then the verdict cannot be clean.",
        )
