"""The process around a migration: rejections, exits, timers, console, stacks, modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from js_runs import body, first, last, program, run

from vecforensics.errors import MissingExtra
from vecforensics.race import explore
from vecforensics.race.javascript import JavaScriptProgram, engine

LOOP = "for (const user of users) await vectorDB.insert(user.id, await generateVector(user), user.metadata);"


@contextmanager
def calls_counted() -> Iterator[list[int]]:
    """How often anything is called, Python's own functions and the engine's among them: the same count on every machine.
    What the time of a burst grows by, `make bench-race` says."""
    counted = [0]

    def count(_frame: Any, event: str, _subject: Any) -> None:
        counted[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def console(done: Any) -> list[tuple[str, str]]:
    return [(line.level, line.text) for line in done.session.console]


def test_this_build_of_the_engine_tells_of_rejections(tmp_path: Path) -> None:
    assert engine.sees_rejections()
    assert program(tmp_path, body(LOOP)).not_seen == ()


def test_without_the_notice_the_certificate_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_library", lambda: None)
    suspect = program(tmp_path, body("Promise.reject(new Error('unseen'));\n" + LOOP))
    assert "unhandled rejections" in suspect.not_seen[0]
    found = explore(suspect, records=2, schedules=5)
    assert found.failures == {}
    assert suspect.not_seen[0] in found.certificate.not_seen


def test_an_unhandled_rejection_ends_the_process_and_loses_what_is_under_way(tmp_path: Path) -> None:
    text = body(
        """
        users.forEach(async (user, i) => {
          const vector = await generateVector(user);
          if (i === 1) throw new RangeError("bad user " + user.id);
          await vectorDB.insert(user.id, vector, user.metadata);
        });
        """
    )
    done = run(program(tmp_path, text))
    assert done.outcome.crashed == f"RangeError: bad user {done.world.ground.records[1].id}"
    assert {"crash", "missing"} <= set(done.outcome.kinds)
    assert not done.world.data
    level, words = console(done)[-1]
    assert level == "fatal"
    assert words.splitlines()[1].strip().startswith("at migration.js:5:")


@pytest.mark.parametrize(
    "handled",
    [
        "const late = Promise.reject(new Error('x')); late.catch(() => {});",
        "const late = Promise.reject(new Error('x')); try { await late; } catch {}",
        "await Promise.allSettled([Promise.reject(new Error('x')), generateVector(users[0])]);",
        "const f = async () => { throw new Error('x'); }; await f().then(() => 1, () => 2);",
        "process.on('unhandledRejection', () => {}); Promise.reject(new Error('x'));",
    ],
)
def test_a_rejection_with_a_handler_in_time_is_no_crash(tmp_path: Path, handled: str) -> None:
    assert run(program(tmp_path, body(handled + "\n" + LOOP))).outcome.kinds == ()


def test_a_handler_that_comes_after_an_answer_is_too_late(tmp_path: Path) -> None:
    text = body(
        "const late = Promise.reject(new Error('x')); await generateVector(users[0]); late.catch(() => {});"
    )
    assert "crash" in run(program(tmp_path, text)).outcome.kinds


def test_one_rejection_of_promise_all_leaves_the_rest_running(tmp_path: Path) -> None:
    text = body(
        """
        await Promise.all(users.map(async (user, i) => {
          const vector = await generateVector(user);
          if (i === 0) throw new Error("first");
          await vectorDB.insert(user.id, vector, user.metadata);
        }));
        """
    )
    done = run(program(tmp_path, text))
    assert done.outcome.crashed == "Error: first"
    assert set(done.outcome.kinds) >= {"crash", "missing", "task_left_behind"}


def test_the_error_that_leaves_the_migration_keeps_its_stack(tmp_path: Path) -> None:
    text = "function check(user) {\n  throw new TypeError(`no ${user.id}`);\n}\n" + body(
        "users.forEach((user) => check(user));"
    )
    path = tmp_path / "migration.js"
    path.write_text(text)
    session = run(JavaScriptProgram.load(path, shown_as="/src/migration.js")).session
    assert str(session.error) == "no 10001"
    lines = session.error.stack.splitlines()
    assert lines[0] == "TypeError: no 10001"
    assert lines[1].startswith("    at check (/src/migration.js:2:")
    assert any(line.startswith("    at Array.forEach (<anonymous>)") for line in lines)
    assert any(line.startswith("    at migrateDataToVectorDB (/src/migration.js:5:") for line in lines)
    assert not any("$lab" in line for line in lines)


def test_an_error_of_a_class_of_the_program_is_called_by_its_name(tmp_path: Path) -> None:
    text = "class KeyNotFound extends Error { name = 'KeyNotFound'; }\n" + body(
        "throw new KeyNotFound('UserId: 1');"
    )
    assert run(program(tmp_path, text)).outcome.crashed == "KeyNotFound: UserId: 1"


@pytest.mark.parametrize(
    ("thrown", "shown"),
    [
        ("'text'", "Uncaught: 'text'"),
        ("undefined", "Uncaught: undefined"),
        ("{ a: 1 }", "Uncaught: { a: 1 }"),
    ],
)
def test_what_is_thrown_need_not_be_an_error(tmp_path: Path, thrown: str, shown: str) -> None:
    assert run(program(tmp_path, body(f"throw {thrown};"))).outcome.crashed == shown


def test_exit_with_an_error_code_is_a_crash(tmp_path: Path) -> None:
    done = run(program(tmp_path, body("try { process.exit(3); } catch {}\n" + LOOP)))
    assert done.outcome.crashed == "ProcessExit: process.exit(3)"
    assert not done.world.data


def test_exit_with_success_loses_what_is_under_way(tmp_path: Path) -> None:
    text = body(
        "users.forEach(async (user) => vectorDB.insert(user.id, await generateVector(user)));\nprocess.exit();"
    )
    done = run(program(tmp_path, text))
    assert done.outcome.crashed == ""
    assert {"missing", "task_left_behind"} == set(done.outcome.kinds)
    assert not done.world.data


def test_a_promise_that_nothing_will_settle_is_a_deadlock(tmp_path: Path) -> None:
    assert "deadlock" in run(program(tmp_path, body(LOOP + "\nawait new Promise(() => {});"))).outcome.kinds


def test_timers_keep_the_order_of_their_deadlines(tmp_path: Path) -> None:
    text = body(
        """
        setTimeout(() => console.log("b"), 20);
        setTimeout(() => console.log("a"), 10);
        const never = setTimeout(() => console.log("never"), 5);
        const tick = setInterval(() => { console.log("tick"); }, 15);
        setImmediate(() => console.log("immediate"));
        process.nextTick(() => console.log("next"));
        queueMicrotask(() => console.log("micro"));
        clearTimeout(never);
        await new Promise((go) => setTimeout(go, 40));
        clearInterval(tick);
        console.log("end", performance.now());
        """
    )
    done = run(program(tmp_path, text), last)
    assert [text for _, text in console(done)] == [
        "next",
        "micro",
        "immediate",
        "a",
        "tick",
        "b",
        "tick",
        "end 40",
    ]
    assert [round(line.time_s, 3) for line in done.session.console][3:5] == [0.01, 0.015]


def test_the_realm_lives_in_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        text = body(
            "const day = new Date(2026, 5, 1, 12); console.log(day.toISOString(), day.getHours(), `${new Date()}`);"
        )
        lines = console(run(program(tmp_path, text)))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert lines == [("log", "2026-06-01T12:00:00.000Z 12 Thu, 01 Jan 2026 00:00:00 GMT")]


def test_an_exception_in_a_timer_ends_the_process(tmp_path: Path) -> None:
    done = run(program(tmp_path, body("setTimeout(() => { throw new Error('late'); }, 1);\n" + LOOP)), last)
    assert done.outcome.crashed == "Error: late"


def test_the_console_formats_as_node_does(tmp_path: Path) -> None:
    text = body(
        """
        console.log("user %s has %d posts", users[0].id, 3, { a: [1, "x"], b: null });
        console.error(new Error("seen"));
        console.warn([undefined, NaN, -0, true, 10n], new Map([["k", 1]]));
        console.info("%j 100%%", { a: 1 });
        process.stdout.write("raw\\n");
        console.log();
        """
    )
    lines = console(run(program(tmp_path, text)))
    assert lines[0] == ("log", "user 10001 has 3 posts { a: [ 1, 'x' ], b: null }")
    assert lines[1][0] == "error"
    assert lines[1][1].startswith("Error: seen\n    at migrateDataToVectorDB (migration.js:4:")
    assert lines[2] == ("warn", "[ undefined, NaN, -0, true, 10n ] Map(1) { k: 1 }")
    assert lines[3:] == [("log", '{"a":1} 100%'), ("log", "raw"), ("log", "")]


def test_forgiven_rejections_are_warnings_and_lost_errors(tmp_path: Path) -> None:
    from vecforensics.race.check import judge
    from vecforensics.race.records import generate_records
    from vecforensics.race.world import Ground, World

    suspect = program(tmp_path, body("Promise.reject(new Error('old Node'));\n" + LOOP))
    ground = Ground(generate_records(2))
    world = World(ground)
    session = suspect.start(world, ground.records)
    session.forgive_rejections()
    session.advance(10)
    while world.pending:
        world.complete(world.pending.pop(0))
        session.advance(10)
    outcome = judge(world, session, [], (), deadlock=False, ended=True)
    session.close()
    assert outcome.kinds == ("lost_error",)
    assert session.console[0].level == "warn"


@pytest.mark.parametrize(
    "text",
    [
        "module.exports = { migrateDataToVectorDB };",
        "exports.migrateDataToVectorDB = migrateDataToVectorDB;",
        "export { migrateDataToVectorDB };",
        "export default migrateDataToVectorDB;",
        "if (require.main === module) { migrateDataToVectorDB([]).catch(console.error); }",
    ],
)
def test_exports_at_the_end_of_a_file_do_no_harm(tmp_path: Path, text: str) -> None:
    assert run(program(tmp_path, body(LOOP) + text + "\n")).outcome.kinds == ()


@pytest.mark.parametrize(
    "text",
    [
        '"use strict";\nconst { generateVector, vectorDB } = require("./clients");\n',
        'const vectorDB = require("./vectorDB");\n',
        'import { generateVector as generateVector, vectorDB } from "./clients.js";\n',
        'import clients, { generateVector } from "./clients.js";\nimport "dotenv/config";\n',
        'import * as clients from "./clients.js";\n',
        "#!/usr/bin/env node\n",
        "\ufeff// with a byte order mark\n",
    ],
)
def test_imports_at_the_top_of_a_file_do_no_harm(tmp_path: Path, text: str) -> None:
    assert run(program(tmp_path, text + body(LOOP))).outcome.kinds == ()


def test_modules_of_node_that_need_no_outside_world_are_there(tmp_path: Path) -> None:
    text = body(
        """
        const { setTimeout: sleep } = require("node:timers/promises");
        const { promisify, format } = require("util");
        const assert = require("assert");
        assert(await sleep(10, "slept") === "slept");
        assert.equal(await promisify((x, done) => done(null, x + 1))(1), 2);
        console.log(format("%d", 5), require("perf_hooks").performance.now());
        """
    )
    done = run(program(tmp_path, text + "\n"))
    assert console(done) == [("log", "5 10")]


def test_an_exported_function_keeps_its_line_and_column(tmp_path: Path) -> None:
    plain = run(program(tmp_path, body(LOOP), "plain.js"))
    exported = run(program(tmp_path, "export " + body(LOOP), "exported.js"))
    places = [[op.source.lineno for op in each.schedule] for each in (plain, exported)]
    assert places[0] == places[1]
    assert exported.schedule[0].source.text == LOOP


def test_another_function_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "job.mjs"
    path.write_text(f"export const moveAll = async (users) => {{ {LOOP} }};\n")
    assert run(JavaScriptProgram.load(path, "moveAll")).outcome.kinds == ()


@pytest.mark.parametrize(
    "head",
    [
        "export default async function (users)",
        "export default async function move(users)",
        "module.exports = async function (users)",
        "exports.migrateDataToVectorDB = async function (users)",
        "export default async (users) =>",
        "module.exports.default = async (users) =>",
    ],
)
def test_a_function_that_is_only_exported_is_found(tmp_path: Path, head: str) -> None:
    done = run(program(tmp_path, f"{head} {{\n{LOOP}\n}}\n"))
    assert done.outcome.kinds == ()
    assert {op.source.lineno for op in done.schedule} == {2}


def test_each_schedule_has_globals_of_its_own(tmp_path: Path) -> None:
    text = "let runs = 0;\n" + body(
        "runs += 1; globalThis.leak = (globalThis.leak ?? 0) + 1; console.log(runs, leak);\n" + LOOP
    )
    suspect = program(tmp_path, text)
    assert [console(run(suspect, first)) for _ in range(3)] == [[("log", "1 1")]] * 3


def test_a_burst_of_seven_thousand_records_takes_seven_times_the_steps_of_a_thousand(tmp_path: Path) -> None:
    text = body(
        "users.forEach(async (user) => { await vectorDB.insert(user.id, await generateVector(user), user.metadata); });"
    )
    suspect = program(tmp_path, text)

    def steps(count: int) -> int:
        with calls_counted() as counted:
            assert "premature" not in run(suspect, first, count, detail=False).outcome.kinds
        return counted[0]

    steps(200)
    assert steps(7_000) < 7 * steps(1_000) * 1.01


def test_a_stack_ends_with_the_program_s_own_frames(tmp_path: Path) -> None:
    text = body(
        """
        const where = () => new Error("here").stack;
        console.log(where());
        await generateVector(users[0]);
        console.log([1].map(where)[0]);
        setTimeout(() => console.log(new Error("timer").stack), 1);
        await new Promise((go) => setTimeout(go, 5));
        """
    )
    stacks = [
        [line.strip().rpartition(":")[0] for line in text.splitlines()]
        for _, text in console(run(program(tmp_path, text)))
    ]
    assert stacks[0] == ["Error", "at where (migration.js:3", "at migrateDataToVectorDB (migration.js:4"]
    assert stacks[1][1:] == ["at where (migration.js:3", "", "at migrateDataToVectorDB (migration.js:6"]
    assert stacks[2][1:] == ["at migration.js:7"]


def test_without_quickjs_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "quickjs", None)
    with pytest.raises(MissingExtra, match=r"pip install 'vecforensics\[js\]'"):
        program(tmp_path, body(LOOP))
