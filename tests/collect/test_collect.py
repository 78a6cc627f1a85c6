"""Collect end to end on real stores: both sides frozen, nothing half-written, the store never written to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Target, load_case
from vecforensics.collect import collect, known_good
from vecforensics.custody import digest_of
from vecforensics.diff import choose_contents, diff_vectors
from vecforensics.embedding.hashing import HashingEmbedder
from vecforensics.errors import CaseError, SourceError, TargetError, TargetNotThere, VecforensicsError
from vecforensics.evidence import Evidence
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder
from vecforensics.stores import open_reader, open_writer
from vecforensics.tables import log_events

USERS = [
    {"id": f"{n:03d}", "bio": f"writes about {n}", "plan": "free", "password": f"secret-{n}"}
    for n in range(20)
]
CASE = """\
case: small
collections:
  users:
    source: {uri: users.jsonl, id: id, text: [bio], metadata: [plan]}
    target: {uri: "lancedb:target", collection: users}
    expected: {embedder: hashing-32}
logs: [migration.log]
"""


def fill(
    folder: Path, ids: list[str], vectors: np.ndarray, uri: str = "lancedb:target", collection: str = "users"
) -> None:
    writer = open_writer(Target(uri=uri, collection=collection), folder)
    writer.create(collection, vectors.shape[1])
    table = pa.table(
        {"id": ids, "vector": fixed_vectors(vectors), "metadata": ['{"plan":"free"}'] * len(ids)}
    )
    writer.upsert(collection, table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.jsonl").write_text("".join(json.dumps(user) + "\n" for user in USERS))
    (tmp_path / "migration.log").write_text("ERROR: Key Not Found - UserId: 003, Vector ID: NaN\n")
    (tmp_path / "case.yaml").write_text(CASE)
    fill(tmp_path, [user["id"] for user in USERS], HashingEmbedder(32).embed([user["bio"] for user in USERS]))
    return tmp_path


def begin(folder: Path) -> tuple[Evidence, RunFolder]:
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    return collect(case, run), run


def test_both_sides_are_frozen_with_what_is_expected(folder: Path) -> None:
    evidence, _ = begin(folder)
    users = evidence.collection("users")
    assert dict(users.rows) == {"source": 20, "target": 20, "earlier": 0}
    assert (users.dimension, users.expected) == (32, "hashing-32")
    assert evidence.verify() == ()
    [batch] = evidence.iter_source("users")
    assert batch["id"].to_pylist() == [user["id"] for user in USERS]
    expected = np.vstack(batch["vector"].to_pylist()).astype(np.float32)
    assert (expected == HashingEmbedder(32).embed([user["bio"] for user in USERS])).all()


def test_what_the_case_does_not_name_is_in_no_file(folder: Path) -> None:
    _, run = begin(folder)
    for file in run.path.rglob("*"):
        if file.is_file():
            assert b"secret-" not in file.read_bytes(), file


def test_the_store_is_the_same_to_the_byte_afterwards(folder: Path) -> None:
    before = digest_of(folder / "target")
    begin(folder)
    assert digest_of(folder / "target") == before


def test_log_events_lie_beside_the_evidence(folder: Path) -> None:
    _, run = begin(folder)
    [event] = [json.loads(line) for line in (run.evidence / "logs.jsonl").read_text().splitlines()]
    assert (event["record_ids"], event["vector_id"]) == (["003"], "NaN")


def test_the_table_of_log_events_shows_the_ids_that_one_upsert_lists(folder: Path) -> None:
    line = {"event": "upsert", "ids": ["000", "<b>"], "batch": 9}
    (folder / "migration.log").write_text(json.dumps(line) + "\n")
    _, run = begin(folder)
    table = log_events(Investigation(run.case(), run))
    assert table.frame["ids"].tolist() == ["000, <b>"]
    assert "<b>" not in table._repr_html_().replace("<p><b>", "")


@pytest.mark.parametrize("said", ["users", "live"])
def test_a_log_may_call_a_collection_as_the_store_does(folder: Path, said: str) -> None:
    text = CASE.replace('"lancedb:target", collection: users', '"parquet:target", collection: live')
    (folder / "case.yaml").write_text(text)
    fill(folder, ["000", "001"], np.ones((2, 32), np.float32), "parquet:target", "live")
    lines = [
        f"INFO wrote 000 collection={said} batch=7",
        'INFO wrote "001" collection=others batch=8',
        json.dumps({"event": "upsert", "collection": said, "ids": ["002", "003"], "batch": 9}),
    ]
    (folder / "migration.log").write_text("\n".join(lines))
    _, run = begin(folder)
    rows = diff_vectors(load_case(folder / "case.yaml"), run, impact=False).table.to_pylist()
    batches = {row["source_id"]: row["batch"] for row in rows if row["source_id"] is not None}
    assert batches["000"] == "7"
    assert batches["001"] is None
    assert batches["002"] == batches["003"] == "9"


def test_expected_vectors_from_a_backup_follow_the_id(folder: Path) -> None:
    vectors = np.arange(19 * 32, dtype=np.float32).reshape(19, 32)
    ids = [user["id"] for user in USERS[1:]]
    fill(folder, ids[::-1], vectors[::-1], "parquet:backup", "old")
    text = CASE.replace("{embedder: hashing-32}", '{uri: "parquet:backup", collection: old}')
    (folder / "case.yaml").write_text(text)
    evidence, _ = begin(folder)
    [batch] = evidence.iter_source("users")
    found = batch["vector"].to_pylist()
    assert found[0] is None
    assert (np.vstack(found[1:]).astype(np.float32) == vectors).all()


BROKEN = {
    "there is no such file": lambda f: (f / "users.jsonl").unlink(),
    "line 2 is no JSON": lambda f: (f / "users.jsonl").write_text(
        '{"id": 1, "bio": "x", "plan": 1}\n{"id": 2\n'
    ),
    "no id column 'id'": lambda f: (f / "users.jsonl").write_text('{"name": 1, "bio": "x"}\n'),
    "the text column 'bio' is null": lambda f: (f / "users.jsonl").write_text(
        '{"id": 1, "bio": null, "plan": 1}\n'
    ),
    "no records": lambda f: (f / "users.jsonl").write_text("\n"),
    "there is no such log": lambda f: (f / "migration.log").unlink(),
    "there is no table 'nobody'": lambda f: (f / "case.yaml").write_text(
        CASE.replace("collection: users}", "collection: nobody}")
    ),
    "unknown URI scheme 'ftp'": lambda f: (f / "case.yaml").write_text(CASE.replace("lancedb:", "ftp:")),
    "unknown embedder": lambda f: (f / "case.yaml").write_text(CASE.replace("hashing-32", "word2vec")),
    "has no column 'vector'": lambda f: (f / "case.yaml").write_text(
        CASE.replace("lancedb:target", "parquet:bad")
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_unusable_input_is_one_line_and_leaves_no_evidence(folder: Path, message: str) -> None:
    (folder / "bad").mkdir()
    pa.parquet.write_table(pa.table({"id": ["1"]}), folder / "bad" / "users.parquet")
    BROKEN[message](folder)
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    with pytest.raises((SourceError, TargetError, CaseError), match=message) as caught:
        collect(case, run)
    assert "\n" not in str(caught.value)
    assert not run.done("collect")
    with pytest.raises(VecforensicsError):
        Evidence.open(run.evidence)
    assert not [*run.evidence.glob("**/*.arrow"), *run.evidence.glob("inputs.json")]


def test_parquet_on_both_sides_needs_no_pandas(folder: Path) -> None:
    """Importing it costs a third of a second and 40 MB; pyarrow does so on the slightest occasion."""
    vectors = np.eye(20, 32, dtype=np.float32)
    users = {key: [user[key] for user in USERS] for key in ("id", "bio", "plan")}
    lists = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    pyarrow.parquet.write_table(pa.table({**users, "right": lists}), folder / "users.parquet")
    odd = pa.array([[1.0], None, *vectors[2:].tolist()], pa.list_(pa.float32()))
    target = {"id": users["id"], "vector": odd, "metadata": [None, *['{"plan": "free"}'] * 19]}
    pyarrow.parquet.write_table(pa.table(target), folder / "dump.parquet")
    text = CASE.replace("users.jsonl", "users.parquet").replace("lancedb:target", "parquet:dump.parquet")
    (folder / "case.yaml").write_text(text.replace("embedder: hashing-32", "column: right"))
    program = (
        "import sys; from pathlib import Path; from vecforensics.case import load_case\n"
        "from vecforensics.collect import collect; from vecforensics.run_folder import RunFolder\n"
        "folder = Path(sys.argv[1]); case = load_case(folder / 'case.yaml')\n"
        "evidence = collect(case, RunFolder.begin(folder / 'case.yaml', case, folder / 'reports'))\n"
        "print(evidence.collection('users').rows['target'], 'pandas' in sys.modules, 'scipy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["20", "False", "False"]


def test_an_error_does_not_wait_for_the_digests_of_large_inputs(folder: Path) -> None:
    with (folder / "migration.js").open("wb") as file:
        file.truncate(64 << 30)  # a minute of SHA-256, no room on the disk
    (folder / "case.yaml").write_text(CASE + "suspect: migration.js\n")
    with (folder / "users.jsonl").open("a") as file:
        file.write("no JSON\n")
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    with pytest.raises(SourceError, match="line 21 is no JSON"):
        collect(case, run)
    assert not (run.evidence / "inputs.json").exists()


def test_a_duplicate_source_id_names_the_id_and_both_rows(folder: Path) -> None:
    with (folder / "users.jsonl").open("a") as file:
        file.write(json.dumps({**USERS[4], "bio": "again"}) + "\n")
    with pytest.raises(SourceError, match="004"):
        begin(folder)


TWO = """\
case: two
collections:
  users:
    source: {uri: users.jsonl, id: id, text: [bio], metadata: [plan]}
    target: {uri: "URI", collection: users}
    expected: {embedder: hashing-32}
  posts:
    source: {uri: users.jsonl, id: id, text: [bio], depends_on: {users: id}}
    target: {uri: "URI", collection: posts}
    expected: {embedder: hashing-32}
"""


def two_collections(folder: Path, uri: str, *, posts: bool) -> None:
    """Users as they should be; of the posts an empty table, or none."""
    (folder / "case.yaml").write_text(TWO.replace("URI", uri))
    fill(folder, [user["id"] for user in USERS], HashingEmbedder(32).embed([u["bio"] for u in USERS]), uri)
    if posts:
        open_writer(Target(uri=uri, collection="posts"), folder).create("posts", 32)


@pytest.mark.parametrize("uri", ["lancedb:store", "parquet:store"])
@pytest.mark.parametrize(
    ("posts", "note"),
    [(True, "the collection 'posts' is empty"), (False, "Check target.collection; [a-z]+ there: users$")],
)
def test_all_posts_are_lost_and_the_users_are_still_looked_at(
    folder: Path, uri: str, posts: bool, note: str
) -> None:
    two_collections(folder, uri, posts=posts)
    evidence, run = begin(folder)
    found = diff_vectors(load_case(folder / "case.yaml"), run)

    assert {kind: count for kind, count in found.counts.items() if count} == {"missing": 20}
    assert found.collections["users"].rows_corrupt == 0
    assert found.collections["posts"].rows_corrupt == 20
    [said] = found.collections["posts"].notes
    assert re.search(note, said)
    assert said in str(evidence)
    assert said in str(found)
    assert not found.collections["users"].notes


def test_a_table_that_is_not_there_is_asked_for_again_until_its_rows_are_old_enough(folder: Path) -> None:
    two_collections(folder, "lancedb:store", posts=False)
    with (folder / "case.yaml").open("a") as file:
        file.write("settle_s: 0.2\n")
    _, run = begin(folder)
    found = diff_vectors(load_case(folder / "case.yaml"), run)

    assert (found.counts["missing"], found.counts["pending"]) == (20, 0)


def test_a_table_that_appears_meanwhile_is_seen_at_the_second_look(folder: Path) -> None:
    two_collections(folder, "lancedb:store", posts=False)
    with (folder / "case.yaml").open("a") as file:
        file.write("settle_s: 3600\n")
    _, run = begin(folder)
    vectors = HashingEmbedder(32).embed([user["bio"] for user in USERS])
    fill(folder, [user["id"] for user in USERS], vectors, "lancedb:store", "posts")
    found = diff_vectors(load_case(folder / "case.yaml"), run)

    assert found.verdict is Verdict.CLEAN


def test_an_empty_target_without_expected_vectors_misses_everything(folder: Path) -> None:
    two_collections(folder, "parquet:store", posts=False)
    text = (folder / "case.yaml").read_text().replace("    expected: {embedder: hashing-32}\n", "")
    (folder / "case.yaml").write_text(text)
    _, run = begin(folder)

    assert diff_vectors(load_case(folder / "case.yaml"), run).counts["missing"] == 20


def test_a_store_without_any_collection_of_the_case_is_the_wrong_one(folder: Path) -> None:
    two_collections(folder, "lancedb:store", posts=True)
    text = (folder / "case.yaml").read_text()
    (folder / "case.yaml").write_text(text.replace("n: users}", "n: user}").replace("n: posts}", "n: post}"))
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    with pytest.raises(TargetNotThere, match=r"no table 'user'.* tables there: posts, users"):
        collect(case, run)
    assert collect(case, run, empty_target=True).collection("users").rows["target"] == 0


def test_a_damaged_table_is_not_taken_for_one_that_is_not_there(folder: Path) -> None:
    two_collections(folder, "lancedb:store", posts=True)
    shutil.rmtree(folder / "store" / "posts.lance" / "_versions")
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    for empty_target in (False, True):
        with pytest.raises(TargetError, match="the table 'posts' is damaged"):
            collect(case, run, empty_target=empty_target)


TRUNCATED = """\
case: two
collections:
  emptied:
    source: {uri: emptied.jsonl, id: id, text: [bio], metadata: [plan], depends_on: {users: owner}}
    target: {uri: "lancedb:target", collection: emptied}
    expected: {embedder: hashing-32}
  users:
    source: {uri: users.jsonl, id: id, text: [bio], metadata: [plan]}
    target: {uri: "lancedb:target", collection: users}
    expected: {embedder: hashing-32}
"""


@pytest.mark.parametrize("sample", [None, 5])
def test_a_collection_whose_source_is_empty_does_not_keep_the_others_from_being_examined(
    folder: Path, sample: int | None
) -> None:
    (folder / "emptied.jsonl").write_text("")
    (folder / "case.yaml").write_text(TRUNCATED)
    fill(folder, ["x", "y", "z"], HashingEmbedder(32).embed(["one", "two", "three"]), collection="emptied")
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    evidence = collect(
        case, run, sample=sample, choose=partial(choose_contents, case, sample=sample) if sample else None
    )
    assert dict(evidence.collection("emptied").rows) == {"source": 0, "target": 3, "earlier": 0}
    assert evidence.collection("emptied").notes == (
        f"{folder / 'emptied.jsonl'}: there are no records in it",
    )
    diff = diff_vectors(case, run)
    assert diff.verdict is Verdict.CORRUPT
    assert (diff.collections["emptied"].counts["orphan"], diff.collections["emptied"].checked) == (3, 0)
    assert (diff.collections["users"].rows_corrupt, diff.collections["users"].source_rows) == (0, 20)
    assert "there are no records in it" in str(diff)
    assert evidence.collection("emptied").parents == ("users",)
    assert not any("emptied: the case file names no dependencies" in limit for limit in diff.limits)


def test_a_collection_empty_on_both_sides_says_so_of_both(folder: Path) -> None:
    (folder / "emptied.jsonl").write_text("")
    (folder / "case.yaml").write_text(TRUNCATED)
    evidence, _ = begin(folder)
    [note] = evidence.collection("emptied").notes
    assert re.fullmatch(
        r".*emptied\.jsonl: there are no records in it; .*there is no table 'emptied'.*", note
    )


def test_a_case_without_a_single_record_is_refused(folder: Path) -> None:
    for name in ("emptied", "users"):
        (folder / f"{name}.jsonl").write_text("")
    (folder / "case.yaml").write_text(TRUNCATED)
    with pytest.raises(SourceError, match="there are no records in it"):
        begin(folder)


def test_two_known_good_ids_that_share_a_hash_each_have_their_own_vector(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_good, "hash_text", lambda ids: np.full(len(ids), 7, np.uint64))
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    fill(folder, ["a", "b", "c", "d"], vectors, collection="good")
    with known_good.KnownGood(
        open_reader(Target(uri="lancedb:target", collection="good"), folder), "good"
    ) as good:
        found = good.vectors(pa.array(["c", "nowhere", "a", "d"])).to_pylist()
    assert found == [[6, 7, 8], None, [0, 1, 2], [9, 10, 11]]


def test_an_embedder_whose_later_vectors_are_shorter_is_refused(folder: Path) -> None:
    lines = [json.dumps({"id": f"{n:05d}", "bio": f"writes about {n}", "plan": "free"}) for n in range(9_000)]
    (folder / "users.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "model.py").write_text(
        "import numpy\ncalls = []\n"
        "def embed(texts):\n    calls.append(1)\n    return numpy.ones((len(texts), 32 if len(calls) < 2 else 16))\n"
    )
    (folder / "case.yaml").write_text(CASE.replace("hashing-32", "model.py:embed"))
    with pytest.raises(
        CaseError, match=r"model\.py:embed: gave vectors of 32 components first and of 16 then"
    ):
        begin(folder)
    assert not list((folder / "reports").rglob("evidence.json"))
