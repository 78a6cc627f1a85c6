"""The notebooks as people run them: by `investigate`, and alone through plain papermill from any working folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from small_postpilot import make_small_case

from vecforensics.cli import main
from vecforensics.run_folder import RunFolder

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
LITERAL = re.compile(r"^[a-z_]+: (str|int|float|bool) = [^#()]+  # .+$")


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def shown(path: Path) -> str:
    """Everything that the cells of an executed notebook display, as text and as HTML."""
    parts = []
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error", output
            parts.extend(str(value) for value in output.get("data", {}).values())
            parts.append(output.get("text", ""))
    return "\n".join(parts)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin_and_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, second, *_ = notebook.cells
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "\n1. " in first.source
    assert second.metadata.tags == ["parameters"]
    lines = [line for line in second.source.splitlines() if not line.startswith("#")]
    assert lines
    assert all(LITERAL.match(line) for line in lines), lines
    cells = code_cells(path)
    assert len(cells) <= 12
    for cell in cells:
        assert len(cell.source.splitlines()) <= 8
        assert not re.search(r"\b(def|class|lambda|Path|os\.)\b", cell.source)
        assert cell.outputs == []
        assert cell.execution_count is None
    assert "papermill" not in notebook.metadata


@pytest.fixture(scope="module")
def case_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_case(tmp_path_factory.mktemp("postpilot"))


@pytest.fixture(scope="module")
def investigated(case_file: Path) -> tuple[int, RunFolder]:
    """The exit code of `investigate --apply`, and its run."""
    code = main(["investigate", str(case_file), "--apply", "--out", str(case_file.parent / "reports")])
    run = RunFolder.latest(case_file.parent / "reports", "ERR-2026-57")
    assert run is not None
    return code, run


def test_corruption_that_was_found_is_exit_1_even_when_it_was_repaired(
    investigated: tuple[int, RunFolder],
) -> None:
    code, run = investigated
    assert code == 1
    assert json.loads(run.findings_json.read_text())["verdict"] == "corrupt"
    assert json.loads(run.verification_json.read_text())["verdict"] == "clean"
    assert run.journal()["status"] == "done"


@pytest.mark.parametrize(
    ("notebook", "text"),
    [
        ("01_collect_evidence", "Key Not Found"),
        ("02_diff_vectors", "mangled_id"),
        ("03_reproduce_race", "migration.js"),
        ("04_corrected_migration", "Verified by another path: clean"),
        ("05_incident_report", "incident-report.html"),
    ],
)
def test_the_executed_copy_shows_what_its_question_asks(
    investigated: tuple[int, RunFolder], notebook: str, text: str
) -> None:
    assert text in shown(investigated[1].notebooks / f"{notebook}.ipynb")


def test_every_file_of_the_contract_is_there(investigated: tuple[int, RunFolder]) -> None:
    _, run = investigated
    for name in [
        "run.json",
        "manifest.json",
        "findings.json",
        "findings.parquet",
        "race/witness.json",
        "race/repro.py",
        "migration/plan.json",
        "migration/ledger.sqlite",
        "migration/verification.json",
        "incident-report.html",
        "incident-report.md",
        "junit.xml",
        "summary.md",
    ]:
        assert (run.path / name).stat().st_size > 0, name


def test_the_sealed_run_verifies_and_a_touched_one_does_not(investigated: tuple[int, RunFolder]) -> None:
    _, run = investigated
    assert main(["verify", str(run.path)]) == 0
    before = run.findings_json.read_bytes()
    run.findings_json.write_bytes(before.replace(b'"corrupt"', b'"clean"  ', 1))
    assert main(["verify", str(run.path)]) == 1
    run.findings_json.write_bytes(before)


def test_the_repro_fails_on_its_own_with_plain_node_or_says_that_node_is_missing(
    investigated: tuple[int, RunFolder],
) -> None:
    _, run = investigated
    done = subprocess.run([sys.executable, run.repro_py], capture_output=True, text=True, cwd=run.race.parent)
    assert done.returncode in (1, 2), done.stderr
    assert done.stderr.strip() or done.stdout.strip()


def test_after_the_repair_a_new_investigation_is_clean(
    investigated: tuple[int, RunFolder], case_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(case_file), "--out", str(case_file.parent / "again")]) == 0
    assert "CLEAN" in capsys.readouterr().out


def test_plain_papermill_runs_a_notebook_alone_from_another_folder(
    investigated: tuple[int, RunFolder], tmp_path: Path
) -> None:
    _, run = investigated
    notebook = next(path for path in NOTEBOOKS if path.stem == "02_diff_vectors")
    command = [
        sys.executable,
        "-m",
        "papermill",
        notebook,
        "out.ipynb",
        "-y",
        json.dumps({"run": str(run.path)}),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "mangled_id" in shown(tmp_path / "out.ipynb")


def test_start_here_on_a_finished_run_leaves_its_report_and_its_seal_as_they_are(
    investigated: tuple[int, RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = investigated
    names = sorted(path for path in run.path.rglob("*") if path.is_file() and path != run.run_json)
    before = {path: path.read_bytes() for path in names}
    notebook = next(path for path in NOTEBOOKS if path.stem == "00_start_here")
    parameters = json.dumps({"run": str(run.path), "rehearsal_runs": 2})
    command = [sys.executable, "-m", "papermill", notebook, "out.ipynb", "-y", parameters]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "4 runs each" in shown(tmp_path / "out.ipynb")  # those of the case, and not the two
    after = sorted(path for path in run.path.rglob("*") if path.is_file() and path != run.run_json)
    assert {path: path.read_bytes() for path in after} == before
    assert main(["verify", str(run.path)]) == 0
    assert "since the seal: diff ran at " in capsys.readouterr().out


def test_start_here_goes_the_whole_way_in_one_kernel(case_file: Path, tmp_path: Path) -> None:
    fresh = make_small_case(tmp_path)
    notebook = next(path for path in NOTEBOOKS if path.stem == "00_start_here")
    parameters = json.dumps({"run": str(fresh), "rehearsal_runs": 2})
    command = [sys.executable, "-m", "papermill", notebook, "out.ipynb", "-y", parameters]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    text = shown(tmp_path / "out.ipynb")
    assert "incident-report.html" in text
    assert "plan for repair" in text or "nothing is written" in text
