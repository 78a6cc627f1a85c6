"""The verbs of a checkout on a machine where nothing is installed, and the stamp that keeps a second call from installing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vecforensics import checkout
from vecforensics.checkout import ROOT, VERBS, SetupFailed, ensure_environment, run_verb


def bare_python(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """This package by a Python without site-packages: nothing that was ever installed can be imported."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "vecforensics", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
        cwd=cwd,
    )


@pytest.fixture
def fake_checkout(tmp_path: Path) -> Path:
    root = tmp_path / "a check out"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "requirements.lock").write_text(
        "uv==1 \\\n    --hash=sha256:aa\nzzz==2 \\\n    --hash=sha256:bb\n"
    )
    return root


@pytest.fixture
def set_up(fake_checkout: Path) -> Path:
    """A checkout whose stamp says that all is installed, with a Python that fails whenever it is started."""
    python = fake_checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 99\n")
    python.chmod(0o755)
    (fake_checkout / ".venv" / "vecforensics-stamp").write_text(checkout._fingerprint(fake_checkout))
    return fake_checkout


def test_help_needs_nothing_but_the_standard_library() -> None:
    done = bare_python("help")
    assert done.returncode == 0
    assert [verb for verb in VERBS if not re.search(rf"^  {verb} ", done.stdout, re.MULTILINE)] == []


def test_a_verb_of_the_command_line_without_its_libraries_is_one_line() -> None:
    done = bare_python("investigate", "case.yaml")
    assert done.returncode == 2
    assert re.fullmatch(
        r"vecforensics: nothing is installed for this Python yet\. Run: make setup .*\n", done.stderr
    )


def test_a_second_call_installs_nothing(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"started {args}")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert ensure_environment(set_up) == set_up / ".venv" / "bin" / "python"


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml", "the path"])
def test_a_change_sets_up_anew(set_up: Path, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if changed == "the path":
        set_up = set_up.rename(set_up.with_name("moved"))
    else:
        (set_up / changed).write_text((set_up / changed).read_text() + "# more\n")
    made: list[Path] = []
    monkeypatch.setattr(checkout, "_make_venv", made.append)
    monkeypatch.setattr(checkout, "_ensure_pip", lambda python: None)
    monkeypatch.setattr(checkout, "_install_with_uv", lambda python, root: True)
    ensure_environment(set_up)

    assert made == [
        set_up / ".venv"
    ]  # the Python there does not start, so that the whole environment is made again
    stamp = (set_up / ".venv" / "vecforensics-stamp").read_text()
    assert stamp == checkout._fingerprint(set_up)


def test_a_failed_install_leaves_no_stamp(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (set_up / "requirements.lock").write_text("uv==2\n")
    monkeypatch.setenv("NO_UV", "1")
    monkeypatch.setattr(checkout, "_make_venv", lambda home: None)
    monkeypatch.setattr(checkout, "_ensure_pip", lambda python: None)
    with pytest.raises(SetupFailed, match="the install failed"):
        ensure_environment(set_up)

    assert not (set_up / ".venv" / "vecforensics-stamp").exists()


def test_only_the_installers_own_pin_is_handed_to_pip(fake_checkout: Path) -> None:
    assert checkout._lock_entry(fake_checkout, "uv") == "uv==1 \\\n    --hash=sha256:aa\n"
    entry = checkout._lock_entry(ROOT, "uv")
    assert entry.startswith("uv==")
    assert "--hash=sha256:" in entry
    assert not entry.rstrip().endswith("\\")


def test_an_old_python_is_one_line(
    fake_checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkout, "OLDEST_PYTHON", (9, 9))
    assert run_verb("setup", root=fake_checkout) == 2
    assert re.fullmatch(
        r"vecforensics setup: Python 3\.\S+ is too old\. Install Python 9\.9 .*\n", capsys.readouterr().err
    )


def test_outside_a_checkout_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("test", root=tmp_path) == 2
    assert re.fullmatch(r"vecforensics test: there is no checkout at .*\n", capsys.readouterr().err)


def test_the_verbs_stop_at_the_first_command_that_fails(set_up: Path) -> None:
    assert run_verb("check", root=set_up) == 99


@pytest.mark.parametrize(("code", "told"), [(0, True), (1, False)])
def test_a_report_that_was_made_says_what_to_do_next_beside_the_output_whose_last_line_is_the_run(
    set_up: Path, code: int, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkout, "_in_order", lambda root, commands: code)
    assert run_verb("report", root=set_up) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert ("incident-report.html" in err and "make lab" in err and ".venv/bin/activate" in err) is told


def test_a_second_report_waits_until_the_first_is_done(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    entered, waits = threading.Event(), threading.Event()

    def first_then_second(root: Path, commands: object) -> int:
        name = threading.current_thread().name
        order.append(f"{name} begins")
        if name == "first":
            entered.set()
            assert waits.wait(20)
        order.append(f"{name} ends")
        return 1

    def heard(*words: str, **how: object) -> None:
        if "waiting for it" in words[0]:
            waits.set()

    monkeypatch.setattr(checkout, "_in_order", first_then_second)
    monkeypatch.setattr(checkout, "print", heard, raising=False)
    first = threading.Thread(target=run_verb, args=("report",), kwargs={"root": set_up}, name="first")
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=run_verb, args=("report",), kwargs={"root": set_up}, name="second")
    second.start()
    first.join()
    second.join()
    assert order == ["first begins", "first ends", "second begins", "second ends"]


def test_the_commands_of_the_readme_are_where_a_set_up_puts_them() -> None:
    shell = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    words = [line.split()[0] for block in shell for line in block.strip().splitlines()]
    assert set(words) == {"make", ".venv/bin/vecforensics", ".venv/bin/papermill"}


def test_an_unknown_benchmark_is_named(set_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (set_up / "benchmarks").mkdir()
    (set_up / "benchmarks" / "bench_diff.py").write_text("")
    assert run_verb("bench", ["nothing"], root=set_up) == 2
    assert "no benchmark 'nothing'. There are: diff" in capsys.readouterr().err


def test_options_go_to_each_benchmark_that_is_named(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (set_up / "benchmarks").mkdir()
    for name in ("bench_diff.py", "bench_race.py"):
        (set_up / "benchmarks" / name).write_text("")
    ran: list[object] = []
    monkeypatch.setattr(checkout, "_in_order", lambda root, commands: ran.extend(commands) or 0)
    assert run_verb("bench", ["race", "--seed", "1"], root=set_up) == 0
    assert run_verb("bench", ["--seed", "1"], root=set_up) == 0
    race, diff = (str(set_up / "benchmarks" / name) for name in ("bench_race.py", "bench_diff.py"))
    assert ran == [[race, "--seed", "1"], [diff, "--seed", "1"], [race, "--seed", "1"]]


def test_the_tools_beside_ours_are_installed_once_and_apart(
    set_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (set_up / "benchmarks").mkdir()
    (set_up / "benchmarks" / "peers.lock").write_text("duckdb==1\n")
    made: list[Path] = []
    monkeypatch.setattr(checkout, "_make_venv", lambda home: made.append(home) or home.mkdir(parents=True))
    monkeypatch.setattr(checkout, "_run", lambda python, root, command: 0)
    monkeypatch.setattr(checkout, "_usable", lambda python: bool(made))
    for _ in range(2):
        checkout._ensure_peers(set_up / ".venv" / "bin" / "python", set_up)
    assert made == [set_up / ".cache" / "peers"]


def test_clean_spares_the_reports(set_up: Path) -> None:
    (set_up / "reports").mkdir()
    (set_up / "reports" / "evidence").write_text("x")
    (set_up / "lib" / "__pycache__").mkdir(parents=True)
    (set_up / "tests").mkdir()
    assert run_verb("clean", root=set_up) == 0
    assert sorted(path.name for path in set_up.rglob("*")) == [
        "evidence", "lib", "pyproject.toml", "reports", "requirements.lock", "tests",
    ]  # fmt: skip


def test_nothing_of_the_callers_environment_leads_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    variables = checkout.environment(Path("/a/.venv/bin/python"))
    assert "PYTHONPATH" not in variables
    assert variables["VIRTUAL_ENV"] == "/a/.venv"
    assert variables["PATH"].startswith("/a/.venv/bin" + os.pathsep)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMake:
    def make(self, *words: str) -> str:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        command = ["make", f"PYTHON={sys.executable}", *words]
        return subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True
        ).stdout

    def test_help_is_the_default_goal(self) -> None:
        assert self.make() == self.make("help")
        assert "report" in self.make()

    def test_every_verb_is_a_goal_that_hands_its_words_on(self) -> None:
        for verb in VERBS:
            assert self.make("-n", verb, "ARGS=-k x").rstrip().endswith(f"-m vecforensics {verb} -k x")
        assert self.make("-n", "bench-diff").rstrip().endswith("-m vecforensics bench diff")


def test_the_ci_script_runs_the_readmes_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert script.index("make test") < script.index("make report")
