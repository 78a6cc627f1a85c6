"""The analyst's own notes, as they wrote them in `notes.md`."""

from __future__ import annotations

from vecforensics.report.account import Account
from vecforensics.report.blocks import Section
from vecforensics.report.prose import blocks_of_markdown

__all__ = ["notes"]


def notes(account: Account) -> Section:
    """Empty where there are none."""
    return Section("notes", "Analyst's notes", tuple(blocks_of_markdown(account.notes)))
