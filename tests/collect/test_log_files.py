"""Logs as files: their encodings, and what is said of one that tells less than it might."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import load_case
from vecforensics.collect import collect, read_log
from vecforensics.diff import Diff, diff_vectors
from vecforensics.run_folder import RunFolder

LINES = "2026-01-01T00:00:00Z INFO upserted id=é0\n2026-01-01T00:00:01Z INFO upserted id=u1\n"
CASE = """case: logs
collections:
  users:
    source: {uri: users.jsonl, id: user_id, depends_on: {users: parent}}
    target: {uri: "parquet:target.parquet", collection: users}
logs: [m.log]
"""


def diffed(folder: Path, log: bytes) -> Diff:
    """Twenty users, of which all depend on the first; the log is as given."""
    ids = [f"u{number}" for number in range(20)]
    rows = [{"user_id": one, "parent": "u0" if one != "u0" else None} for one in ids]
    (folder / "users.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    vectors = pa.array([[1.0, float(number)] for number in range(20)], pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ids, "vector": vectors}), folder / "target.parquet")
    (folder / "m.log").write_bytes(log)
    (folder / "case.yaml").write_text(CASE)
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    collect(case, run)
    return diff_vectors(case, run, impact=False)


def said_of_log(diff: Diff) -> list[str]:
    return [limit for limit in diff.limits if limit.startswith("m.log")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_log_is_read_in_the_encoding_that_its_bytes_show(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "m.log").write_bytes(LINES.encode(encoding))
    first, second = read_log(tmp_path / "m.log")
    assert (first.time, first.record_ids) == ("2026-01-01T00:00:00Z", ("é0",))
    assert (second.time, second.record_ids, second.line_number) == ("2026-01-01T00:00:01Z", ("u1",), 2)


def test_a_log_in_another_encoding_or_with_a_hole_in_it_is_text(tmp_path: Path) -> None:
    for data in (
        LINES.encode("latin-1"),
        b"\0" * 9000 + b"\n" + LINES.encode(),
        b"x" + b"\0" * 99 + LINES.encode(),
    ):
        (tmp_path / "m.log").write_bytes(data)
        *_, last = read_log(tmp_path / "m.log")
        assert last.record_ids == ("u1",)


def test_a_compressed_log_is_named_and_not_read_as_noise(tmp_path: Path) -> None:
    lines = "".join(f"2026-01-01T00:00:00Z INFO upserted id={hash(n)}\n" for n in range(5000))
    diff = diffed(tmp_path, gzip.compress(lines.encode()))
    assert list(read_log(tmp_path / "m.log")) == []
    assert said_of_log(diff) == ["m.log: is not text (compressed, perhaps); nothing of it was read."]


def test_an_empty_log_is_named(tmp_path: Path) -> None:
    assert said_of_log(diffed(tmp_path, b"")) == ["m.log: is empty."]


def test_a_log_whose_times_name_no_year_is_named_and_its_order_used(tmp_path: Path) -> None:
    lines = "".join(
        f"Nov 28 08:00:{60 - n:02d} host migrate: upserted id=u{n}\n" for n in (5, 0, *range(6, 20))
    )
    diff = diffed(tmp_path, lines.encode())
    assert said_of_log(diff) == [
        "m.log: 16 of 16 entries give a time without a year or a day, which was not used; of these only the order counts."
    ]
    assert [json.loads(row["detail"])["by"] for row in diff.of_kind("premature").to_pylist()] == [
        "order in the log"
    ]


def test_a_log_without_times_is_named_and_one_with_some_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert said_of_log(diffed(tmp_path / "a", b"upserted id=u1\nupserted id=u0\n")) == [
        "m.log: no entry gives a time that could be read; only their order counts."
    ]
    (tmp_path / "b").mkdir()
    assert said_of_log(diffed(tmp_path / "b", b"begins\n" + LINES.encode())) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_child_is_premature_by_the_times_of_logfmt(tmp_path: Path, encoding: str) -> None:
    lines = "level=info ts=2026-01-01T00:00:09Z msg=upserted id=u0\nlevel=info ts=2026-01-01T00:00:08Z msg=upserted id=u7\n"
    diff = diffed(tmp_path, lines.encode(encoding))
    found = [
        (row["source_id"], json.loads(row["detail"])["by"]) for row in diff.of_kind("premature").to_pylist()
    ]
    assert found == [("u7", "time")]
