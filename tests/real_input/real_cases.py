"""Cases over real input, which tests read in place: targets are made by really running a migration against a LanceDB folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from vecforensics.case import load_case
from vecforensics.investigation import Investigation, investigate
from vecforensics.played_migration import case_records, play_into_target
from vecforensics.race import Unexplored
from vecforensics.race.rehearsal import Physics, Played

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SUSPECT = Path(__file__).with_name("suspect.py")

# What nobody may find in an output file: values of fields that the case does not name.
PRIVATE = ("password", "ssn", "bank", "email", "phone")


def needs(name: str) -> Path:
    """The path of a data file; the test is skipped where the data are not at hand."""
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not at hand")
    return DATA / name


def dummyjson_case(folder: Path) -> Path:
    """Users, posts that depend on users, comments that depend on posts and users; their ids overlap."""
    users, posts, comments = (needs(f"dummyjson_{name}.json") for name in ("users", "posts", "comments"))
    file = folder / "case.yaml"
    file.write_text(f"""\
case: dummyjson
title: Users, posts and comments moved all at once
collections:
  users:
    source: {{uri: "{users}", id: id, text: [firstName, lastName, university], metadata: [age, company.title]}}
    target: {{uri: "lancedb:target", collection: users}}
    expected: {{embedder: hashing-256}}
  posts:
    source: {{uri: "{posts}", id: id, text: [title, body], metadata: [tags, views], depends_on: {{users: userId}}}}
    target: {{uri: "lancedb:target", collection: posts}}
    expected: {{embedder: hashing-256}}
  comments:
    source:
      uri: "{comments}"
      id: id
      text: [body]
      metadata: [likes]
      depends_on: {{posts: postId, users: user.id}}
    target: {{uri: "lancedb:target", collection: comments}}
    expected: {{embedder: hashing-256}}
suspect: {SUSPECT}:migrate
rehearsal: {{runs: 4, records: 100, seed: 3}}
""")
    return file


def migrate_badly(case_file: Path, seed: int) -> Played:
    """Run the anti-pattern against the case's target under a fixed seed."""
    case = load_case(case_file)
    return play_into_target(case, f"{SUSPECT}:migrate", case_records(case), Physics(), seed)


def explored(inv: Investigation) -> None:
    """The reproduce stage; a case without a suspect would be a mistake of the test."""
    assert not isinstance(inv.reproduce(records=6, schedules=200), Unexplored)


def begun(case_file: Path) -> Investigation:
    """An investigation in a run folder beside the case."""
    return investigate(case_file, case_file.parent / "reports")
