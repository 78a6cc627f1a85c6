"""The GitHub workflows: what they call exists, what they use is pinned, and the report is kept whatever happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vecforensics.checkout import VERBS
from vecforensics.cli import cli

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def test_there_are_two() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "investigate.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
class TestWorkflow:
    def test_it_may_only_read_and_cannot_run_for_ever(self, path: Path) -> None:
        document = load(path)
        assert document["permissions"] == {"contents": "read"}
        assert [
            name for name, job in document["jobs"].items() if not 0 < job.get("timeout-minutes", 0) <= 60
        ] == []

    def test_actions_are_pinned_to_a_commit(self, path: Path) -> None:
        used = [step["uses"] for step in steps(path) if "uses" in step]
        assert used
        assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one)] == []

    def test_inputs_never_become_part_of_a_script(self, path: Path) -> None:
        assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []

    def test_every_verb_exists(self, path: Path) -> None:
        scripts = "\n".join(step.get("run", "") for step in steps(path))
        assert set(re.findall(r"^make ([\w-]+)", scripts, re.MULTILINE)) <= set(VERBS)
        assert set(re.findall(r"bin/vecforensics ([\w-]+)", scripts)) <= set(cli.commands)
        for options in re.findall(r"bin/vecforensics investigate (.*)", scripts):
            known = {opt for parameter in cli.commands["investigate"].params for opt in parameter.opts}
            assert set(re.findall(r"--[\w-]+", options)) <= known

    def test_summary_and_report_come_out_whatever_happens(self, path: Path) -> None:
        summaries = [step for step in steps(path) if "GITHUB_STEP_SUMMARY" in step.get("run", "")]
        uploads = [step for step in steps(path) if "upload-artifact" in step.get("uses", "")]
        assert len(summaries) == len(uploads) == 1
        assert "summary.md" in summaries[0]["run"]
        assert summaries[0]["if"] == uploads[0]["if"] == "always()"
        assert uploads[0]["with"]["path"] == "reports/"


def test_an_investigation_fails_on_corruption_unless_told_otherwise() -> None:
    # PyYAML reads the key `on` as true.
    triggers = load(ROOT / ".github" / "workflows" / "investigate.yml")[True]  # type: ignore[index]
    assert {trigger["inputs"]["fail-on"]["default"] for trigger in triggers.values()} == {"corrupt"}
