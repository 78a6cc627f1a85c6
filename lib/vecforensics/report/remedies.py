"""What to do about each kind of damage: the remedy that is known for it, and the habit that keeps it from coming back.

An action item appears in a report only for a kind that was found. `repair` is about the data, `prevent` about the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vecforensics.findings import Kind

__all__ = ["REMEDIES", "TROUBLE_REMEDIES", "Remedy"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """One kind's remedy."""

    repair: str
    prevent: str


REMEDIES: Final[Mapping[Kind, Remedy]] = {
    Kind.MISSING: Remedy(
        "Write the missing records again; parents before their children.",
        "Await every write before the migration returns, and compare ids (not counts) before calling it done.",
    ),
    Kind.ORPHAN: Remedy(
        "Delete the vectors that belong to no record, after looking at whose they were.",
        "Derive every target id from a source id, and delete by the source's deletions.",
    ),
    Kind.MANGLED_ID: Remedy(
        "Write the record under its own id and delete the mangled one.",
        "Keep ids as text from end to end; refuse an upsert whose id is not a known source id (NaN, undefined, null).",
    ),
    Kind.DUPLICATE: Remedy(
        "Keep the copy under the record's own id and delete the others.",
        "Make the write idempotent: an id that follows from the record, never a fresh one per attempt.",
    ),
    Kind.SWAPPED: Remedy(
        "Write the right vector under each id of the cycle.",
        "Carry the id with the vector through every await; never join two lists by position after parallel work.",
    ),
    Kind.SHIFTED: Remedy(
        "Write the run again from its first shifted record.",
        "Join answers to records by key; a skipped record must leave a gap, not move its neighbours.",
    ),
    Kind.BROADCAST: Remedy(
        "Embed and write again every record of the group.",
        "Give each task a buffer of its own; copy before an await.",
    ),
    Kind.NON_FINITE: Remedy(
        "Embed and write the records again.",
        "Refuse a vector with NaN or infinity before it is sent.",
    ),
    Kind.ZERO: Remedy(
        "Embed and write the records again.",
        "Treat an empty or failed embedding as an error, never as a vector of zeros.",
    ),
    Kind.WRONG_DIMENSION: Remedy(
        "Embed again with the collection's model and write.",
        "Check a vector's length against the collection before sending it.",
    ),
    Kind.PARTIAL: Remedy(
        "Embed and write the records again.",
        "Write a vector in one operation, from a buffer that nobody else fills.",
    ),
    Kind.STALE: Remedy(
        "Embed the newest version and write it.",
        "Order the writes of one id by version, or write only if the version grows.",
    ),
    Kind.FOREIGN_MODEL: Remedy(
        "Embed the whole group again with the model of the collection.",
        "Store the model's name and version beside the collection and refuse to mix.",
    ),
    Kind.DRIFTED: Remedy(
        "Embed and write the records again, then look at what is left.",
        "Pin model, pre-processing and their versions; compare a sample after each deployment.",
    ),
    Kind.METADATA_DRIFT: Remedy(
        "Write the metadata again from the source.",
        "Fix the type of each field at the border, and compare it after a round trip through the store.",
    ),
    Kind.DANGLING: Remedy(
        "Write the missing parents first, then the records that depend on them; a parent that the source does not have either "
        "can only be mended there.",
        "Migrate in waves: a level begins only when the level above it has been read back.",
    ),
    Kind.PREMATURE: Remedy(
        "Nothing to write if the parents arrived later; otherwise see dangling.",
        "Await the parent's write before its children are begun.",
    ),
}

TROUBLE_REMEDIES: Final[Mapping[str, str]] = {
    "task_left_behind": "Keep every task that is started and await all of them before returning.",
    "lost_error": "Let an exception of any task reach the caller; end the run as failed where one did not.",
    "never_awaited": "Turn on the linter's rule against coroutines and promises that nobody awaits.",
    "deadlock": "Take locks in one order, and never wait for a task that waits for you.",
    "crash": "Handle the rejection where it arises; a crash loses the work that is in flight.",
}
