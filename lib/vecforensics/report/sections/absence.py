"""The sentence for what is not there: never ran, failed, was interrupted, or left a file that cannot be read."""

from __future__ import annotations

from vecforensics.report.account import VERBS, Account, Part, StageState
from vecforensics.report.blocks import Code, Inline, Note, State

__all__ = ["absence"]

_WHAT = {
    "collect": "The evidence stage",
    "diff": "The comparison of vectors",
    "reproduce": "The race laboratory",
    "migrate": "The corrected migration",
    "report": "The report",
}


def absence(account: Account, part: Part, without: str = "") -> Note:
    """Why `part` has no facts, and the command that makes it. `without`: a sentence on what therefore cannot be said."""
    stage, command = part.stage, Code(account.command(part.stage), limit=400)
    what, entry = _WHAT[stage], account.stages.get(stage)
    parts: tuple[Inline, ...]
    if stage == "reproduce" and account.case.suspect is None:
        return Note(
            (
                "The case names no migration code, so none was explored. Name it in the case file, as ",
                Code("suspect:"),
                ".",
            ),
            State.UNKNOWN,
        )
    match account.stage_state(stage):
        case StageState.FAILED:
            reason = entry.text("error") if entry else ""
            parts = (
                f"{what} failed: ",
                Code(reason or "no reason was noted", limit=400),
                ". Run it again: ",
                command,
            )
        case StageState.RUNNING:
            parts = (f"{what} began and never ended. Run it again: ", command)
        case StageState.DONE if part.why != "absent":
            parts = (f"{what} ran, but its file {part.why}. Run it again: ", command)
        case StageState.DONE:
            parts = (f"{what} ran and left nothing of this kind. To run it again: ", command)
        case _:
            parts = (f"{what} was not run. To run it: ", command)
    assert stage in VERBS
    return Note((*parts, *((f". {without}",) if without else ())), State.UNKNOWN)
