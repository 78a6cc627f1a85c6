"""The run folder: files appear whole, one process writes, and a stage that was killed is not done."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vecforensics.case import load_case
from vecforensics.errors import CaseError, EvidenceError, RunLocked
from vecforensics.run_folder import RunFolder, write_json, write_whole


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    file = tmp_path / "case.yaml"
    file.write_text(
        "case: T-1\ncollections:\n  a: {source: {uri: a.jsonl, id: id}, target: {uri: 'lancedb:t', collection: a}}\n"
    )
    return RunFolder.begin(file, load_case(file), tmp_path / "reports")


def python(program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


class TestWriteWhole:
    def test_killed_at_any_moment_the_old_or_the_new_is_there(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        program = (
            "import sys; from pathlib import Path; from vecforensics.run_folder import write_whole\n"
            "n = 0\n"
            "while True:\n"
            "    write_whole(Path(sys.argv[1]), bytes([65 + n % 26]) * 3_000_000); n += 1\n"
            "    print(n, flush=True)\n"
        )
        for _ in range(4):
            with python(program, str(path)) as writer:
                assert writer.stdout is not None
                for _ in range(3):
                    writer.stdout.readline()
                writer.send_signal(signal.SIGKILL)
                writer.wait()
            data = path.read_bytes()
            assert len(data) == 3_000_000
            assert data == data[:1] * len(data)

    def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        write_whole(path, "old")

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, "new")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_folders_are_made_and_text_is_utf_8(self, tmp_path: Path) -> None:
        write_whole(tmp_path / "a" / "b", "日本\n")
        assert (tmp_path / "a" / "b").read_bytes() == "日本\n".encode()
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o644

    def test_json_is_stable_and_never_holds_nan(self, tmp_path: Path) -> None:
        write_json(tmp_path / "x.json", {"b": 1, "a": "é"})
        assert (tmp_path / "x.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "x.json", {"a": float("nan")})
        assert (tmp_path / "x.json").read_text().startswith('{\n  "a"')


class TestLock:
    HOLD = (
        "import sys; from vecforensics.run_folder import RunFolder\n"
        "with RunFolder.open(sys.argv[1]).locked():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )

    def test_a_second_process_is_refused_until_the_first_ends(self, run: RunFolder) -> None:
        with python(self.HOLD, str(run.path)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(RunLocked, match=r"another process works on this run\. Wait"), run.locked():
                pass
            with pytest.raises(RunLocked), run.stage("diff"):
                pass
            holder.communicate("")
        with run.locked():
            assert run.journal()["stages"] == {}

    def test_a_killed_process_leaves_no_lock(self, run: RunFolder) -> None:
        with python(self.HOLD, str(run.path)) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            holder.kill()
            holder.wait()
        with run.locked():
            assert run.journal()["status"] == "running"

    def test_one_process_may_take_it_again(self, run: RunFolder) -> None:
        with run.locked(), run.locked(), run.stage("diff"):
            pass
        assert run.done("diff")


class TestJournal:
    def test_a_stage_that_ends(self, run: RunFolder) -> None:
        with run.stage("diff", {"sample": 5}):
            assert run.journal()["stages"]["diff"]["status"] == "running"
            assert not run.done("diff")
        entry = run.journal()["stages"]["diff"]
        assert (entry["status"], entry["parameters"]) == ("done", {"sample": 5})
        assert entry["began"] <= entry["ended"]

    @pytest.mark.parametrize(
        ("error", "noted"),
        [
            (CaseError("bad", where="x:1", hint="Mend"), "x:1: bad. Mend"),
            (ZeroDivisionError("the value was hunter2"), "ZeroDivisionError"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
        ],
    )
    def test_a_stage_that_fails_is_noted_without_what_a_traceback_would_leak(
        self, run: RunFolder, error: BaseException, noted: str
    ) -> None:
        with contextlib.suppress(type(error)), run.stage("diff"):
            raise error
        assert run.journal()["stages"]["diff"]["status"] == "failed"
        assert run.journal()["stages"]["diff"]["error"] == noted
        assert not run.done("diff")

    def test_a_stage_that_was_killed_stays_running(self, run: RunFolder) -> None:
        program = (
            "import os, sys; from vecforensics.run_folder import RunFolder\n"
            "with RunFolder.open(sys.argv[1]).stage('diff'): os.kill(os.getpid(), 9)"
        )
        with python(program, str(run.path)) as killed:
            assert killed.wait() == -signal.SIGKILL
        assert run.journal()["stages"]["diff"]["status"] == "running"
        assert not run.done("diff")

    def test_a_damaged_file_says_how_to_make_it_again(self, run: RunFolder) -> None:
        for content, words in (
            ("{", "is damaged"),
            ("[]", r"is damaged \(no object\)"),
            ('"\ud800"', "is damaged"),
        ):
            run.findings_json.write_bytes(content.encode("utf-8", "surrogatepass"))
            with pytest.raises(EvidenceError, match=words + ".*vecforensics diff"):
                run.read_json(run.findings_json, made_by="diff")
        run.findings_json.unlink()
        with pytest.raises(EvidenceError, match=r"has not been made yet.*Run first: vecforensics diff"):
            run.read_json(run.findings_json, made_by="diff")


class TestFinding:
    def test_two_runs_in_one_second_are_two(self, run: RunFolder, tmp_path: Path) -> None:
        case = load_case(tmp_path / "case.yaml")
        more = {RunFolder.begin(tmp_path / "case.yaml", case, tmp_path / "reports").path for _ in range(3)}
        assert len({run.path, *more}) == 4

    def test_the_case_is_frozen_when_the_run_begins(self, run: RunFolder, tmp_path: Path) -> None:
        (tmp_path / "case.yaml").write_text("case: other")
        assert run.case().case == "T-1"
        assert run.case().folder == tmp_path

    def test_the_newest_run_wins_and_strange_names_do_not_count(self, run: RunFolder, tmp_path: Path) -> None:
        stranger = run.path.parent / "zzz"
        stranger.mkdir()
        (stranger / "run.json").write_text("{}")
        assert RunFolder.latest(tmp_path / "reports", "T-1") == run
        assert RunFolder.latest(tmp_path / "reports", "none") is None

    def test_what_is_no_run(self, tmp_path: Path) -> None:
        assert not RunFolder.is_run(tmp_path)
        with pytest.raises(EvidenceError, match="this is no run folder"):
            RunFolder.open(tmp_path)

    def test_its_names_are_the_fixed_ones(self, run: RunFolder) -> None:
        fixed = {
            *(
                "run.json",
                "manifest.json",
                "evidence",
                "findings.json",
                "findings.parquet",
                "race",
                "race/witness.json",
            ),
            *(
                "race/repro.py",
                "migration",
                "migration/plan.json",
                "migration/ledger.sqlite",
                "figures",
                "notebooks",
            ),
            *(
                "migration/verification.json",
                "incident-report.html",
                "incident-report.md",
                "junit.xml",
                "summary.md",
            ),
            "notes.md",
        }
        places = {
            str(value.relative_to(run.path))
            for name in dir(RunFolder)
            if isinstance(value := getattr(run, name, None), Path) and value != run.path
        }
        assert places >= fixed
