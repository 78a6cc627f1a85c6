"""A run folder as the five stages leave it, in their own file forms, with as much or as little of it as a test wants.

The race files are made from the race laboratory's own dataclasses and the ledger by the ledger itself, so that the report is
tested against what will really lie there. Everything else has the form that the stages write.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

from vecforensics.case import Case, load_case
from vecforensics.custody import record_inputs
from vecforensics.findings import SEVERITY, Kind, Severity, zero_counts
from vecforensics.migrate.chain import Operation as Planned
from vecforensics.migrate.chain import State
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.verification import Verification
from vecforensics.race.exchange import to_plain
from vecforensics.race.model import (
    Certificate,
    Constraint,
    Event,
    EventKind,
    Exploration,
    LostError,
    Operation,
    OperationKind,
    Outcome,
    Pass,
    Source,
    Trace,
    Verdict,
    Witness,
)
from vecforensics.records import Record
from vecforensics.run_folder import RunFolder, write_json

SUSPECT = """\
const vectorIds = {};

async function migrateDataToVectorDB(users) {
  users.forEach(async (user) => {
    const vector = await generateVector(user);
    await vectorDB.insert(user.id, vector, user.metadata);
  });
}
"""
CORRECTED = SUSPECT.replace("users.forEach(async (user) => {", "for (const user of users) {").replace(
    "  });", "  }"
)
CASE = """\
case: ERR-2026-57
title: Data corruption during PostPilot's vector migration
collections:
  users:
    source: {uri: users.jsonl, id: user_id, text: [name]}
    target: {uri: "lancedb:target", collection: users}
    expected: {embedder: hashing-384}
  posts:
    source: {uri: posts.jsonl, id: post_id, text: [body], depends_on: {users: user_id}}
    target: {uri: "lancedb:target", collection: posts}
    expected: {embedder: hashing-384}
logs: [migration.log]
suspect: migration.js
corrected: migration.corrected.js
claims:
  error_rate: [0.34, 0.0]
  latency_ms: [200, 120]
  crashes: [5, 0]
"""
STORY = """\
# Why it happens

`migrateDataToVectorDB` returns before its writes are done. It starts one task a record with `forEach` and awaits none of them;
a post then looks for a user that is not there yet.

1. The caller takes the return for the end.
2. What is still on its way is lost when the process ends.
"""
SWIMLANES = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 120" width="400" height="120"><title>Lanes</title>'
    '<rect width="400" height="120" fill="#fff"/><text x="8" y="20" font-size="12" fill="#1b1f24">user 10001</text>'
    '<path d="M10 60H390" stroke="#D55E00" stroke-width="2"/></svg>'
)
LOG = (
    {
        "level": "info",
        "message": "Migration started - Records: 7200",
        "time": "2026-11-20T09:00:00.000Z",
        "line_number": 1,
    },
    {
        "level": "error",
        "message": "Data Corruption Detected in Migration: Key Not Found - UserId: 12345, Vector ID: NaN",
        "time": "2026-11-20T09:00:01.250Z",
        "line_number": 2,
        "vector_id": "NaN",
        "record_ids": ["12345"],
        "stack": [
            {"function": "migrateDataToVectorDB", "file": "/src/migration.js", "line": 45, "column": 12},
            {"function": "processMigration", "file": "/src/migration.js", "line": 23, "column": 5},
            {"function": "async main", "file": "/src/index.js", "line": 12, "column": 3},
        ],
    },
    {
        "level": "error",
        "message": "Data Corruption Detected in Migration: Key Not Found - UserId: 12346, Vector ID: NaN",
        "time": "2026-11-20T09:00:02.500Z",
        "line_number": 6,
    },
    {
        "level": "info",
        "message": "Migration completed successfully",
        "time": "2026-11-20T09:00:03.000Z",
        "line_number": 10,
    },
)


def make_case(folder: Path, text: str = CASE) -> Case:
    """The case file and small inputs beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.yaml").write_text(text, encoding="utf-8")
    (folder / "users.jsonl").write_text('{"user_id": "1", "name": "a"}\n')
    (folder / "posts.jsonl").write_text('{"post_id": "1", "body": "b", "user_id": "1"}\n')
    (folder / "migration.log").write_text("INFO: Migration started\n")
    (folder / "migration.js").write_text(SUSPECT)
    (folder / "migration.corrected.js").write_text(CORRECTED)
    (folder / "target").mkdir(exist_ok=True)
    (folder / "target" / "data.lance").write_bytes(b"vectors")
    return load_case(folder / "case.yaml")


def begin(tmp_path: Path, text: str = CASE) -> tuple[Case, RunFolder]:
    """A case and a fresh run of it, nothing done yet."""
    case = make_case(tmp_path / "data", text)
    return case, RunFolder.begin(case.folder / "case.yaml", case, tmp_path / "reports")


def full_run(tmp_path: Path, **findings: Any) -> tuple[Case, RunFolder]:
    """A run in which every stage ended well and the repair was verified. `findings` replace keys of findings.json."""
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run, **findings)
    add_race(run)
    add_repair(run)
    return case, run


def add_evidence(case: Case, run: RunFolder, log: tuple[dict[str, Any], ...] = LOG) -> None:
    with run.stage("collect"):
        record_inputs(case, run)
        lines = [
            json.dumps({"file": "migration.log", "fields": {}, "action": "noted", **event}) for event in log
        ]
        (run.evidence / "logs.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (run.evidence / "suspect.js").write_text(SUSPECT)
        (run.evidence / "corrected.js").write_text(CORRECTED)
        (run.evidence / "users").mkdir(exist_ok=True)
        (run.evidence / "users" / "source-0000.arrow").write_bytes(b"frozen")


def findings_of(users: dict[Kind, int], posts: dict[Kind, int], **changes: Any) -> dict[str, Any]:
    """findings.json for 2,000 users and 5,200 posts with these counts; a row is counted once for each kind."""

    def collection(rows: int, counts: dict[Kind, int], dimension: int = 384) -> dict[str, Any]:
        bad = sum(number for kind, number in counts.items() if SEVERITY[kind] is Severity.CORRUPT)
        left = counts.get(Kind.UNCHECKED, 0) + counts.get(Kind.PENDING, 0)
        return {
            "source_rows": rows,
            "target_rows": rows - counts.get(Kind.MISSING, 0) + counts.get(Kind.ORPHAN, 0),
            "dimension": dimension,
            "checked": rows - left,
            "of": rows,
            "unchecked": left,
            "rows_corrupt": min(bad - counts.get(Kind.ORPHAN, 0), rows) + counts.get(Kind.ORPHAN, 0),
            "records_corrupt": min(bad - counts.get(Kind.ORPHAN, 0), rows),
            "counts": {**zero_counts(), **{kind.value: number for kind, number in counts.items()}},
            "digests": {"source": "a" * 32, "target": "b" * 32},
            "notes": [],
        }

    collections = {"users": collection(2_000, users), "posts": collection(5_200, posts)}
    counts = {kind.value: users.get(kind, 0) + posts.get(kind, 0) for kind in Kind}
    corrupt = any(counts[kind.value] for kind in Kind if SEVERITY[kind] is Severity.CORRUPT)
    unknown = any(counts[kind.value] for kind in Kind if SEVERITY[kind] is Severity.UNKNOWN)
    return {
        "format": 1,
        "case": "ERR-2026-57",
        "title": "Data corruption during PostPilot's vector migration",
        "verdict": "corrupt" if corrupt else "unknown" if unknown else "clean",
        "estimate": None,
        "collections": collections,
        "counts": counts,
        "rows_corrupt": sum(one["rows_corrupt"] for one in collections.values()),
        "records_corrupt": sum(one["records_corrupt"] for one in collections.values()),
        "rows_checked": sum(one["checked"] for one in collections.values()),
        "hot_spots": [],
        "impact": None,
        "examples": [],
        "settings": {"cosine": 1e-05},
        "limits": ["What the store holds outside the two collections was not read."],
        "evidence_digest": "c" * 64,
        **changes,
    }


USERS = {Kind.MISSING: 412}
POSTS = {Kind.MISSING: 1_204, Kind.MANGLED_ID: 402, Kind.SWAPPED: 13, Kind.DANGLING: 400, Kind.NOISE: 3}
HOT_SPOTS = [
    {
        "collection": "posts",
        "kind": "missing",
        "sentence": "batches 17–19 of worker 3 hold 96 % of the missing rows (1.2 % of all rows)",
        "p_value": 1.2e-40,
    }
]
EXAMPLES = [
    {
        "collection": "users",
        "kind": "missing",
        "severity": "corrupt",
        "source_id": "12345",
        "target_id": None,
        "detail": "{}",
    },
    {
        "collection": "posts",
        "kind": "mangled_id",
        "severity": "corrupt",
        "source_id": "00017",
        "target_id": "NaN",
        "partner_id": "17",
        "distance": 0.25,
        "detail": {"rule": "nan"},
    },
]


def add_findings(run: RunFolder, **changes: Any) -> None:
    with run.stage("diff"):
        found = findings_of(USERS, POSTS, hot_spots=HOT_SPOTS, examples=EXAMPLES)
        write_json(run.findings_json, {**found, **changes})


def exploration(failing: bool, suspect: str) -> Exploration:
    """What the laboratory says of the suspect (failing) or of the corrected form (proved)."""
    source = Source(
        f"/src/{suspect}",
        6,
        "migrateDataToVectorDB",
        "await vectorDB.insert(user.id, vector, user.metadata);",
    )
    upsert = Operation(
        "main/1#2", OperationKind.UPSERT, "10001", "main/1", "upsert(user 10001)", "10001", source
    )
    trace = Trace(
        (upsert,),
        (
            Event(1, 0.0, EventKind.BEGIN, upsert.id, "main/1"),
            Event(2, 0.01, EventKind.RETURN, "", "main"),
            Event(3, 0.02, EventKind.COMPLETE, upsert.id, "main/1"),
        ),
        Outcome(lost=(LostError("main/1", "TypeError: NaN"),), left_behind=("main/1",)),
    )
    witness = Witness(
        (Record("10001", "a user"),),
        (Constraint("return", upsert.id, "upsert(user 10001) after return"),),
        (upsert.id,),
        "vf1:12:0:all:quiet:-:fifo",
        trace,
        ("missing", "task_left_behind"),
        original_records=12,
    )
    passes = (
        Pass("fifo", "quiet", 1, 0, False),
        Pass("withhold", "quiet", 40, 31 if failing else 0, not failing),
    )
    return Exploration(
        suspect,
        Verdict.FAILING if failing else Verdict.PROVED,
        witness if failing else None,
        Certificate(
            12, 41, 57, "javascript", passes, exhaustive=not failing, not_seen=("Real network time-outs.",)
        ),
        2 if failing else None,
        {"missing": 31, "mangled_id": 20, "task_left_behind": 31} if failing else {},
    )


REHEARSAL = {
    "format": 1,
    "simulated": True,
    "seed": 57,
    "records": 400,
    "physics": {"embed_ms": 80.0, "embed_sockets": 16},
    "metrics": [
        {
            "name": "error_rate",
            "unit": "share",
            "before": {"value": 0.337, "low": 0.321, "high": 0.352, "n": 20},
            "after": {"value": 0.0, "low": 0.0, "high": 0.0, "n": 20},
            "method": "Records wrong at the end of a run; mean over runs, 95 % bootstrap interval.",
        },
        {
            "name": "latency_ms",
            "unit": "ms",
            "before": {"value": 203.4, "low": 198.0, "high": 209.1, "n": 20},
            "after": {"value": 121.2, "low": 119.0, "high": 123.9, "n": 20},
            "method": "From the call of an insert to its acknowledgement.",
        },
        {
            "name": "crashes",
            "unit": "count",
            "before": {"value": 5.0, "low": 1.7, "high": 9.8, "n": 20},
            "after": {"value": 0.0, "low": 0.0, "high": 3.4, "n": 20},
            "method": "Runs that ended with an unhandled error; Clopper–Pearson.",
        },
    ],
    "runs": [],
}


def add_race(run: RunFolder, swimlanes: str = SWIMLANES) -> None:
    with run.stage("reproduce"):
        write_json(run.witness_json, to_plain(exploration(True, "migration.js")))
        write_json(run.corrected_json, to_plain(exploration(False, "migration.corrected.js")))
        write_json(run.rehearsal_json, REHEARSAL)
        (run.race / "witness.md").write_text(STORY, encoding="utf-8")
        (run.race / "swimlanes.svg").write_text(swimlanes, encoding="utf-8")
        run.repro_py.write_text("raise SystemExit(1)\n")
        add_picture(run, "failure-curve.png", "Share of failing runs over concurrency", "reproduce")


def add_picture(run: RunFolder, name: str, caption: str, stage: str, data: bytes | None = None) -> None:
    run.figures.mkdir(exist_ok=True)
    (run.figures / name).write_bytes(png() if data is None else data)
    known = (
        json.loads((run.figures / "captions.json").read_text())
        if (run.figures / "captions.json").exists()
        else {}
    )
    write_json(
        run.figures / "captions.json", {**known, name: {"caption": caption, "alt": caption, "stage": stage}}
    )


def png(width: int = 4, height: int = 4) -> bytes:
    """A small grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\x00" + b"\x80" * width for _ in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


PLAN = {
    "format": 1,
    "mode": "repair",
    "settings": {"strategy": "waves", "chunk_rows": 4096, "collections": {}},
    "counts": {
        "users": {"upsert": 412, "delete": 0, "quarantine": 0},
        "posts": {"upsert": 1_619, "delete": 402, "quarantine": 1},
    },
    "left_as_it_is": {},
    "digest": "d" * 64,
}
VERIFICATION = Verification(
    checked={"users": (2_000, 2_000), "posts": (5_200, 5_200)},
    kinds=zero_counts(),
    by_collection={"users": {}, "posts": {}},
    examples={"users": {}, "posts": {}},
    sources={},
    not_seen=(),
    evidence="c" * 64,
).as_dict()


def add_plan(run: RunFolder) -> None:
    with run.stage("migrate"):
        write_json(run.plan_json, PLAN)


def add_broken_repair(run: RunFolder) -> None:
    """The plan, and a ledger of four operations: one has come to its end, one is acknowledged, one is under way, one waits."""
    with run.stage("migrate"):
        write_json(run.plan_json, PLAN)
        planned = [Planned(number, 1, "upsert", "users", f"{10_000 + number}") for number in range(1, 5)]
        with Ledger.create(run.ledger_sqlite, planned, {"mode": "repair"}) as ledger:
            ledger.save_preimage("users", [1, 2, 3], b"rows")
            ledger.advance([1, 2, 3], State.SENT)
            ledger.advance([1, 2], State.APPLIED)
            for state in (State.VERIFIED, State.DONE):
                ledger.advance([1], state)


def add_repair(
    run: RunFolder, verification: dict[str, Any] | None = VERIFICATION, quarantined: str = ""
) -> None:
    """The plan, a ledger whose operations came to their end, and the verification. `quarantined`: why the last was."""
    with run.stage("migrate"):
        write_json(run.plan_json, PLAN)
        planned = [Planned(number, 1, "upsert", "users", f"{10_000 + number}") for number in range(1, 5)]
        with Ledger.create(run.ledger_sqlite, planned, {"mode": "repair"}) as ledger:
            good = [1, 2, 3] if quarantined else [1, 2, 3, 4]
            ledger.save_preimage("users", good, b"rows")
            for state in (State.SENT, State.APPLIED, State.VERIFIED, State.DONE):
                ledger.advance(good, state)
            if quarantined:
                ledger.advance([4], State.QUARANTINED, quarantined)
        if verification is not None:
            write_json(run.verification_json, verification)
