"""The stage itself: read the run folder, write five files, seal the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vecforensics.case import Case
from vecforensics.custody import digest_of, write_manifest
from vecforensics.errors import printable
from vecforensics.findings import Verdict
from vecforensics.report.account import Account, read_account
from vecforensics.report.html import render_html
from vecforensics.report.junit import render_junit
from vecforensics.report.markdown import render_markdown
from vecforensics.report.masthead import masthead
from vecforensics.report.sections import write_sections
from vecforensics.report.summary import render_summary
from vecforensics.run_folder import RunFolder, write_whole

__all__ = ["IncidentReport", "standing_report", "write_report"]


@dataclass(frozen=True, slots=True)
class IncidentReport:
    """What was written. `verdict` is on the target as it was found, `repaired` on what it holds after a verified repair.

    `manifest_sha256` seals the run: kept elsewhere, it shows later that `manifest.json` is the one that was written now.
    """

    case: str
    run: Path
    verdict: Verdict
    repaired: Verdict | None
    headline: str
    html: Path
    markdown: Path
    junit: Path
    summary: Path
    manifest: Path
    manifest_sha256: str

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{printable(self.case)}: {self.verdict.value}",
                printable(self.headline, 2_000),
                printable(self.html, 4_096),
                f"sealed: SHA-256 of manifest.json {self.manifest_sha256}",
            ]
        )

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        return str(
            Markup(
                "<div><p><strong>{case}: {verdict}</strong></p><p>{headline}</p>"
                "<p><code>{html}</code></p><p>Sealed: SHA-256 of manifest.json <code>{seal}</code></p></div>"
            ).format(
                case=printable(self.case),
                verdict=self.verdict.value,
                headline=printable(self.headline, 2_000),
                html=printable(self.html, 4_096),
                seal=self.manifest_sha256,
            )
        )


def write_report(case: Case, run: RunFolder) -> IncidentReport:
    """Write the report from whatever stands in the run folder, and seal the folder. The analyst's `notes.md` is only read.

    A stage that did not run or failed is said so in its place; nothing of that keeps the report from being written. Raises
    EvidenceError only where `run.json` cannot be read, RunLocked where another process works on the run.
    """
    with run.stage("report"):
        account = read_account(case, run)
        head, sections = masthead(account), write_sections(account)
        written = {
            run.report_html: render_html(head, sections),
            run.report_md: render_markdown(head, sections),
            run.junit_xml: render_junit(account),
            run.summary_md: render_summary(account),
        }
        for path, text in written.items():
            write_whole(path, text)
        seal = write_manifest(case, run, account.inputs_now, [path.name for path in written])
    return _told(account, head.headline, seal)


def standing_report(case: Case, run: RunFolder) -> IncidentReport:
    """The report that stands in a sealed run, with its seal; nothing is written."""
    account = read_account(case, run)
    return _told(account, masthead(account).headline, digest_of(run.manifest_json)[0])


def _told(account: Account, headline: str, seal: str) -> IncidentReport:
    run = account.run
    return IncidentReport(
        case=account.case.case,
        run=run.path,
        verdict=account.verdict,
        repaired=account.repaired,
        headline=headline,
        html=run.report_html,
        markdown=run.report_md,
        junit=run.junit_xml,
        summary=run.summary_md,
        manifest=run.manifest_json,
        manifest_sha256=seal,
    )
