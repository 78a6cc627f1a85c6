"""What may go into a notebook. Everything here is refused before any kernel starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vecforensics.errors import InputError, ToolFailed
from vecforensics.run_folder import RunFolder
from vecforensics.runner import find_notebook, prepare_notebook, run_notebook
from vecforensics.runner.parameters import check_parameters, load_notebook, secret_values, without_secrets

Make = Callable[..., Path]

DECLARED = """\
run: str = ""  # the run folder
sample: int = 0  # rows, 0 for all
cosine: float = 1e-5
apply: bool = False
plain = 3
names: list[str] = ["a"]
weights: dict[str, float] = {}
maybe: Optional[str] = None
anything = None
api_key: str = ""  # env:NAME
"""


def check(notebook: Make, **parameters: Any) -> None:
    path = notebook("1", parameters=DECLARED)
    check_parameters(load_notebook(path), path.name, parameters, {})


@pytest.mark.parametrize(
    "fitting",
    [
        {},
        {"run": "00123", "sample": 5, "cosine": 1, "apply": True, "plain": 4},
        {"names": [], "weights": {"a": 1.5, "b": 2}, "maybe": None},
        {"maybe": "text", "anything": [1, "two", None, {"three": 3.0}]},
        {"api_key": "env:PINECONE_API_KEY"},
        {"api_key": ""},
    ],
)
def test_what_fits_passes(notebook: Make, fitting: dict[str, Any]) -> None:
    path = notebook("1", parameters=DECLARED)
    node = load_notebook(path)
    check_parameters(node, path.name, fitting, {})

    assert [cell.source for cell in node.cells] == [DECLARED, "1"]  # looked at, not changed


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"smaple": 5}, r"no parameter 'smaple'\. Did you mean 'sample'\?"),
        ({"qqq": 5}, r"no parameter 'qqq'\. There are: run, sample"),
        ({"run": 123}, "'run' is int, not str"),
        ({"sample": "5"}, "'sample' is str, not int"),
        ({"sample": True}, "'sample' is bool, not int"),
        ({"sample": 5.0}, "'sample' is float, not int"),
        ({"apply": 1}, "'apply' is int, not bool"),
        ({"apply": "true"}, "'apply' is str, not bool"),
        ({"cosine": "1e-5"}, "'cosine' is str, not float"),
        ({"cosine": float("nan")}, "'cosine' is nan, which a notebook cannot hold"),
        ({"plain": "4"}, "'plain' is str, not int"),
        ({"names": ["a", 1]}, r"'names' is list, not list\[str\]"),
        ({"weights": {"a": "x"}}, "'weights' is dict"),
        ({"run": None}, "'run' is NoneType, not str"),
        ({"anything": Path("x")}, "which a notebook cannot hold"),
    ],
)
def test_what_does_not_fit_is_refused(notebook: Make, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(notebook, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"api_key": "abc"},
        {"api_key": "env:NOT A NAME"},
        {"run": "pcsk_4xYzAbCdEfGh"},
        {"run": "postgresql://me:hunter2@db/x"},
        {"names": ["sk-abcdefghijklmnop1234"]},
        {"anything": {"deep": ["-----BEGIN RSA PRIVATE KEY-----"]}},
        {"run": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x"},
    ],
)
def test_a_secret_is_refused_and_not_repeated(notebook: Make, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="secret") as refused:
        check(notebook, **parameters)

    assert "env:NAME" in str(refused.value)
    assert str(next(iter(parameters.values()))) not in str(refused.value)


def test_the_value_behind_a_reference_of_the_case_is_refused(
    run: RunFolder, notebook: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VF_TEST_TARGET", "correct-horse-battery")
    with pytest.raises(InputError, match="looks like a secret"):
        run_notebook(notebook("1"), run, {"run": "x correct-horse-battery"})


def test_a_secret_that_a_cell_prints_is_not_in_the_executed_copy(
    run: RunFolder, notebook: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VF_TEST_TARGET", "correct-horse-battery")
    cell = "import os\nprint(os.environ['VF_TEST_TARGET'])\nraise ValueError(os.environ['VF_TEST_TARGET'])"
    with pytest.raises(ToolFailed, match="ValueError: env:VF_TEST_TARGET"):
        run_notebook(notebook(cell), run, {})

    assert "correct-horse" not in (run.notebooks / "made.ipynb").read_text()
    assert "correct-horse" not in run.run_json.read_text()


def test_a_path_or_a_short_value_behind_a_reference_is_no_secret(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VF_TEST_TARGET", str(tmp_path))
    assert secret_values(run) == {}
    monkeypatch.setenv("VF_TEST_TARGET", "8080")
    assert secret_values(run) == {}
    monkeypatch.setenv("VF_TEST_TARGET", "correct-horse")
    assert secret_values(run) == {"VF_TEST_TARGET": "correct-horse"}
    assert without_secrets({"a": ["x correct-horse", 1]}, secret_values(run)) == {
        "a": ["x env:VF_TEST_TARGET", 1]
    }


def test_a_type_that_cannot_be_checked_is_the_notebooks_fault(notebook: Make) -> None:
    path = notebook("1", parameters='where: Path = "x"')
    with pytest.raises(ToolFailed, match="the type 'Path' cannot be checked"):
        check_parameters(load_notebook(path), path.name, {"where": "y"}, {})


def test_a_notebook_without_a_parameters_cell_takes_none(run: RunFolder, notebook: Make) -> None:
    with pytest.raises(InputError, match=r"no parameter 'run'\. There are: none"):
        run_notebook(notebook("1", parameters=None), run, {"run": "x"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no notebook"),
        ("{", "is no notebook"),
        ("[]", "is no notebook"),
        ('{"cells": 3}', "is no notebook"),
        (
            '{"cells": [], "metadata": {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},'
            ' "nbformat": 4, "nbformat_minor": 5}',
            "is written in R",
        ),
    ],
)
def test_a_file_that_is_no_python_notebook(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_notebook(path)


def test_a_notebook_that_is_not_there(tmp_path: Path, run: RunFolder) -> None:
    with pytest.raises(InputError, match="there is no such notebook"):
        run_notebook(tmp_path / "none.ipynb", run, {})
    with pytest.raises(InputError, match="0 notebooks begin with 'qqq'"):
        find_notebook("qqq")


def test_a_prepared_notebook_lies_beside_the_run_and_is_never_overwritten(
    run: RunFolder, notebook: Make
) -> None:
    before = sorted(run.path.rglob("*"))
    prepared = prepare_notebook(notebook("print(run)"), run.path)

    assert prepared == run.path.parent / "open" / f"{run.path.name}-made.ipynb"
    assert f'run = "{run.path}"' in load_notebook(prepared).cells[1].source
    assert sorted(run.path.rglob("*")) == before
    prepared.write_text("a person's work")
    assert prepare_notebook(notebook("print(run)"), run.path) == prepared
    assert prepared.read_text() == "a person's work"
    assert RunFolder.latest(run.path.parents[1], "T-1") == run
