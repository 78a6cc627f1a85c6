"""The chapters of the report, one file each, in the order in which they are read."""

from __future__ import annotations

from vecforensics.report.account import Account
from vecforensics.report.blocks import Section
from vecforensics.report.sections.actions import actions
from vecforensics.report.sections.cause import cause
from vecforensics.report.sections.code import code
from vecforensics.report.sections.custody_chain import custody_chain
from vecforensics.report.sections.damage import damage
from vecforensics.report.sections.limits import limits
from vecforensics.report.sections.metrics import metrics
from vecforensics.report.sections.notes import notes
from vecforensics.report.sections.repair import repair
from vecforensics.report.sections.reproduction import reproduction
from vecforensics.report.sections.summary import summary
from vecforensics.report.sections.timeline import timeline
from vecforensics.report.sections.trace import trace

__all__ = ["write_sections"]

_ORDER = (
    summary, trace, cause, code, metrics, timeline, damage, repair, actions, limits, custody_chain, reproduction, notes,
)  # fmt: skip


def write_sections(account: Account) -> tuple[Section, ...]:
    """All chapters; one that has nothing to say (the notes, where nobody wrote any) is left out."""
    return tuple(section for section in (chapter(account) for chapter in _ORDER) if section.blocks)
