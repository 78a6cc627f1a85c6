"""Diff: which vectors are wrong, how, and where do they cluster?"""

from __future__ import annotations

from vecforensics.diff.diff import choose_contents, diff_vectors
from vecforensics.diff.result import CollectionSummary, Diff

__all__ = ["CollectionSummary", "Diff", "choose_contents", "diff_vectors"]
