"""What migration.js made of the export, on a seeded day: target and log of the bundled case.

The folder is made once; `made.json` holds the digests of what was made, so that a folder that somebody repaired, changed or half
deleted is made again, and an untouched one costs a fraction of a second.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from vecforensics.case import load_case
from vecforensics.custody import digest_of
from vecforensics.played_migration import case_records, play_into_target
from vecforensics.postpilot.export import Export, make_export
from vecforensics.race.rehearsal import Played
from vecforensics.race.stage import physics_of
from vecforensics.run_folder import write_json, write_whole

__all__ = ["is_made", "make_case"]

# The day of the incident: 2,400 accounts and 5,600 posts, 21 % of them imported when their account was linked. Of the days that
# the physics allows, this seed's is one on which the process went down when four fifths of the export were through.
_USERS: Final = 2_400
_POSTS: Final = 5_600
_IMPORTED: Final = 0.21
_EXPORT_SEED: Final = 57
_SEED: Final = 13
_BEGAN: Final = datetime(2026, 11, 5, 10, 12, 0, tzinfo=UTC)
_MADE: Final = ("users.jsonl", "posts.jsonl", "migration.log", "target")


def make_case(folder: Path) -> Played | None:
    """Make the case's data in `folder`, beside its case.yaml and migration.js. None where it stands there untouched."""
    journal = folder / "made.json"
    ingredients = {name: digest_of(folder / name)[0] for name in ("case.yaml", "migration.js")}
    if _untouched(folder, journal, ingredients):
        return None
    journal.unlink(missing_ok=True)
    shutil.rmtree(folder / "target", ignore_errors=True)
    export = make_export(_USERS, _POSTS, _EXPORT_SEED, imported=_IMPORTED)
    _write(folder, export)
    case = load_case(folder / "case.yaml")
    played = play_into_target(
        case, "migration.js:processMigration", case_records(case), physics_of(case), _SEED
    )
    write_whole(folder / "migration.log", "".join(_log_lines(played)))
    made = {name: digest_of(folder / name)[0] for name in _MADE}
    write_json(journal, {"seed": _SEED, "ingredients": ingredients, "made": made})
    return played


def is_made(folder: Path) -> bool:
    """Whether the case's data stand in `folder`, touched or not: a repaired target stays repaired until the case is made anew."""
    return all((folder / name).exists() for name in (*_MADE, "made.json"))


def _untouched(folder: Path, journal: Path, ingredients: dict[str, str]) -> bool:
    try:
        said = json.loads(journal.read_text(encoding="utf-8"))
        return bool(
            said["ingredients"] == ingredients
            and said["made"] == {name: digest_of(folder / name)[0] for name in _MADE}
        )
    except (OSError, ValueError, KeyError):
        return False


def _write(folder: Path, export: Export) -> None:
    for name, rows in (("users.jsonl", export.users), ("posts.jsonl", export.posts)):
        write_whole(folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _log_lines(played: Played) -> list[str]:
    """What the script printed, each line with the time of day at which it did."""
    lines = []
    for seconds, _level, text in played.console:
        moment = _BEGAN + timedelta(seconds=seconds)
        lines.append(f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z {text}\n")
    return lines
