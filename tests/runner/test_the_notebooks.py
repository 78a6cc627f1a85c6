"""The six notebooks as the runner sees them: parameters that can be checked, no stored outputs, readable at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from papermill import inspect_notebook

from vecforensics.checkout import ROOT
from vecforensics.runner import find_notebook
from vecforensics.runner.parameters import check_parameters, load_notebook

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_CELLS, MOST_LINES = 12, 8


def code(node: Any) -> list[Any]:
    return [cell for cell in node.cells if cell.cell_type == "code"]


def test_they_are_six_and_found_by_the_beginning_of_their_names() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "00_start_here",
        "01_collect_evidence",
        "02_diff_vectors",
        "03_reproduce_race",
        "04_corrected_migration",
        "05_incident_report",
    ]
    assert [find_notebook(path.stem[:2]) for path in NOTEBOOKS] == NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_every_parameter_has_a_type_that_can_be_checked_and_says_what_it_is(self, path: Path) -> None:
        node = load_notebook(path)
        declared = inspect_notebook(node)
        assert declared["run"]["inferred_type_name"] == "str"
        assert [
            name for name, one in declared.items() if one["inferred_type_name"] == "None" or not one["help"]
        ] == []
        defaults = {"str": "", "int": 1, "float": 1.0, "bool": True}
        given = {name: defaults[one["inferred_type_name"]] for name, one in declared.items()}
        check_parameters(node, path.name, given, {})

    def test_its_parameters_cell_is_no_magic_command(self, path: Path) -> None:
        # IPython takes a cell of the one line `run: str = ""` for its magic %run.
        (cell,) = [one for one in code(load_notebook(path)) if "parameters" in one.metadata.get("tags", [])]
        assert len(cell.source.splitlines()) > 1

    def test_it_is_thin(self, path: Path) -> None:
        cells = code(load_notebook(path))
        assert len(cells) <= MOST_CELLS
        assert [cell.source for cell in cells if len(cell.source.splitlines()) > MOST_LINES] == []
        assert [cell.source for cell in cells if "def " in cell.source or "sys.path" in cell.source] == []

    def test_it_is_kept_without_outputs(self, path: Path) -> None:
        cells = code(load_notebook(path))
        assert [cell.source for cell in cells if cell.outputs or cell.execution_count] == []
