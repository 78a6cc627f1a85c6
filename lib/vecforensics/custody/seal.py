"""The seal of a run folder: `manifest.json`, written last, and what is no longer as it says.

A seal that follows another keeps the digests of all before it, and the names of the files that nobody had accounted for in
between: sealing anew makes nothing good.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vecforensics.case import Case
from vecforensics.custody.inputs import InputDigest, digest_of, files_below, inputs_before, inputs_of
from vecforensics.custody.journal import JOURNAL, SINCE, entry_digest, is_sealed, outputs_of, since_seal
from vecforensics.custody.tools import git_revision, tool_versions
from vecforensics.errors import EvidenceError
from vecforensics.run_folder import RunFolder, entries_of, now, sync, write_json

__all__ = ["NOTES", "differences", "read_manifest", "write_manifest"]

_MANIFEST_FORMAT: Final = 2
NOTES: Final = "notes.md"


def write_manifest(
    case: Case, run: RunFolder, inputs_now: Sequence[InputDigest] | None = None, written: Collection[str] = ()
) -> str:
    """Seal the run folder: write `manifest.json` and give its SHA-256. Called last; calling it again seals the present state.

    `inputs_now`: the inputs as they are, where somebody has just digested them. `written`: names of files that the caller has
    written since the seal before.
    """
    # The seal must not survive a loss of power that what it vouches for does not.
    for _, path in files_below(run.path):
        sync(path)
    for folder, _, _ in os.walk(run.path):
        sync(Path(folder))
    before = inputs_before(run)
    inputs = []
    for item in inputs_of(case) if inputs_now is None else inputs_now:
        was = before.get((item.role, item.name))
        inputs.append(
            {
                "role": item.role,
                "name": item.name,
                "bytes": item.bytes,
                "before": was,
                "after": item.sha256,
                "changed": None if was is None or item.sha256 is None else was != item.sha256,
                "note": item.note,
            }
        )
    outputs = {name: {"sha256": digest, "bytes": size} for name, digest, size in outputs_of(run.path)}
    state = {
        "format": _MANIFEST_FORMAT,
        "algorithm": "sha256",
        "case": case.case,
        "run": run.path.name,
        "inputs": inputs,
        "outputs": outputs,
        "journal": [entry_digest(entry) for entry in entries_of(run.journal()) if is_sealed(entry)],
        "tools": dict(tool_versions()),
        "git": git_revision(case.folder),
    }
    follows, last = _seals_before(run, outputs, written)
    # Of the same state there is one seal, whoever asks for it again.
    if {key: last.get(key) for key in state} != state:
        write_json(run.manifest_json, {**state, "sealed": now(), "follows": follows})
    with run.locked():
        journal = run.journal()
        if journal.pop(SINCE, None):
            write_json(run.run_json, journal)
    return digest_of(run.manifest_json)[0]


def _seals_before(
    run: RunFolder, outputs: Mapping[str, Mapping[str, Any]], written: Collection[str]
) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """The seals that the coming one would follow, the oldest first (digest, time, and what nobody had accounted for when it was
    replaced), and the manifest of the last of them."""
    if not run.manifest_json.is_file():
        return [], {}
    last: dict[str, Any] = {"sha256": digest_of(run.manifest_json)[0], "sealed": None, "unaccounted": []}
    try:
        manifest = read_manifest(run)
    except EvidenceError:
        return [{**last, "unaccounted": [run.manifest_json.name]}], {}
    now_there = {name: str(entry["sha256"]) for name, entry in outputs.items()}
    changed, missing, extra = differences(run, manifest, now_there)
    ours = since_seal(run.journal())
    last["sealed"] = manifest.get("sealed")
    last["unaccounted"] = [
        name
        for name in sorted({*changed, *missing, *extra} - {NOTES} - set(written))
        if name not in ours or ours[name].get("sha256") != now_there.get(name)
    ]
    return [*(one for one in manifest["follows"] if isinstance(one, dict)), last], manifest


def read_manifest(run: RunFolder) -> dict[str, Any]:
    """`manifest.json`. Raises EvidenceError where it is none, or one of an earlier version."""
    manifest = run.read_json(run.manifest_json, made_by="report")
    lists = ("inputs", "journal", "follows")
    wrong = "has no outputs or inputs in it" if not isinstance(manifest.get("outputs"), dict) else ""
    if not wrong and manifest.get("format") != _MANIFEST_FORMAT:
        wrong = "was written by another version"
    if not wrong and not all(isinstance(manifest.get(key), list) for key in lists):
        wrong = "has no outputs or inputs in it"
    if wrong:
        raise EvidenceError(
            f"is no seal that can be checked ({wrong})",
            where=str(run.manifest_json),
            hint=f"Make it again: vecforensics report {run.path}",
        )
    return manifest


def differences(
    run: RunFolder, manifest: Mapping[str, Any], found: Mapping[str, str]
) -> tuple[set[str], set[str], set[str]]:
    """Names of what is other than it was sealed: changed, missing, extra."""
    sealed = manifest["outputs"]
    changed = {name for name in sealed.keys() & found.keys() if _sha256(sealed[name]) != found[name]}
    entries = {entry_digest(entry) for entry in entries_of(run.journal())}
    if {str(digest) for digest in manifest["journal"]} - entries:
        changed.add(JOURNAL)
    return changed, sealed.keys() - found.keys(), found.keys() - sealed.keys()


def _sha256(entry: Any) -> str | None:
    value = entry.get("sha256") if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else None
