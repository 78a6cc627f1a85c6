"""A run folder and notebooks made on the spot."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from vecforensics.case import load_case
from vecforensics.run_folder import RunFolder

# IPython takes the lone line `run: str = ""` for its magic %run; the comment makes the cell one of two lines.
PARAMETERS = '# What is set from outside.\nrun: str = ""  # the run folder'


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    file = tmp_path / "case.yaml"
    file.write_text(
        "case: T-1\n"
        "collections:\n"
        "  users:\n"
        "    source: {uri: users.jsonl, id: id}\n"
        "    target: {uri: 'lancedb:env:VF_TEST_TARGET', collection: users}\n"
    )
    return RunFolder.begin(file, load_case(file), tmp_path / "reports")


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """notebook(cell, cell, …, parameters=…, name=…) → the path of a notebook with these code cells."""

    def make(*cells: str, parameters: str | None = PARAMETERS, name: str = "made") -> Path:
        node = nbformat.v4.new_notebook()
        node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        if parameters is not None:
            cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
            node.cells.append(cell)
        node.cells += [nbformat.v4.new_code_cell(source) for source in cells]
        for cell in node.cells:
            cell["id"] = uuid.uuid4().hex[:8]
        path = tmp_path / f"{name}.ipynb"
        path.write_text(nbformat.writes(node), encoding="utf-8")
        return path

    return make
