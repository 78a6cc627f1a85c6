"""The figures that the stages left for a section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vecforensics.report.account import Account
from vecforensics.report.blocks import Picture

__all__ = ["pictures"]

# The section in which the figures of a stage stand; what names no stage, or another one, stands with the damage.
_SECTION_OF: Final = {"reproduce": "metrics", "race": "metrics", "migrate": "repair"}


def pictures(account: Account, section: str) -> Iterator[Picture]:
    """The figures whose stage belongs to `section`."""
    for stage, picture in account.pictures:
        if _SECTION_OF.get(stage, stage if stage in ("trace", "metrics", "repair") else "damage") == section:
            yield picture
