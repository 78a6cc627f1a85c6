"""Freezing: what is written is what was given, whatever the bucket count, and a broken attempt leaves nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.errors import EvidenceError, SourceError
from vecforensics.evidence import FORMAT, Evidence, directory_name
from vecforensics.records import source_schema, target_schema

DIMENSION = 6


def source_batches(
    ids: list[str], versions: list[str | None] | None = None, batch: int = 7, seed: int = 1
) -> list[pa.RecordBatch]:
    vectors = np.random.default_rng(seed).normal(size=(len(ids), DIMENSION)).astype(np.float32)
    schema = source_schema(["users"], DIMENSION)
    columns = [
        pa.array(ids),
        pa.array([f"text of {i}" for i in ids]),
        pa.array(['{"plan":"pro"}'] * len(ids)),
        pa.array(versions if versions is not None else [None] * len(ids), pa.string()),
        pa.array([None if n % 3 else f"u{n}" for n in range(len(ids))], pa.string()),
        fixed_vectors(vectors),
    ]
    table = pa.Table.from_arrays(columns, schema=schema)
    return table.to_batches(max_chunksize=batch)


def target_batches(ids: list[str], batch: int = 5, seed: int = 1) -> list[pa.RecordBatch]:
    vectors = np.random.default_rng(seed).normal(size=(len(ids), DIMENSION)).astype(np.float32)
    ragged = [[1.0, 2.0] if n % 11 == 10 else None for n in range(len(ids))]
    mask = np.array([row is not None for row in ragged])
    table = pa.Table.from_arrays(
        [
            pa.array(ids),
            fixed_vectors(vectors, mask if mask.any() else None),
            pa.array(ragged, pa.list_(pa.float32())),
            pa.array(['{"plan":"pro"}'] * len(ids)),
        ],
        schema=target_schema(DIMENSION),
    )
    return table.to_batches(max_chunksize=batch)


def freeze(folder: Path, ids: list[str], buckets: int | None = None, batch: int = 7) -> Evidence:
    with EvidenceWriter(folder, buckets=buckets) as writer:
        writer.source("users", source_batches(ids, batch=batch), metadata=["plan"], expected="hashing-6")
        writer.target("users", target_batches(ids, batch=batch))
        return writer.finish(collected_at="2026-01-01T00:00:00Z")


IDS = [f"user {n} é" if n % 5 else f"0{n}" for n in range(100)]


@pytest.mark.parametrize("buckets", [1, 4, 16])
def test_what_comes_back_is_what_went_in(tmp_path: Path, buckets: int) -> None:
    evidence = freeze(tmp_path, IDS, buckets)
    back = pa.Table.from_batches(evidence.iter_source("users", batch_rows=13))
    given = pa.Table.from_batches(source_batches(IDS))
    assert back["position"].to_pylist() == list(range(100))
    assert back.drop_columns(["position"]).cast(given.schema) == given
    rows = [
        row
        for number in range(buckets)
        for row in evidence.bucket("users", number).target.drop_columns(["id_hash", "digest"]).to_pylist()
    ]
    rows.sort(key=lambda row: row["position"])
    assert [row["id"] for row in rows] == IDS
    assert rows[10]["vector"] is None
    assert rows[10]["ragged"] == [1.0, 2.0]
    assert evidence.verify() == ()
    assert evidence.collections["users"].rows == {"source": 100, "target": 100, "earlier": 0}


def test_the_content_digest_knows_no_buckets_batches_or_order(tmp_path: Path) -> None:
    one = freeze(tmp_path / "a", IDS, 1, batch=100)
    other = freeze(tmp_path / "b", IDS, 8, batch=3)
    assert one.digest == other.digest
    assert one.collections["users"].digests == other.collections["users"].digests
    with EvidenceWriter(tmp_path / "c") as writer:
        writer.source("users", source_batches(IDS), metadata=["plan"], expected="hashing-6")
        whole = pa.Table.from_batches(target_batches(IDS))
        writer.target("users", whole.take(np.arange(99, -1, -1)).combine_chunks().to_batches())
        backwards = writer.finish()
    assert backwards.digest == one.digest
    with EvidenceWriter(tmp_path / "d") as writer:
        writer.source("users", source_batches(IDS), metadata=["plan"], expected="hashing-6")
        writer.target("users", target_batches(IDS, seed=2))
        assert writer.finish().digest != one.digest


def test_a_record_edited_twice_keeps_its_earlier_versions(tmp_path: Path) -> None:
    ids, versions = ["a", "b", "a", "c", "a"], ["9", "1", "10", "1", "2"]
    with EvidenceWriter(tmp_path, buckets=2) as writer:
        assert writer.source("users", source_batches(ids, versions)) == 3
        writer.target("users", target_batches(["a"]))
        evidence = writer.finish()
    newest = pa.Table.from_batches(evidence.iter_source("users"))
    assert list(zip(newest["id"].to_pylist(), newest["version"].to_pylist(), strict=True)) == [
        ("b", "1"),
        ("a", "10"),
        ("c", "1"),
    ]
    earlier = pa.concat_tables(evidence.bucket("users", number).earlier for number in range(2))
    assert sorted(zip(earlier["version"].to_pylist(), earlier["rank"].to_pylist(), strict=True)) == [
        ("2", 0),
        ("9", 1),
    ]
    assert evidence.verify() == ()


@pytest.mark.parametrize("versions", [None, ["1", "1", "1"]])
def test_an_id_that_stands_twice_is_an_input_error_with_both_rows(
    tmp_path: Path, versions: list[str | None] | None
) -> None:
    with (
        pytest.raises(SourceError, match=r"users\.csv: the id 'a' stands in rows 0 and 2"),
        EvidenceWriter(tmp_path) as writer,
    ):
        writer.source("users", source_batches(["a", "b", "a"], versions), where="users.csv")
    assert list(tmp_path.iterdir()) == []


def test_frozen_evidence_is_not_written_again(tmp_path: Path) -> None:
    freeze(tmp_path, IDS)
    with pytest.raises(EvidenceError, match="frozen here already"):
        EvidenceWriter(tmp_path)


def test_a_flipped_bit_and_a_lost_file_are_found(tmp_path: Path) -> None:
    evidence = freeze(tmp_path, IDS, 2)
    damaged = tmp_path / "users" / "target-0001.arrow"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    (tmp_path / "users" / "source-0000.arrow").unlink()
    assert [line.split(":")[0] for line in evidence.verify()] == [
        "users/source-0000.arrow",
        "users/target-0001.arrow",
    ]


@pytest.mark.parametrize("name", ["../../etc", "a/b", "CON", "Users", "", ".", "a" * 300, "naïve", "users\n"])
def test_a_strangers_collection_name_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    with EvidenceWriter(tmp_path / "evidence") as writer:
        writer.source(name, source_batches(["a"]))
        writer.target(name, target_batches(["a"]))
        evidence = writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["evidence"]
    assert evidence.bucket(name, 0).source["id"].to_pylist() == ["a"]
    assert directory_name(name) != directory_name(name + "x")


def test_a_killed_writer_leaves_no_evidence(tmp_path: Path) -> None:
    program = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from test_freeze import *\n"
        "writer = EvidenceWriter(sys.argv[1])\n"
        "writer.source('users', source_batches(IDS))\n"
        "print('half', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with pytest.raises(EvidenceError, match="no evidence has been frozen"):
        Evidence.open(tmp_path)
    assert freeze(tmp_path, IDS).verify() == ()
    assert {path.name for path in tmp_path.iterdir()} == {"users", "evidence.json"}


@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
def test_an_index_of_another_format_is_refused(tmp_path: Path, other: int) -> None:
    freeze(tmp_path, IDS)
    index = json.loads((tmp_path / "evidence.json").read_text())
    (tmp_path / "evidence.json").write_text(json.dumps({**index, "format": other}))
    with pytest.raises(EvidenceError, match=f"format {other}; this version reads {FORMAT}. Collect again"):
        Evidence.open(tmp_path)
    (tmp_path / "evidence.json").write_text("[]")
    with pytest.raises(EvidenceError, match="damaged"):
        Evidence.open(tmp_path)


@pytest.mark.parametrize(
    ("fact", "value"), [("source_types", {"a": "no such"}), ("source_types", 3), ("without_id", "many")]
)
def test_facts_that_freezing_never_writes_are_refused(tmp_path: Path, fact: str, value: object) -> None:
    freeze(tmp_path, IDS)
    index = json.loads((tmp_path / "evidence.json").read_text())
    index["collections"]["users"]["facts"][fact] = value
    (tmp_path / "evidence.json").write_text(json.dumps(index))
    with pytest.raises(EvidenceError, match="the index is damaged"):
        Evidence.open(tmp_path)


def test_cells_without_a_type_are_other_evidence_than_text(tmp_path: Path) -> None:
    digest = freeze(tmp_path, IDS).digest
    index = json.loads((tmp_path / "evidence.json").read_text())
    index["collections"]["users"]["facts"]["source_types"] = {"plan": "untyped"}
    (tmp_path / "evidence.json").write_text(json.dumps(index))
    assert Evidence.open(tmp_path).digest != digest


def test_names_are_escaped_where_evidence_shows_itself(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\x1b[2J"
    with EvidenceWriter(tmp_path) as writer:
        writer.source(name, source_batches(["a"]))
        writer.target(name, target_batches(["a"]))
        evidence = writer.finish()
    assert "<script>" not in evidence._repr_html_()
    assert "\x1b" not in str(evidence)


def test_an_empty_target_and_a_target_of_another_dimension_are_frozen_too(tmp_path: Path) -> None:
    wide = pa.Table.from_arrays(
        [
            pa.array(["a", "b"]),
            fixed_vectors(np.ones((2, 3), np.float32)),
            pa.array([None, [1.0]], pa.list_(pa.float32())),
            pa.nulls(2, pa.string()),
        ],
        schema=target_schema(3),
    )
    with EvidenceWriter(tmp_path) as writer:
        writer.source("empty", source_batches(["a"]))
        writer.target("empty", [])
        writer.source("wide", source_batches(["a", "b"]))
        writer.target("wide", wide.to_batches())
        evidence = writer.finish()
    assert evidence.bucket("empty", 0).target.num_rows == 0
    rows = evidence.bucket("wide", 0).target
    assert rows["vector"].null_count == 2
    assert rows["ragged"].to_pylist() == [[1.0, 1.0, 1.0], [1.0]]


def bytes_of(evidence: Evidence) -> dict[str, bytes]:
    return {name: (evidence.path / name).read_bytes() for name in sorted(evidence.files)}


def test_the_files_are_the_same_to_the_byte_whatever_the_batches_were(tmp_path: Path) -> None:
    one, other = (freeze(tmp_path / str(batch), IDS, 4, batch=batch) for batch in (3, 100))
    assert bytes_of(one) == bytes_of(other)
    assert one.files == other.files


def test_what_lies_under_a_null_is_not_frozen(tmp_path: Path) -> None:
    mask = pa.array([True, False, False])
    frozen = []
    for hidden in (0.0, 7.0):
        flat = pa.array([hidden] * DIMENSION + [1.0] * 2 * DIMENSION, pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, DIMENSION, mask=mask)
        source = pa.RecordBatch.from_arrays(
            [*source_batches(["a", "b", "c"])[0].columns[:-1], vectors],
            schema=source_schema(["users"], DIMENSION),
        )
        with EvidenceWriter(tmp_path / str(hidden), buckets=2) as writer:
            writer.source("users", [source])
            writer.target("users", target_batches(["a"]))
            frozen.append(bytes_of(writer.finish()))
    assert frozen[0] == frozen[1]


def test_more_rows_than_wait_in_memory_come_out_in_their_order(tmp_path: Path) -> None:
    ids = [f"{n:06d}" for n in range(40_000)]
    with EvidenceWriter(tmp_path, memory_mb=1, buckets=2) as writer:
        writer.source("users", source_batches(ids, batch=999))
        writer.target("users", target_batches(ids, batch=999))
        evidence = writer.finish()
    back = pa.Table.from_batches(evidence.iter_source("users"))
    given = pa.Table.from_batches(source_batches(ids))
    assert back.drop_columns(["position"]).cast(given.schema).equals(given)
    target = evidence.bucket("users", 1).target
    assert target["vector"].num_chunks > 1
    rows = pa.Table.from_batches(target_batches(ids)).take(target["position"])
    for column in rows.schema.names:
        assert target[column].to_pylist() == rows[column].to_pylist(), column
    assert evidence.verify() == ()


def test_a_thousand_buckets_need_no_thousand_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, hard))
    try:
        evidence = freeze(tmp_path, IDS, 1024)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(evidence.files) == 2048
    assert evidence.verify() == ()


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(
            EvidenceError, match=r"source-0000\.arrow: cannot be written \(File too"
        ) as caught:
            freeze(tmp_path, IDS, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [DIMENSION, DIMENSION + 1])
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_vectors_that_are_not_finite_count_with_their_other_components_in_the_content_digest(
    tmp_path: Path, odd: float, length: int
) -> None:
    digests = set()
    for number in range(2):
        vector = np.random.default_rng(number).normal(size=length).astype(np.float32)
        vector[0] = odd
        fixed = length == DIMENSION
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(["a"]),
                fixed_vectors(
                    vector[None] if fixed else np.zeros((1, DIMENSION), np.float32), np.array([not fixed])
                ),
                pa.array([None if fixed else vector.tolist()], pa.list_(pa.float32())),
                pa.array(["{}"]),
            ],
            schema=target_schema(DIMENSION),
        )
        with EvidenceWriter(tmp_path / str(number)) as writer:
            writer.source("users", source_batches(["a"]))
            writer.target("users", [batch])
            digests.add(writer.finish().digest)
    assert len(digests) == 2
