"""requirements.txt, pyproject.toml and the lock say the same, and the lock holds nothing of the machine that wrote it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [
    line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")
]
LOCK = (ROOT / "requirements.lock").read_text()
ENTRIES = re.findall(r"^(\S+)==([^\s;]+)(.*(?:\n {4}--hash=.*)*)", LOCK, re.MULTILINE)


def test_requirements_end_with_the_checkout_itself() -> None:
    assert DIRECT[-1] == "-e ."
    assert [line for line in DIRECT[:-1] if line.startswith("-")] == []


def test_requirements_name_what_the_package_depends_on() -> None:
    stated = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, DIRECT[:-1])}
    needed = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, PROJECT["dependencies"])}
    assert {name: stated.get(name) for name in needed} == needed


def test_every_direct_dependency_is_locked_in_a_version_that_it_allows() -> None:
    locked: dict[str, list[str]] = {}
    for name, version, _ in ENTRIES:
        locked.setdefault(canonicalize_name(name), []).append(version)
    wrong = [
        str(wanted)
        for wanted in map(Requirement, DIRECT[:-1])
        if not locked.get(canonicalize_name(wanted.name))
        or not all(version in wanted.specifier for version in locked[canonicalize_name(wanted.name)])
    ]
    assert wrong == []


def test_every_locked_package_has_hashes() -> None:
    assert len(ENTRIES) > 100
    assert len(ENTRIES) == len(re.findall(r"^[A-Za-z0-9]", LOCK, re.MULTILINE))
    assert [name for name, _, rest in ENTRIES if not re.search(r"--hash=sha256:[0-9a-f]{64}", rest)] == []


def test_no_index_path_or_address_of_a_machine_is_in_the_lock() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith(("#", "    --hash=sha256:"))]
    foreign = re.compile(r"--|://|file:|@|/")
    assert [line for line in lines if foreign.search(line)] == []


def test_what_builds_and_installs_is_pinned_too() -> None:
    assert {"uv", "hatchling"} <= {name for name, _, _ in ENTRIES}
