"""Every JavaScript witness shows its failure on plain Node as well, and the engine's manners are Node's manners."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from js_runs import body, first, program, run

from vecforensics.race import explore
from vecforensics.race.javascript import node_repro

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed")


def node(folder: Path, text: str, name: str = "repro.js") -> subprocess.CompletedProcess[str]:
    (folder / name).write_text(text, encoding="utf-8")
    assert NODE is not None
    return subprocess.run([NODE, name], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


LOOP = "for (const user of users) await vectorDB.insert(user.id, await generateVector(user), user.metadata);"
FAILING = {
    "for each": (
        "users.forEach(async (user) => { await vectorDB.insert(user.id, await generateVector(user)); });",
        (),
        (),
    ),
    "key not found": (
        """
        users.forEach(async (user) => {
          const vector = await generateVector(user);
          for (const id of user.dependsOn) if (!(await vectorDB.fetch(id))) throw new Error(`Key Not Found - UserId: ${id}`);
          await vectorDB.insert(user.id, vector);
        });
        """,
        (),
        ("crash",),
    ),
    "mangled id": (
        """
        await Promise.all(users.map(async (user) => {
          const vector = await generateVector(user);
          const parent = user.dependsOn.length ? await vectorDB.get(user.dependsOn[0]) : { id: "" };
          await vectorDB.insert(parent ? user.id : Number(undefined), vector);
        }));
        """,
        (),
        ("mangled_id",),
    ),
    "promise all": (
        "await Promise.all(users.map(async (user) => vectorDB.insert(user.id, await generateVector(user))));",
        (),
        (),
    ),
    "forgotten await": (LOOP.replace("await vectorDB", "vectorDB"), (), ()),
    "completion order": (
        """
        const vectors = [];
        await Promise.all(users.map(async (user) => { vectors.push(await generateVector(user)); }));
        for (let i = 0; i < users.length; i++) await vectorDB.insert(users[i].id, vectors[i]);
        """,
        (),
        (),
    ),
    "blind retry": (
        """
        for (const user of users) {
          const vector = await generateVector(user);
          try { await vectorDB.insert(user.id, vector); } catch { await vectorDB.insert(`${user.id}-again`, vector); }
        }
        """,
        ("timeout",),
        ("duplicate",),
    ),
    "429 dropped": (
        "for (const user of users) { try { await vectorDB.insert(user.id, await generateVector(user)); } catch {} }",
        ("rate_limit",),
        (),
    ),
    "time-out of the program's own": (
        """
        for (const user of users) {
          const vector = await generateVector(user);
          await Promise.race([vectorDB.insert(user.id, vector), new Promise((go) => setTimeout(go, 300))]);
        }
        """,
        (),
        (),
    ),
}
# Names that the laboratory tells apart and the small judge of the Node program does not.
COARSE = {"swapped": "wrong vector", "shifted": "wrong vector", "broadcast": "wrong vector"}


@pytest.mark.parametrize("name", FAILING)
def test_the_witness_fails_on_plain_node(tmp_path: Path, name: str) -> None:
    text, faults, prefer = FAILING[name]
    suspect = program(tmp_path, body(text))
    witness = explore(suspect, records=5, schedules=400, faults=faults, prefer=prefer).witness
    assert witness is not None
    done = node(tmp_path, node_repro(witness, suspect))
    assert done.returncode == 1, done.stderr
    told = {line.partition(":")[0] for line in done.stderr.splitlines() if ":" in line}
    assert {COARSE.get(kind, kind) for kind in witness.kinds} <= told, done.stderr


def test_the_sequential_loop_survives_the_latencies_of_the_witness(tmp_path: Path) -> None:
    witness = explore(program(tmp_path, body(FAILING["promise all"][0])), records=5, schedules=400).witness
    assert witness is not None
    done = node(tmp_path, node_repro(witness, program(tmp_path, body(LOOP))))
    told = {line.partition(":")[0] for line in done.stderr.splitlines()}
    assert "premature" not in told


def test_texts_of_strangers_cannot_leave_their_literal(tmp_path: Path) -> None:
    nasty = body("/* @USERS@ */ const x = '\\u2028</script>'; // ü\n" + FAILING["for each"][0])
    suspect = program(tmp_path, nasty)
    witness = explore(suspect, records=2, schedules=50).witness
    assert witness is not None
    text = node_repro(witness, suspect, "re\npro\u2028.js")
    assert text.isascii()
    assert node(tmp_path, text).returncode == 1


MANNERS = body(
    """
    const log = (...words) => console.log(words.join(" "));
    process.nextTick(() => log("tick"));
    Promise.resolve().then(() => log("micro 1")).then(() => log("micro 2")).finally(() => log("micro 3"));
    (async () => { log("sync"); await null; log("after null"); await (async () => log("inner"))(); log("after inner"); })();
    const [a, b] = await Promise.all([generateVector(users[0]), generateVector(users[1])]);
    log("vectors", a.length, b.length, Array.isArray(a));
    const thenable = { then(go) { log("then called"); go(7); } };
    log("thenable", await thenable);
    try { await Promise.any([Promise.reject(new Error("x")), Promise.reject(new Error("y"))]); }
    catch (error) { log(error.name, error.errors.map(String)); }
    async function* rows() { for (const user of users) yield await generateVector(user); }
    let n = 0;
    for await (const row of rows()) log("row", ++n, row.length);
    setTimeout(() => log("timer 2"), 30);
    setTimeout(() => log("timer 1"), 10);
    await new Promise((go) => setTimeout(go, 60));
    log(`${NaN} ${undefined} ${[1, [2, 3]]}`, Number(undefined), Number(null), JSON.stringify({ id: NaN }));
    console.log("%s %d %i %j", "s", 1.5, 1.5, { a: 1 }, [1, { b: 2 }], null, undefined);
    for (const user of users) await vectorDB.insert(user.id, await generateVector(user), user.metadata);
    log("absent", await vectorDB.fetch("nobody"), (await vectorDB.fetch(users[0].id)).id);
    """
)


def test_a_program_prints_the_same_lines_in_both_engines(tmp_path: Path) -> None:
    suspect = program(tmp_path, MANNERS)
    ours = run(suspect, first, 3)
    assert ours.outcome.kinds == ()
    script = node_harness(suspect.script.text, json.loads(suspect._users[1]))
    done = node(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line.text for line in ours.session.console]


def node_harness(source: str, users: object) -> str:
    """The same program on Node with a store that answers in the order of asking."""
    return f"""
    const users = {json.dumps(users)};
    const rows = new Map(), soon = (value) => new Promise((go) => setTimeout(() => go(value()), 5));
    globalThis.generateVector = () => soon(() => [1, 2, 3, 4, 5, 6, 7, 8]);
    globalThis.vectorDB = {{
      insert: (id, vector, metadata) => soon(() => void rows.set(`${{id}}`, {{ id: `${{id}}`, vector, metadata }})),
      fetch: (id) => soon(() => rows.get(`${{id}}`)),
    }};
    globalThis.module = {{}};
    require("node:vm").runInThisContext({json.dumps(source)}, {{ filename: "migration.js" }});
    migrateDataToVectorDB(users);
    """
