"""What leaves the laboratory is stopped with one line that names the call; what a suspect does to the process stays undone."""

import asyncio
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, explore, watchdog
from vecforensics.race.own_thread import in_own_thread

PROCESSES = ProcessPoolExecutor(1)


async def right(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)


def right_on_threads(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        store.upsert(record.id, embed(record), record.metadata)


# --- the end of the process -----------------------------------------------------------------------------------------------


async def leaves_at_once(records: Any, embed: Any, store: Any) -> None:
    await right(records, embed, store)
    os._exit(0)


async def leaves_from_a_call(records: Any, embed: Any, store: Any) -> None:
    await asyncio.to_thread(os._exit, 0)


def leaves_from_a_thread(records: Any, embed: Any, store: Any) -> None:
    thread = threading.Thread(target=lambda: os._exit(0))
    thread.start()
    thread.join()


async def leaves_and_looks_away(records: Any, embed: Any, store: Any) -> None:
    try:
        os._exit(0)
    except Exception:
        await right(records, embed, store)


async def aborts(records: Any, embed: Any, store: Any) -> None:
    os.abort()


async def shoots_itself(records: Any, embed: Any, store: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def raises_a_signal(records: Any, embed: Any, store: Any) -> None:
    signal.raise_signal(signal.SIGTERM)


async def handles_signals(records: Any, embed: Any, store: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def asks_the_person(records: Any, embed: Any, store: Any) -> None:
    input("go on? ")


# --- other processes, other loops, threads beside the loop -----------------------------------------------------------------


async def pool_of_processes_of_the_module(records: Any, embed: Any, store: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(PROCESSES, len, "text")
    await right(records, embed, store)


async def pool_of_processes(records: Any, embed: Any, store: Any) -> None:
    with ProcessPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, len, "text")


def pool_of_processes_on_threads(records: Any, embed: Any, store: Any) -> None:
    list(PROCESSES.map(len, ["text"]))


def spawned_process(records: Any, embed: Any, store: Any) -> None:
    multiprocessing.get_context("spawn").Process(target=print).start()


def lock_of_processes(records: Any, embed: Any, store: Any) -> None:
    with multiprocessing.Lock():
        right_on_threads(records, embed, store)


async def thread_beside_the_loop(records: Any, embed: Any, store: Any) -> None:
    threading.Thread(target=print).start()
    await right(records, embed, store)


async def pool_beside_the_loop(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(len, "text"))
    await right(records, embed, store)


async def another_policy(records: Any, embed: Any, store: Any) -> None:
    asyncio.set_event_loop_policy(None)


@pytest.mark.parametrize(
    ("suspect", "said"),
    [
        (leaves_at_once, r"test_border\.py:\d+: os\._exit would end the process"),
        (leaves_from_a_call, r"os\._exit would end the process"),
        (leaves_from_a_thread, r"test_border\.py:\d+: os\._exit would end the process"),
        (leaves_and_looks_away, r"test_border\.py:\d+: os\._exit would end the process"),
        (aborts, r"os\.abort would end the process"),
        (shoots_itself, r"os\.kill leaves the program"),
        (raises_a_signal, r"signal\.raise_signal would end the process"),
        (handles_signals, r"signal\.signal leaves the program"),
        (asks_the_person, r"input leaves the program"),
        (pool_of_processes_of_the_module, r"run_in_executor with a ProcessPoolExecutor hands work"),
        (pool_of_processes, r"ProcessPoolExecutor hands work"),
        (pool_of_processes_on_threads, r"ProcessPoolExecutor\.submit hands work"),
        (spawned_process, r"multiprocessing\.Process\.start hands work"),
        (lock_of_processes, r"a lock or queue of multiprocessing"),
        (thread_beside_the_loop, r"Thread\.start starts a thread beside the event loop"),
        (pool_beside_the_loop, r"Thread\.start starts a thread beside the event loop"),
        (another_policy, r"asyncio\.set_event_loop_policy brings an event loop of its own"),
    ],
)
def test_a_call_out_of_the_laboratory_is_one_line_that_names_it(suspect: Any, said: str) -> None:
    with pytest.raises(SuspectError, match=said) as caught:
        explore(suspect, records=3, schedules=20)
    assert "\n" not in str(caught.value)


def test_uvloop_in_the_migration_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvloop at hand a module of that name stands in: the border looks at the name."""
    (tmp_path / "uvloop.py").write_text("def install():\n    raise AssertionError('got through')\n")
    (tmp_path / "inside.py").write_text(
        "async def migrate(records, embed, store):\n    import uvloop\n    uvloop.install()\n"
    )
    (tmp_path / "above.py").write_text(
        "import uvloop\nasync def migrate(records, embed, store):\n    uvloop.install()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, line in (("inside", 2), ("above", 3)):
        with pytest.raises(
            SuspectError, match=rf"{name}\.py:{line}: uvloop\S* brings an event loop of its own"
        ):
            explore(f"{name}.py", records=2, schedules=5, folder=tmp_path)
    sys.modules.pop("uvloop", None)


def test_threads_within_one_call_of_the_executor_are_let_through() -> None:
    async def counts_in_a_pool(records: Any, embed: Any, store: Any) -> None:
        def count() -> list[int]:
            with ThreadPoolExecutor(2) as pool:
                return list(pool.map(len, ["a", "bc"]))

        assert await asyncio.to_thread(count) == [1, 2]
        await right(records, embed, store)

    assert explore(counts_in_a_pool, records=2, schedules=5).verdict is Verdict.PROVED


def _bordered() -> tuple[Any, ...]:
    threads = vars(threading)  # 3.13 starts a thread by another name
    start = threads.get("_start_joinable_thread", threads.get("_start_new_thread"))
    return os._exit, time.sleep, sys.stdout, start, logging.Logger.callHandlers, asyncio.gather


def test_nothing_of_the_border_is_left_when_the_laboratory_closes() -> None:
    before = _bordered()
    explore(right, records=2, schedules=5)
    assert _bordered() == before


def test_other_threads_notice_nothing_while_the_laboratory_is_open() -> None:
    done: list[float] = []

    def elsewhere() -> None:
        begun = time.monotonic()
        time.sleep(0.02)
        done.append(time.monotonic() - begun)
        with ThreadPoolExecutor(1) as pool:
            done.append(pool.submit(len, "four").result())

    def work() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    in_own_thread(work)
    assert done[0] >= 0.02
    assert done[1] == 4


# --- loading ----------------------------------------------------------------------------------------------------------------

BODY = (
    "async def migrate(records, embed, store):\n"
    "    for r in records:\n"
    "        await store.upsert(r.id, await embed(r), r.metadata)\n"
)


def written(tmp_path: Path, head: str) -> str:
    (tmp_path / "move.py").write_text(head + BODY)
    return "move.py"


def test_a_file_that_ends_the_process_as_it_loads_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SuspectError, match=r"os\._exit would end the process"):
        explore(written(tmp_path, "import os\nos._exit(0)\n"), folder=tmp_path)


def test_a_file_that_never_finishes_loading_is_stopped_and_its_line_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "IMPORT_PATIENCE_S", 0.5)
    with pytest.raises(SuspectError, match=r"move\.py:[12]: move\.py has been loading for more than 0\.5 s"):
        explore(written(tmp_path, "while True:\n    pass\n"), folder=tmp_path)
    with pytest.raises(SuspectError, match=r"has been loading"):
        explore(written(tmp_path, "import time\ntime.sleep(3)\n"), folder=tmp_path)


def test_what_scripts_do_as_they_load_is_let_through(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    head = (
        "import asyncio, logging, signal\nfrom os import _exit\nfrom time import sleep\n"
        "logging.basicConfig()\nloop = asyncio.get_event_loop()\nsignal.signal(signal.SIGTERM, lambda *_: _exit(1))\n"
    )
    assert explore(written(tmp_path, head), records=2, folder=tmp_path).verdict is Verdict.PROVED
    assert signal.getsignal(signal.SIGTERM) is before


def test_names_taken_from_their_modules_are_under_control_too(tmp_path: Path) -> None:
    file = written(tmp_path, "from os import _exit\nfrom time import sleep\n")
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(text + "    sleep(1e6)\n")
    assert explore(file, records=2, folder=tmp_path).verdict is Verdict.PROVED
    (tmp_path / file).write_text(text + "    _exit(0)\n")
    with pytest.raises(SuspectError, match=r"os\._exit"):
        explore(file, records=2, folder=tmp_path)


# --- loops that make things without end ----------------------------------------------------------------------------------------


async def endless_tasks(records: Any, embed: Any, store: Any) -> None:
    while True:
        asyncio.create_task(right(records, embed, store))  # noqa: RUF006


async def endless_tasks_with_a_pause(records: Any, embed: Any, store: Any) -> None:
    while True:
        asyncio.create_task(right(records, embed, store))  # noqa: RUF006
        await asyncio.sleep(0)


def endless_threads(records: Any, embed: Any, store: Any) -> None:
    while True:
        threading.Thread(target=embed, args=(records[0],)).start()


async def hoards(records: Any, embed: Any, store: Any) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@pytest.mark.parametrize("suspect", [endless_tasks, endless_tasks_with_a_pause, endless_threads])
def test_a_loop_that_makes_tasks_without_end_is_one_line(suspect: Any) -> None:
    with pytest.raises(
        SuspectError, match=r"test_border\.py:\d+: the suspect has made 2,?0+,?0*1 (tasks|threads)"
    ):
        explore(suspect, records=3, schedules=5)


def test_a_loop_that_fills_the_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not say how much memory a process holds")
    monkeypatch.setattr(watchdog, "MOST_MEMORY_BYTES", 256 << 20)
    with pytest.raises(
        SuspectError, match=r"test_border\.py:\d+: the suspect has filled 0\.25 GiB of memory"
    ):
        explore(hoards, records=3, schedules=5)


# --- standard streams ------------------------------------------------------------------------------------------------------


async def talks_and_closes(records: Any, embed: Any, store: Any) -> None:
    print("migrating")
    logging.getLogger("migration").warning("migrating")
    await right(records, embed, store)
    sys.stdout.close()
    sys.stderr.close()


def test_what_a_suspect_prints_is_swallowed_and_what_it_closes_stays_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explore(talks_and_closes, records=3, schedules=20)
    print(found.verdict)
    print("still here", file=sys.stderr)
    said = capsys.readouterr()
    assert said.out == "proved\n"
    assert said.err == "still here\n"


async def prints_what_it_migrates(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        print("migrating", record.id)
        await store.upsert(record.id, await embed(record), record.metadata)

    await asyncio.gather(*(one(record) for record in records))


def prints_on_threads(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda record: print("migrating", record.id) or one(record, embed, store), records))


@pytest.mark.parametrize("suspect", [prints_what_it_migrates, prints_on_threads])
def test_a_replayed_schedule_is_heard_once(suspect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = explore(suspect, records=2, schedules=30)
    assert found.witness is not None
    assert capsys.readouterr().out == ""
    explore(suspect, records=2, replay=found.witness.replay)
    said = capsys.readouterr().out.splitlines()
    assert said == ["migrating 10001", "migrating p-10001-1"]


# --- pools of threads that came with multiprocessing --------------------------------------------------------------------


def one(record: Any, embed: Any, store: Any) -> None:
    store.upsert(record.id, embed(record), record.metadata)


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


def pool_maps(records: Any, embed: Any, store: Any) -> None:
    with ThreadPool(2) as pool:
        for level in levels(records):
            pool.map(lambda record: one(record, embed, store), level)


def pool_is_asked(records: Any, embed: Any, store: Any) -> None:
    pool = ThreadPool(2)
    for level in levels(records):
        for result in [pool.apply_async(one, (record, embed, store)) for record in level]:
            result.get()
    pool.close()
    pool.join()


def pool_is_not_asked(records: Any, embed: Any, store: Any) -> None:
    pool = ThreadPool(2)
    for record in records:
        pool.apply_async(one, (record, embed, store))


def pool_hides_an_error(records: Any, embed: Any, store: Any) -> None:
    right_on_threads(records, embed, store)
    pool = ThreadPool(1)
    pool.apply_async(int, ("no number",))
    pool.close()
    pool.join()


@pytest.mark.parametrize("suspect", [pool_maps, pool_is_asked])
def test_a_thread_pool_of_multiprocessing_is_explored_to_the_end(suspect: Any) -> None:
    assert explore(suspect, records=4, schedules=100).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("suspect", "kind"), [(pool_is_not_asked, "missing"), (pool_hides_an_error, "lost_error")]
)
def test_what_a_thread_pool_of_multiprocessing_hides_is_found(suspect: Any, kind: str) -> None:
    assert kind in explore(suspect, records=4, schedules=50).failures


# --- from outside ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("import os\n    os._exit(0)", 2, "os._exit would end the process"),
        ("import os\n    os.close(1); os.close(2)", 0, "PROVED"),
        ("import sys\n    sys.stdout.close(); sys.stderr.close()", 0, "PROVED"),
        ("import os\n    os.chdir('/')", 0, "found/ witness.html"),
        ("pass\nimport atexit, os\natexit.register(os._exit, 7)", 0, "PROVED"),
        ("pass\nimport threading\nthreading.Thread(target=threading.Event().wait).start()", 0, "PROVED"),
    ],
)
def test_the_exit_code_and_the_answer_survive_what_the_suspect_does_to_the_process(
    tmp_path: Path, body: str, code: int, said: str
) -> None:
    (tmp_path / "move.py").write_text(f"{BODY}    {body}\n")
    done = subprocess.run(
        [sys.executable, "-m", "vecforensics", "race", "move.py", "--records", "2", "--out", "found"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "found" / "witness.json").exists() == (code == 0)
