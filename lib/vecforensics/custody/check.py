"""Is the run folder what was sealed? The check, and its answer in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecforensics.custody.inputs import digest_of, inputs_of
from vecforensics.custody.journal import done_since, outputs_of, since_seal
from vecforensics.custody.seal import NOTES, differences, read_manifest
from vecforensics.errors import InputError, printable
from vecforensics.run_folder import RunFolder

__all__ = ["Custody", "verify_run"]


@dataclass(frozen=True, slots=True)
class Custody:
    """What `verify` found. `intact` is about the run folder; `inputs_changed` names inputs that are no longer what they were.

    `since`: what stages of this run did after it was sealed, in words; `ours`: the files that they left other than they were
    sealed. `ledger` is "" where it was not checked or is intact, else what is wrong with its chain. `manifest_sha256` is the
    digest to compare with the one that was printed when the run was sealed, `follows` those of the seals before it, the oldest
    first; `unaccounted`: what nobody had accounted for when the run was sealed anew, in words.
    """

    run: Path
    manifest_sha256: str
    checked: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    amended: tuple[str, ...] = ()
    inputs_changed: tuple[str, ...] = ()
    ledger: str = ""
    since: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    unaccounted: tuple[str, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether something is not what was sealed, and no stage of this run says that it did it."""
        return bool(self.changed or self.missing or self.extra or self.ledger)

    @property
    def intact(self) -> bool:
        """Whether every sealed file is there, unchanged, with nothing beside it, and the ledger's chain holds."""
        return not (self.broken or self.ours)

    def lines(self) -> list[str]:
        """The result as lines of text, the worst first."""
        broken = [
            *(f"changed: {name}" for name in self.changed),
            *(f"missing: {name}" for name in self.missing),
            *(f"extra:   {name}" for name in self.extra),
            *((f"ledger:  {self.ledger}",) if self.ledger else ()),
        ]
        files = f"{self.checked:,} sealed file{'' if self.checked == 1 else 's'}"
        if broken:
            head = f"NOT intact: {len(broken):,} difference{'' if len(broken) == 1 else 's'} to the seal over {files}"
        elif self.ours:
            written = "1 file was" if len(self.ours) == 1 else f"{len(self.ours):,} files were"
            head = (
                f"out of date: {written} written after the seal over {files}, by stages of this run as run.json has it. "
                f"Write the report and seal anew: vecforensics report {self.run}"
            )
        else:
            head = f"intact: all {files} are what they were{', whatever ran since' if self.since else ''}"
        return [
            head,
            *broken,
            *(f"written since: {name}" for name in self.ours),
            *(f"since the seal: {what}" for what in self.since),
            *(f"amended since, as it may be: {name}" for name in self.amended),
            *(f"input no longer what it was: {name}" for name in self.inputs_changed),
            *self.unaccounted,
            f"SHA-256 of manifest.json: {self.manifest_sha256}",
            *(f"the seal before it: {one}" for one in self.follows[-1:]),
        ]

    def __str__(self) -> str:
        return "\n".join(printable(line, 1_000) for line in self.lines())

    def _repr_html_(self) -> str:
        from markupsafe import escape

        items = "".join(f"<li>{escape(printable(line, 1_000))}</li>" for line in self.lines())
        return f"<ul>{items}</ul>"


def verify_run(run: RunFolder, *, check_ledger: Callable[[Path], str] | None = None) -> Custody:
    """Re-check every digest of `manifest.json`. Raises EvidenceError where there is no readable manifest.

    `check_ledger` is given the ledger's path and answers "" where its hash chain holds, else what is wrong.
    """
    manifest = read_manifest(run)
    sealed = manifest["outputs"]
    found = {name: digest for name, digest, _ in outputs_of(run.path)}
    journal = run.journal()
    changed, missing, extra = differences(run, manifest, found)
    amended = ({NOTES} & changed) | ({NOTES} & extra)
    frozen = _frozen(run)
    written = since_seal(journal)
    ours = {
        name
        for name in (changed | missing | extra) - amended - frozen.keys()
        if name in written and written[name].get("sha256") == found.get(name)
    }
    changed |= {name for name in found.keys() & frozen.keys() if frozen[name] != found[name]}
    follows = [one for one in manifest["follows"] if isinstance(one, dict)]
    return Custody(
        run=run.path,
        manifest_sha256=digest_of(run.manifest_json)[0],
        checked=len(sealed),
        changed=tuple(sorted(changed - amended - ours)),
        missing=tuple(sorted(missing - ours)),
        extra=tuple(sorted(extra - amended - ours)),
        amended=tuple(sorted(amended)),
        inputs_changed=tuple(_inputs_changed(run, manifest["inputs"])),
        ledger=check_ledger(run.ledger_sqlite) if check_ledger and run.ledger_sqlite.is_file() else "",
        since=tuple(done_since(journal, manifest)),
        ours=tuple(
            f"{name}, by {written[name].get('by')} at {written[name].get('at')}" for name in sorted(ours)
        ),
        follows=tuple(str(one.get("sha256")) for one in follows),
        unaccounted=tuple(
            f"not accounted for when the seal of {one.get('sealed')} was replaced: {', '.join(map(str, names))}"
            for one in follows
            if isinstance(names := one.get("unaccounted"), list) and names
        ),
    )


def _frozen(run: RunFolder) -> dict[str, str]:
    """What collect wrote down of its own files when it froze them: a second witness, older than the manifest."""
    index = run.evidence / "evidence.json"
    files = run.read_json(index, made_by="collect").get("files") if index.is_file() else None
    if not isinstance(files, dict):
        return {}
    return {f"evidence/{name}": digest for name, digest in files.items() if isinstance(digest, str)}


def _inputs_changed(run: RunFolder, sealed: list[Any]) -> Iterator[str]:
    """Names of the inputs whose digest is no longer the sealed one; the case says where they lie, never the manifest."""
    try:
        now = {(item.role, item.name): item.sha256 for item in inputs_of(run.case())}
    except InputError:
        yield "all of them: not checked, since the frozen case file cannot be read"
        return
    for row in sealed:
        if not isinstance(row, dict) or not isinstance(row.get("after"), str):
            continue
        key = (str(row.get("role")), str(row.get("name")))
        if now.get(key) != row["after"]:
            yield f"{key[0]} {key[1]}"
