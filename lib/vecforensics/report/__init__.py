"""Report: what happened, why, what was done, and how do we know?

Everything is read from the run folder, nothing is computed anew and no other stage is imported:

    account.py      what is known, with the reason beside what is not
    sections/       what is said, one chapter a file, as blocks (`blocks.py`)
    html.py, markdown.py        how it is shown
    junit.py, summary.py        the same verdict for CI

`custody/`, below the stages, seals the run folder with a manifest.
"""

from __future__ import annotations

from vecforensics.report.incident_report import IncidentReport, standing_report, write_report

__all__ = ["IncidentReport", "standing_report", "write_report"]
