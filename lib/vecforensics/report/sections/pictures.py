"""The figures that the stages left for a section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vecforensics.report.account import Account
from vecforensics.report.blocks import Gallery

__all__ = ["pictures"]

# The section in which the figures of a stage stand; what names no stage, or another one, stands with the damage.
_SECTION_OF: Final = {"reproduce": "metrics", "race": "metrics", "migrate": "repair"}
# Bars of the kinds, and of before and after: tables and drawings of the same section say it with the numbers.
_TOLD_BY_A_TABLE: Final = frozenset({"figures/kinds.png", "figures/before-after.png"})


def pictures(account: Account, section: str) -> Iterator[Gallery]:
    """The figures that belong to `section`, as one gallery; nothing where there are none."""
    found = tuple(
        picture
        for stage, picture in account.pictures
        if _section(stage, picture.path) == section and picture.path not in _TOLD_BY_A_TABLE
    )
    if found:
        yield Gallery(found)


def _section(stage: str, path: str) -> str:
    if path.startswith("figures/impact"):
        return "summary"
    return _SECTION_OF.get(stage, stage if stage in ("trace", "metrics", "repair") else "damage")
