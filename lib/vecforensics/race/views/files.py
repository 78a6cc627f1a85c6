"""An exploration as files: what a person attaches to an issue, opens in a browser, or loads into another tool.

    witness.json                the exploration, as `exploration_from_json` reads it back
    witness.txt, witness.md     verdict and explanation for terminals, and for an issue
    witness.html                the same with the picture, one page without script or outside address
    swimlanes.svg               the failing run beside the passing one
    repro.py (and repro.js)     a program that replays the failure without this package; repro.txt where none can be written
    witness.chrome-trace.json   for chrome://tracing and Perfetto
    witness.shiviz.log          for ShiViz

Without a witness there is only the verdict with its certificate: the first four.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from markupsafe import Markup

from vecforensics.errors import InputError, SuspectError, printable
from vecforensics.race.exchange import exploration_from_json
from vecforensics.race.model import Exploration, Trace
from vecforensics.race.views.exports import chrome_trace, shiviz_log
from vecforensics.race.views.html import exploration_html
from vecforensics.race.views.prose import explain, explain_verdict
from vecforensics.race.views.repro import repro_files
from vecforensics.race.views.swimlanes import swimlanes
from vecforensics.race.views.text import exploration_text

__all__ = ["NAMES", "check_folder", "exploration_files", "write_folder"]

NAMES: Final = (
    "repro.py",
    "repro.js",
    "repro.txt",
    "swimlanes.svg",
    "witness.html",
    "witness.md",
    "witness.txt",
    "witness.json",
    "witness.chrome-trace.json",
    "witness.shiviz.log",
)
"""In the order in which a person would look at them."""

_WIDTH: Final = 100
_HEAD: Final = Markup(
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
    '<title>{}: {}</title></head>\n<body style="margin:24px;font-family:system-ui,sans-serif;color:#1a1a1a;background:#fff">\n'
)
_FOOT: Final = "\n</body></html>\n"


def exploration_files(
    found: Exploration, folder: Path | None = None, *, beside: Trace | None = None, beside_title: str = ""
) -> dict[str, str]:
    """File name to text, in the order of `NAMES`. `folder`: where the suspect's relative path starts. `beside`: a run of the
    corrected program, shown instead of the witness's own passing run."""
    witness = found.witness
    head = _HEAD.format(found.verdict.value, printable(found.suspect))
    texts = {
        "witness.json": found.to_json(),
        "witness.txt": exploration_text(found, _WIDTH) + "\n",
        "witness.html": f"{head}{exploration_html(found, corrected=beside)}{_FOOT}",
    }
    if witness is None:
        texts["witness.md"] = explain_verdict(found) + "\n"
    else:
        texts["witness.md"] = explain(witness).markdown()
        texts["swimlanes.svg"] = swimlanes(witness, beside=beside, beside_title=beside_title)
        texts["witness.chrome-trace.json"] = chrome_trace(witness)
        texts["witness.shiviz.log"] = shiviz_log(witness)
        try:
            texts |= repro_files(found, folder)
        except SuspectError as unplayable:
            # Some faults no client can provoke by latencies; the laboratory's own replay remains.
            texts["repro.txt"] = f"{unplayable}\n"
    return {name: texts[name] for name in NAMES if name in texts}


def check_folder(folder: Path) -> None:
    """Raises InputError where `write_folder` would refuse `folder`; to be asked before the work is done."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise InputError("this is a file", where=str(folder), hint="Name a folder for --out")
    names = {path.name for path in folder.iterdir()}
    strange = sorted(names - set(NAMES))
    ours = not names or _is_ours(folder / "witness.json")
    if strange or not ours:
        what = (
            f"{strange[0]} in it is not of an exploration"
            if strange
            else "what is in it is not of an exploration"
        )
        raise InputError(what, where=str(folder), hint="Name another folder for --out, nothing was written")


def _is_ours(file: Path) -> bool:
    try:
        exploration_from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SuspectError):
        return False
    return True


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """`files` in `folder`, all of them or none: they are written beside it first. An earlier exploration there is replaced.

    Raises InputError where something else lies there, or where nothing can be written.
    """
    check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        for name, text in files.items():
            with (fresh / name).open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        _put(fresh, folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _put(fresh: Path, folder: Path) -> None:
    """`fresh` under the name of `folder`. What stood there goes back should that fail."""
    if not folder.exists() or not any(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
        fresh.rename(folder)
        return
    before = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        folder.rename(before)  # onto the empty one
        try:
            fresh.rename(folder)
        except OSError:
            before.rename(folder)
            raise
    finally:
        shutil.rmtree(before, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"nothing can be written there ({error.strerror or error})",
        where=str(folder),
        hint="Name another folder: --out",
    )
