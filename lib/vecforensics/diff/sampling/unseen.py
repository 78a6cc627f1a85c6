"""What a sample leaves in the dark: which contents, what its findings cannot say, and the sentences on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from vecforensics.diff.passes import Part, Work
from vecforensics.diff.sampling.draw import Draw
from vecforensics.findings import Kind

__all__ = ["left_out", "limits_of_a_sample", "mark_sampled", "not_embedded"]

# Rows whose figure (a pair, a run, a crowd) is made up of other rows as well.
_FIGURES: Final = frozenset({Kind.SWAPPED, Kind.SHIFTED, Kind.BROADCAST})
# Where a run begins and ends is up to rows that nobody looked at.
_UNKNOWN_IN_A_SAMPLE: Final = frozenset({"run", "begins_at", "ends_at", "begins_with", "candidates"})


def left_out(part: Part, draw: Draw | None) -> int:
    """How many contents nobody read because they were not drawn."""
    if draw is None or part.name not in draw.rows:
        return 0
    # What stands under a mangled id is compared in any case, if anything is expected of it.
    mangled = np.array(list(part.resolved.mangled), np.int64)
    undrawn = mangled[~np.isin(mangled, draw.rows[part.name])]
    read = int(np.count_nonzero(part.sides.source.integers("digest", undrawn)))
    # Whoever appeared at the second look could be drawn but has no content here, and who was missing then may be mangled now.
    most = part.resolved.unchecked - part.resolved.unusable
    return max(min(draw.left_out(part.name) - read, most), 0)


def not_embedded(work: Work, part: Part, draw: Draw) -> bool:
    """Whether only the drawn records have expected vectors, and others have none for that reason."""
    expected = work.case.collections[part.name].expected
    if expected is None or expected.embedder is None or not work.evidence.sampled:
        return False
    bare = part.sides.source.integers("digest") == 0
    bare[draw.rows[part.name]] = False
    return bool(bare.any())


def mark_sampled(part: Part, draw: Draw | None) -> int:
    """Take out of what is said of exchanged, shifted and broadcast vectors all that a sample cannot know, and mark them as
    `sampled`; returns how many they are: none where nothing was left out."""
    if draw is None or not left_out(part, draw):
        return 0
    drawn = np.zeros(part.sides.source.rows, np.bool_)
    drawn[draw.rows[part.name]] = True
    marked = 0
    for number, found in enumerate(part.found.rows):
        if found.kind in _FIGURES:
            seen = found.partner >= 0 and bool(drawn[found.partner])
            part.found.rows[number] = found._replace(detail=_known_in_a_sample(found.detail, seen))
            marked += 1
    return marked


def _known_in_a_sample(detail: Mapping[str, Any], owner_seen: bool) -> dict[str, Any]:
    """What remains of a detail. A pair and a cycle are seen whole or not at all; that a vector stands nowhere else never is."""
    kept = {key: value for key, value in detail.items() if key not in _UNKNOWN_IN_A_SAMPLE}
    if kept.get("form") == "chain" or (kept.get("form") == "copy" and not owner_seen):
        del kept["form"]
    # Whoever was not compared was taken to be right, and counted.
    if not owner_seen and kept.pop("owner_holds_it_too", False):
        kept["group"] -= 1
    return {**kept, "sampled": True}


def limits_of_a_sample(
    work: Work, parts: Sequence[Part], draw: Draw | None, marked: Sequence[int]
) -> list[str]:
    """The sentences on what a draw kept out of sight. `marked`: how many findings of each collection say less for it."""
    if draw is None:
        return []
    sentences = []
    for part, less_certain in zip(parts, marked, strict=True):
        if unread := left_out(part, draw):
            sentences.append(
                f"{part.name}: {unread:,} contents were not in the sample of {draw.plan.requested:,}."
            )
        if less_certain:
            sentences.append(
                f"{part.name}: a vector that is another record's is `swapped`, `shifted` or `broadcast` as the sample shows it; "
                "whether its own record holds it too, where a run begins and ends, and under how many ids it stands was not "
                "looked at."
            )
        if not_embedded(work, part, draw):
            sentences.append(
                f"{part.name}: only the sampled records have expected vectors, and the missing ones where they are few "
                "beside the sample; a vector that belongs to another one is `drifted` here, and an id that only another "
                "one's content could explain is `orphan` and `missing`."
            )
    return sentences
