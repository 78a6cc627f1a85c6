"""PostPilot in small: the same code makes it, from another seed and size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from vecforensics.case import load_case
from vecforensics.played_migration import case_records, play_into_target
from vecforensics.postpilot.export import make_export
from vecforensics.race import physics_of

BUNDLED = Path(__file__).resolve().parents[2] / "data" / "postpilot"


def make_small_case(folder: Path) -> Path:
    """A case file in `folder` with its sources, target, log and code."""
    for name in ("migration.js", "migration.corrected.js"):
        shutil.copy(BUNDLED / name, folder / name)
    text = (
        (BUNDLED / "case.yaml")
        .read_text()
        .replace("runs: 20", "runs: 4")
        .replace("records: 2000", "records: 120")
    )
    (folder / "case.yaml").write_text(text)
    (folder / "migration.log").write_text("")
    export = make_export(60, 140, 3, imported=0.3)
    for name, rows in (("users", export.users), ("posts", export.posts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    case = load_case(folder / "case.yaml")
    played = play_into_target(case, "migration.js:processMigration", case_records(case), physics_of(case), 3)
    log = "".join(f"2026-11-05T10:12:{second:06.3f}Z {line}\n" for second, _, line in played.console)
    (folder / "migration.log").write_text(log)
    return folder / "case.yaml"
