"""Loading a person's function: by module or file, and one line for each way in which that goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vecforensics.code_reference import load_function
from vecforensics.errors import SuspectError


def test_a_function_in_a_file_beside_the_case(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NUMBER = 41\n")
    (tmp_path / "mine.py").write_text("from beside import NUMBER\ndef answer():\n    return NUMBER + 1\n")
    path_before = list(sys.path)

    assert load_function("mine.py:answer", tmp_path, SuspectError)() == 42
    assert sys.path == path_before


def test_two_files_of_one_name_do_not_shadow_one_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "migration.py").write_text(f"def which(): return {name!r}\n")
    loaded = [load_function(f"{name}/migration.py:which", tmp_path, SuspectError) for name in ("one", "two")]

    assert [function() for function in loaded] == ["one", "two"]


def test_a_function_in_an_installed_module() -> None:
    assert load_function("json:dumps", Path(), SuspectError)([1]) == "[1]"


@pytest.mark.parametrize(
    ("reference", "content", "words"),
    [
        ("mine.py", "", "names no function"),
        ("mine.py:", "", "names no function"),
        (":f", "", "names no function"),
        ("mine.py:a b", "", "names no function"),
        ("other.py:f", "", "there is no such file"),
        ("mine.py:f", "def g(): pass\n", r"there is no function 'f'\. Functions there: g"),
        ("mine.py:f", "f = 3\n", "there is no function 'f'"),
        ("mine.py:f", "def f(:\n", r"mine\.py:1: syntax error"),
        ("mine.py:f", "import no_such_module_vf\n", "no module named 'no_such_module_vf'"),
        ("mine.py:f", "1 / 0\n", r"fails while it is imported \(ZeroDivisionError: division by zero\)"),
        ("mine.py:f", "raise SystemExit(3)\n", r"fails while it is imported \(SystemExit: 3\)"),
        ("no_such_module_vf:f", "", "no module named 'no_such_module_vf'"),
        ("json:nope", "", "there is no function 'nope'"),
        ("..x:f", "", "fails while it is imported|no module named|names no"),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, reference: str, content: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(SuspectError, match=words) as refused:
        load_function(reference, tmp_path, SuspectError)

    assert "\n" not in str(refused.value)
    assert refused.value.hint


def test_a_file_that_fails_can_be_mended_and_loaded_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0")
    with pytest.raises(SuspectError, match="ZeroDivisionError"):
        load_function("mine.py:f", tmp_path, SuspectError)
    (tmp_path / "mine.py").write_text("def f(): return 'mended now'\n")

    assert load_function("mine.py:f", tmp_path, SuspectError)() == "mended now"
