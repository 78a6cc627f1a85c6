"""Kill a migration in the middle, for real: a process of its own that sends itself SIGKILL at the n-th call of something.

As a script it reads jobs from standard input, one JSON object a line, and answers each with "killed" or "ended". It forks for
each job, so that the imports are paid for once; `"fork": false` runs the job in this process (LanceDB has threads from the
moment it is imported, and threads do not survive a fork).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve()


class Crasher:
    """The other end, for a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, run: Path, point: str, nth: int, **more: Any) -> str:
        """Migrate the scene in `folder` and die at the `nth` passing of `point`; "killed" or, if it was never passed, "ended"."""
        job = {"folder": str(folder), "run": str(run), "point": point, "nth": nth, **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer and self._process.wait() == -signal.SIGKILL:
            return "killed"
        return answer


@contextmanager
def crasher() -> Iterator[Crasher]:
    process = subprocess.Popen(
        [sys.executable, str(_HERE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Crasher(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _arm(point: str, nth: int) -> None:
    """Make the n-th passing of `point` the process's last deed: commit, upsert, delete or restore, `:before` or `:after`."""
    from vecforensics.migrate.ledger import Ledger
    from vecforensics.stores import lancedb, parquet

    what, when = point.split(":")
    passed = 0

    def pass_by() -> None:
        nonlocal passed
        passed += 1
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(original: Any) -> Any:
        def function(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                pass_by()
            result = original(*args, **kwargs)
            if when == "after":
                pass_by()
            return result

        return function

    if what == "commit" and when == "before":
        Ledger._commit = wrapped(Ledger._commit)  # type: ignore[method-assign]
    elif what == "commit":
        # The commit is durable, the head does not know of it yet.
        when = "before"
        Ledger._write_head = wrapped(Ledger._write_head)  # type: ignore[method-assign]
    else:
        for writer in (parquet.ParquetWriter, lancedb.LanceWriter):
            setattr(writer, what, wrapped(getattr(writer, what)))


def _work(job: dict[str, Any]) -> None:
    from vecforensics.case import load_case
    from vecforensics.migrate import migrate, plan
    from vecforensics.run_folder import RunFolder

    _arm(job["point"], job["nth"])
    plan.CHUNK_ROWS = job.get("chunk_rows", 4_096)
    folder = Path(job["folder"])
    migrate(
        load_case(folder / "case.yaml"),
        RunFolder(Path(job["run"])),
        mode=job.get("mode", "apply"),
        strategy=job.get("strategy", "waves"),
        concurrency=job.get("concurrency", 1_024),
    )


def _main() -> None:
    import vecforensics.case
    import vecforensics.migrate.apply
    import vecforensics.migrate.rollback
    import vecforensics.migrate.verify  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        if not job.get("fork", True):
            _work(job)
            print("ended", flush=True)
            continue
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _work(job)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else "ended" if status == 0 else "failed", flush=True)


if __name__ == "__main__":
    _main()
