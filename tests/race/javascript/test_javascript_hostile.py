"""Files that cannot be used, and scripts that mean harm: one clear line, and nothing reaches the next run."""

from __future__ import annotations

from pathlib import Path

import pytest
from js_runs import body, first, program, run

from vecforensics.errors import SuspectError
from vecforensics.race import explore
from vecforensics.race.javascript import JavaScriptProgram, engine

GOOD = "for (const user of users) await vectorDB.insert(user.id, await generateVector(user), user.metadata);"


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SuspectError) as caught:
        explore(program(folder, text), records=3, schedules=20)
    line = str(caught.value)
    assert "\n" not in line
    assert "migration.js" in line
    return line


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    line = refusal(
        tmp_path, "async function migrateDataToVectorDB(users) {\n  for (const user of users {\n}\n"
    )
    assert "migration.js:2: SyntaxError" in line


def test_a_missing_function_is_named(tmp_path: Path) -> None:
    line = refusal(tmp_path, "const migrateDataToVectorDB = 57;\nfunction migrate(users) {}\n")
    assert "no function migrateDataToVectorDB" in line
    assert "migration.js:FUNCTION" in line


def test_a_name_that_is_no_identifier_is_not_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "migration.js"
    path.write_text(body(GOOD))
    with pytest.raises(SuspectError, match="no name of a JavaScript function"):
        JavaScriptProgram.load(path, "x; while(true);")


def test_an_error_at_the_top_level_names_its_line(tmp_path: Path) -> None:
    line = refusal(
        tmp_path, "const fs = require('fs');\n\nconst rows = fs.readFileSync('users.json');\n" + body(GOOD)
    )
    assert "migration.js:3: Error: fs.readFileSync() is not available in the race laboratory" in line


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("await fetch('https://example.org');", "fetch()"),
        ("require('node:fs').appendFileSync('log', 'x');", "fs.appendFileSync()"),
        ("const limit = require('p-limit')(4); try { limit(); } catch {}", "p-limit()"),
        ("new WebSocket('ws://x');", "WebSocket()"),
    ],
)
def test_what_reaches_for_the_outside_world_is_named(tmp_path: Path, text: str, call: str) -> None:
    assert f"{call} leaves the program" in refusal(tmp_path, body(text + GOOD))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xfe\x00bad", "not UTF-8"),
        (b"async\0function", "NUL character"),
        (b" " * (5 << 20), "larger than 4 MB"),
    ],
)
def test_bytes_that_are_no_script_are_refused(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "migration.js"
    path.write_bytes(raw)
    with pytest.raises(SuspectError, match=words):
        JavaScriptProgram.load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuspectError, match="No such file"):
        JavaScriptProgram.load(tmp_path / "migration.js")


@pytest.mark.parametrize(
    "loop",
    [
        "while (true);",
        "try { while (true); } catch { } finally { }",
        "await generateVector(users[0]); for (;;) { try { for (;;); } catch {} }",
        "/^(a+)+$/.test('a'.repeat(60) + 'b');",
        "await new Promise((go) => setTimeout(() => { for (;;); }, 1));",
    ],
)
def test_an_endless_loop_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    monkeypatch.setattr(engine, "STEP_S", 0.2)
    assert "runs for more than" in refusal(tmp_path, body(loop))


def test_an_endless_loop_at_the_top_level_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STEP_S", 0.2)
    assert "runs for more than" in refusal(tmp_path, "while (true);\n" + body(GOOD))


def test_awaiting_in_a_circle_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_JOBS", 20_000)
    assert "round and round" in refusal(tmp_path, body("while (true) await null;"))


@pytest.mark.parametrize(
    "bomb",
    [
        "const all = []; for (;;) all.push(new Array(100000).fill(1));",
        "let text = 'x'; for (;;) text += text + '!';",
        "new Uint8Array(1e12);",
        "const all = new Map(); for (let i = 0; ; i++) all.set(i, `${i}`.padStart(5000, '.'));",
    ],
)
def test_a_memory_bomb_is_stopped_or_thrown_into_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    monkeypatch.setattr(engine, "MEMORY_BYTES", 48 << 20)
    suspect = program(tmp_path, body(bomb))

    def end() -> str:
        try:
            return " ".join(
                run(suspect, first).outcome.kinds
            )  # a RangeError that the program could have caught
        except SuspectError as error:
            return str(error)

    assert "memory" in (told := end()) or "crash" in told


def test_deep_recursion_is_an_exception_of_the_program(tmp_path: Path) -> None:
    outcome = run(program(tmp_path, body("const dive = () => dive() + 1; dive();")), first).outcome
    assert outcome.crashed.startswith("RangeError: Maximum call stack")


@pytest.mark.parametrize(
    "poison",
    [
        "Object.prototype.toJSON = () => 'poison'; Array.prototype.toJSON = () => 'poison';",
        "Promise = null; JSON = null; Map = null; Object.setPrototypeOf = null; Array.isArray = () => true;",
        "Object.defineProperty(Array.prototype, '0', { set() { throw new Error('set'); }, get() { return 1; } });",
        "Promise.prototype.then = () => { throw new Error('then'); };",
        "Error.prepareStackTrace = () => { while (false); return 7; }; Error.stackTraceLimit = 'x';",
        "String.prototype.slice = () => '$lab'; RegExp.prototype.test = () => true;",
        "delete globalThis.console; globalThis.process = null; globalThis.setTimeout = undefined;",
        "Object.freeze(globalThis); Object.freeze(Object.prototype);",
        "globalThis.vectorDB.insert.call = null; Function.prototype.bind = Function.prototype.apply = null;",
    ],
)
def test_globals_that_were_tampered_with_stay_in_their_run(tmp_path: Path, poison: str) -> None:
    suspect = program(tmp_path, body(f"{poison}\n{GOOD}"))
    for _ in range(2):
        outcome = run(suspect, first).outcome
        assert set(outcome.kinds) <= {"missing", "crash", "deadlock", "metadata_drift", "wrong_dimension"}
    clean = run(program(tmp_path, body(GOOD), "clean.js"), first).outcome
    assert clean.kinds == ()


def test_ids_and_texts_of_any_alphabet_arrive_as_they_are(tmp_path: Path) -> None:
    from vecforensics.records import Record

    odd = [
        "naïve",
        "数据",
        "😀",
        "a\u0000b",
        "quote'\"\\",
        "\u2028line",
        "9007199254740993",
        "007",
        "‮rtl",
        "__proto__",
    ]
    records = [Record(id=name, text=f"text of {name}", metadata={"name": name, "n": 1.0}) for name in odd]
    done = run(program(tmp_path, body(GOOD)), first, records)
    assert done.outcome.kinds == ()
    assert list(done.world.data) == odd
    assert [slot[2] for slot in done.world.data.values()] == [{"name": name, "n": 1.0} for name in odd]


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ("vectorDB.insert(NaN, vector)", "NaN"),
        ("vectorDB.insert(undefined, vector)", "undefined"),
        ("vectorDB.insert(null, vector)", "[object Object]"),
        ("vectorDB.upsert(Number('9007199254740993'), vector)", "9007199254740992"),
        ("vectorDB.upsert(1e21, vector)", "1e+21"),
        ("vectorDB.upsert({ id: 7, values: vector })", "7"),
        ("vectorDB.upsert([{ id: 'batch', values: vector }])", "batch"),
    ],
)
def test_an_id_is_made_text_as_a_client_library_does(tmp_path: Path, call: str, key: str) -> None:
    if "null" in call:
        key = "null"
    done = run(
        program(tmp_path, body(f"const vector = await generateVector(users[0]); await {call};")), first, 1
    )
    assert list(done.world.data) == [key]


@pytest.mark.parametrize(
    ("vector", "kind"),
    [
        ("[]", "wrong_dimension"),
        ("undefined", "wrong_dimension"),
        ("vector.slice(1)", "wrong_dimension"),
        ("vector.map(() => 0)", "zero"),
        ("vector.map((x) => x * undefined)", "non_finite"),
        ("vector.map((x) => x * 1e300 * 1e300)", "non_finite"),
        ("vector.map((x, i) => (i < 4 ? x : 0))", "partial"),
    ],
)
def test_what_a_program_makes_of_a_vector_is_what_the_store_gets(
    tmp_path: Path, vector: str, kind: str
) -> None:
    text = f"const vector = await generateVector(users[0]); await vectorDB.insert(users[0].id, {vector}, users[0].metadata);"
    assert run(program(tmp_path, body(text)), first, 1).outcome.kinds == (kind,)


@pytest.mark.parametrize(
    "copy", ["vector", "[...vector]", "Float32Array.from(vector)", "new Float64Array(vector)"]
)
def test_a_copy_of_a_vector_is_still_the_vector(tmp_path: Path, copy: str) -> None:
    text = f"const vector = await generateVector(users[0]); await vectorDB.insert(users[0].id, {copy}, users[0].metadata);"
    assert run(program(tmp_path, body(text)), first, 1).outcome.kinds == ()


def test_a_vector_changed_in_place_is_sent_as_it_is_now(tmp_path: Path) -> None:
    text = "const vector = await generateVector(users[0]); vector[0] = 9; await vectorDB.insert(users[0].id, vector);"
    done = run(program(tmp_path, body(text)), first, 1)
    assert done.outcome.kinds != ()
