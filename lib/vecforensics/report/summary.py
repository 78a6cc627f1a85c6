"""`summary.md`: the page that a CI job shows. The verdict, the table, where it clusters, what to do; always under 60 KB.

GitHub drops a step summary above 1,024 KB and a comment above 64 KB, so this keeps to what fits a comment.
"""

from __future__ import annotations

from typing import Final

from vecforensics.findings import SEVERITY, Severity, Verdict
from vecforensics.report.account import Account, StageState
from vecforensics.report.blocks import Align, Code, Column, Table
from vecforensics.report.headline import headline
from vecforensics.report.markdown import code_span, escaped, inline, table
from vecforensics.report.sections.actions import next_steps
from vecforensics.report.wording import count, share

__all__ = ["MAX_BYTES", "render_summary"]

MAX_BYTES: Final = 60_000
_MOST_SPOTS: Final = 5
_MOST_COLLECTIONS: Final = 60
_SHAPES: Final = {Verdict.CLEAN: "●", Verdict.CORRUPT: "▲", Verdict.UNKNOWN: "◇"}


def render_summary(account: Account) -> str:
    """The page. The same run folder gives the same bytes."""
    parts = [
        f"## {_SHAPES[account.verdict]} {account.verdict.value.upper()}: {code_span(account.case.case)} "
        f"{escaped(account.case.title, 200)}",
        f"**{escaped(headline(account), 1000)}**",
    ]
    if account.collections:
        parts += table(_collections(account))
    kinds = account.corrupt_kinds
    if kinds:
        parts += table(
            Table(
                "Corrupt findings by kind; kinds not named here: 0",
                (Column("Kind"), Column("Findings", Align.RIGHT)),
                tuple(((Code(kind.value),), count(account.count(kind))) for kind in kinds),
            )
        )
    spots = [
        spot.text("sentence") for spot in account.findings.facts.each("hot_spots") if spot.text("sentence")
    ]
    if spots:
        parts += [
            "**Where it clusters**",
            "\n".join(f"- {escaped(text, 400)}" for text in spots[:_MOST_SPOTS]),
        ]
    broken = [
        f"- {code_span(stage)}: {escaped(entry.text('error') or 'began and never ended', 400)}"
        for stage, entry in account.stages.items()
        if stage != "report" and account.stage_state(stage) in (StageState.FAILED, StageState.RUNNING)
    ]
    if broken:
        parts += ["**Stages that did not end well**", "\n".join(broken)]
    steps = [inline(step) for step in next_steps(account)]
    if steps:
        parts += ["**What to do**", "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))]
    parts.append(f"Full report: {code_span(f'{account.run_path}/incident-report.html', 400)}")
    return _fitted("\n\n".join(parts) + "\n")


def _collections(account: Account) -> Table:
    shown = list(account.collections.items())[:_MOST_COLLECTIONS]
    rows = []
    for name, facts in shown:
        source, bad = facts.count("source_rows"), facts.count("records_corrupt")
        of = facts.count("of") or source
        findings = sum(
            number
            for kind, number in facts.counts("counts").items()
            if any(kind == known.value and SEVERITY[known] is Severity.CORRUPT for known in SEVERITY)
        )
        rows.append(
            (
                (Code(name, 60),),
                count(source),
                f"{count(facts.count('checked'))} of {count(of)}",
                count(bad),
                share(bad, source),
                count(findings),
            )
        )
    left = len(account.collections) - len(shown)
    right = Align.RIGHT
    return Table(
        "Collections as found" + (f" (and {left} more in the full report)" if left > 0 else ""),
        (
            Column("Collection"), Column("Records", right), Column("Checked", right), Column("Corrupt", right),
            Column("Share", right), Column("Corrupt findings", right),
        ),
        tuple(rows),
    )  # fmt: skip


def _fitted(text: str) -> str:
    """`text`, cut at a line's end where it would be too long."""
    data = text.encode()
    if len(data) <= MAX_BYTES:
        return text
    note = "\n\n(cut to fit; see the full report)\n"
    return data[: MAX_BYTES - len(note)].decode(errors="ignore").rpartition("\n")[0] + note
