"""Sources that cannot be used: one line that says what, where, what next; never a traceback of a library."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Source
from vecforensics.errors import CaseError, SourceError
from vecforensics.sources import open_source


def refusal(path: Path, vector: str | None = None, **source: Any) -> str:
    """The one line with which reading `path` is refused."""
    with pytest.raises(SourceError) as refused:
        list(open_source(Source(uri=path.name, **{"id": "id", **source}), path.parent, vector=vector).scan())
    line = str(refused.value)
    assert "\n" not in line
    assert refused.value.hint
    assert path.name in line
    return line


def made(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "none.jsonl")


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").mkdir()
    assert "there is no such file" in refusal(tmp_path / "records.jsonl")


def test_a_format_that_is_not_known(tmp_path: Path) -> None:
    assert "unknown format '.xlsx'" in refusal(made(tmp_path, "records.xlsx", "x"))
    assert "Known: .csv" in refusal(made(tmp_path, "records", "x"))


@pytest.mark.parametrize("uri", ["s3://bucket/x.csv", "ftp://u:hunter2@host/x.csv"])
def test_a_uri_scheme_that_is_not_known(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VF_URI", uri)
    with pytest.raises(SourceError, match="unknown URI scheme") as refused:
        open_source(Source(uri="env:VF_URI", id="id"), tmp_path)

    assert "hunter2" not in str(refused.value)


def test_a_reference_to_a_variable_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VF_NO_SUCH", raising=False)
    with pytest.raises(CaseError, match="environment variable VF_NO_SUCH is not set"):
        open_source(Source(uri="env:VF_NO_SUCH", id="id"), tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("records.csv", "key,body\n1,x\n"),
        ("records.jsonl", '{"key": 1, "body": "x"}\n'),
        ("records.json", '[{"key": 1, "body": "x"}]'),
    ],
)
def test_an_id_column_that_does_not_exist(tmp_path: Path, name: str, content: str) -> None:
    line = refusal(made(tmp_path, name, content))
    assert "'id'" in line
    assert "key, body" in line


def test_columns_that_do_not_exist_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"key": ["1"], "body": ["x"]}), path)
    assert "has no column 'id'" in refusal(path)
    assert "to one of: key, body" in refusal(path)
    assert "has no column 'txt'" in refusal(path, id="key", text=("txt",))


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    assert "has more than one column 'id'" in refusal(made(tmp_path, "records.csv", "id,id\n1,2\n"))
    path = tmp_path / "records.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["id", "id"]), path)
    assert "has more than one column 'id'" in refusal(path)


@pytest.mark.parametrize("role", ["text", "metadata", "version", "depends_on"])
def test_a_column_that_no_record_has(tmp_path: Path, role: str) -> None:
    path = made(tmp_path, "records.jsonl", '{"id": 1}\n{"id": 2}\n')
    column: Any = {"text": ("nope",), "metadata": ("nope",), "version": "nope", "depends_on": {"u": "nope"}}[
        role
    ]
    assert "'nope'" in refusal(path, **{role: column})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": 3', "line 3 is no JSON"),
        ('{"id": 3} x', "line 3 is no JSON"),
        ("[1, 2]", "line 3 is no object but list"),
        ("3", "line 3 is no object but int"),
        ("[" * 100_000, "line 3 is no JSON"),
        ('{"id": ' + "9" * 5_000 + "}", "line 3 is no JSON"),
        ('{"id": null}', "line 3 has null for an id"),
        ('{"id": true}', "line 3 has true for an id"),
        ('{"id": {"a": 1}}', 'line 3 has {"a":1} for an id'),
        ('{"no": 3}', "line 3 has no id column 'id'"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str, words: str) -> None:
    path = made(tmp_path, "records.jsonl", '{"id": 1}\n\n' + line + '\n{"id": 4}\n')
    assert words in refusal(path)


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    assert "is not UTF-8" in refusal(made(tmp_path, "a.jsonl", b'{"id": 1}\n{"id": "\xff"}\n'))
    assert "cannot be read as JSON" in refusal(made(tmp_path, "b.json", b'[{"id": "\xff"}]'))
    assert "line 3 is not UTF-8 (byte 5 of the file). Save it" in refusal(
        made(tmp_path, "c.csv", b"id\n1\n\xff\n")
    )


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_csv_in_another_encoding(tmp_path: Path, ending: str) -> None:
    """The header is read before all rows, a row far down in the second block; a character may lie across two blocks."""
    # The rows take 5 bytes, the header 10: of the character at 2**23 - 1 the first byte ends a block of 8 MB.
    long = b"id,bodies\n" + b"1,\xc3\xa9\n" * 2_000_000
    assert long[(8 << 20) - 1 : (8 << 20) + 1] == "é".encode()
    for content, words in (
        ("id,größe\n1,x\n".encode("latin-1"), "line 1 is not UTF-8 (byte 5 of"),
        ("id,bodies\n1,x\n2,é\n".encode("latin-1"), "line 3 is not UTF-8 (byte 16 of"),
        ("id,bodies\n1,x\n".encode("utf-16"), "line 1 is not UTF-8 (byte 0 of"),
        (long + b"2,\xe9\n", f"line 2000002 is not UTF-8 (byte {len(long) + 2} of"),
    ):
        path = made(tmp_path, f"a.{ending}", gzip.compress(content, 1) if ending.endswith("gz") else content)
        assert words in refusal(path, text=("bodies",) if b"bodies" in content else ())


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('id,body\n1,"a\n2,b\n', 2),
        ('id,body\n1,a\n2,"b\n', 3),
        ('id,body\n1,a\n2,"b', 3),
        ('id,body\n1,a\n2,"', 3),
        ('id,body\r\n1,"two\r\nlines"\r\n2,"b\r\n3,c\r\n', 4),
        ('id,body\n1,"a ""quoted"" word\n2,b\n', 2),
        ('body,id\nx,"1\ny,2\n', 2),
        ('id\n1\n"2\n3\n', 3),
        ('id,body\n1,a\n2,"' + "x\n" * (9 << 19), 3),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_quote_that_is_never_closed_swallows_no_rows_in_silence(
    tmp_path: Path, content: str, line: int, ending: str
) -> None:
    path = made(
        tmp_path, f"a.{ending}", gzip.compress(content.encode(), 1) if ending.endswith("gz") else content
    )
    assert f"a quote that is opened on line {line} is not closed" in refusal(path)


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ('id,body\n1,"ends\nlate\n"\n', ["1"]),
        ('id,body\n1,"ends\nlate\n"', ["1"]),
        ('id,body\n1,5" wide\n2,b', ["1", "2"]),
        ('id,body\n1,""\n2,""', ["1", "2"]),
        ('id,body\n1,"a ""quoted"" word"\n', ["1"]),
        ("id\n1\n\n2\n\n\n", ["1", "2"]),
        ('\ufeffid,body\r\n"1\n",a\r\n', ["1\n"]),
        ("id,body", []),
    ],
)
def test_quotes_and_ends_that_only_look_odd(tmp_path: Path, content: str, ids: list[str]) -> None:
    made(tmp_path, "a.csv", content)
    batches = open_source(Source(uri="a.csv", id="id"), tmp_path).scan()
    assert [one for batch in batches for one in batch.column("id").to_pylist()] == ids


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    assert "half a surrogate pair" in refusal(made(tmp_path, "a.jsonl", '{"id": "\\ud800"}\n'))


@pytest.mark.parametrize("name", ["records.jsonl", "records.json"])
def test_a_text_that_is_null(tmp_path: Path, name: str) -> None:
    rows = [{"id": 1, "body": "x"}, {"id": 2, "body": None}]
    content = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
    line = refusal(made(tmp_path, name, content), text=("body",))
    assert "2: the text column 'body' is null" in line


def test_a_text_that_is_null_in_columns(tmp_path: Path) -> None:
    assert "row 2: the text column 'body' is null" in refusal(
        made(tmp_path, "records.csv", "id,body\n1,x\n2,\n"), text=("body",)
    )
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": ["1", "2", "3"], "body": ["x", "y", None]}), path)
    assert "the text column 'body' is null" in refusal(path, text=("body",))


def test_an_id_that_is_null_in_columns(tmp_path: Path) -> None:
    assert "has no id" in refusal(made(tmp_path, "records.csv", "id,body\n1,x\n,y\n"))
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": pa.array(["1", None])}), path)
    assert "has no id" in refusal(path)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([b"\x00"], pa.binary()),
        pa.array([True]),
        pa.array([[1]]),
        pa.array([{"a": 1}]),
    ],
    ids=lambda array: str(array.type),
)
def test_ids_of_a_type_without_one_spelling(tmp_path: Path, ids: pa.Array) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": ids}), path)
    assert "have no one spelling as text" in refusal(path)


def test_csv_rows_of_another_width(tmp_path: Path) -> None:
    assert "broken after row" in refusal(made(tmp_path, "records.csv", "id,body\n1,x\n2,y,z\n"))


@pytest.mark.parametrize("name", ["empty.csv", "empty.json", "empty.parquet"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    assert name in refusal(made(tmp_path, name, ""))


def test_no_records_at_all_is_an_empty_source_not_an_error(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", ""), ("b.json", "[]"), ("c.csv", "id\n")):
        path = made(tmp_path, name, content)
        batches = list(open_source(Source(uri=path.name, id="id"), tmp_path).scan())
        assert sum(batch.num_rows for batch in batches) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1 is no JSON"),
        ('[{"id": 1},\n{"id": ]', "line 2 is no JSON"),
        ('{"users": []}', "holds an object, not a list. Set source.table to one of: users"),
        ("3", "holds no list of records"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[1]", "record 1 is no object but int"),
    ],
)
def test_json_that_is_no_list_of_records(tmp_path: Path, content: str, words: str) -> None:
    assert words in refusal(made(tmp_path, "records.json", content))


def test_a_table_that_the_object_does_not_have(tmp_path: Path) -> None:
    path = made(tmp_path, "records.json", '{"users": [], "posts": []}')
    assert "has no table 'comments'. Keys there: users, posts" in refusal(path, table="comments")


@pytest.mark.parametrize("name", ["records.jsonl.gz", "records.json.gz", "records.csv.gz"])
def test_a_gzipped_file_that_breaks_off(tmp_path: Path, name: str) -> None:
    content = "id\n" if ".csv" in name else ""
    content += "\n".join(
        f'"{n:0200}"' if ".csv" in name else json.dumps({"id": f"{n:0200}"}) for n in range(2_000)
    )
    whole = gzip.compress(content.encode())
    line = refusal(made(tmp_path, name, whole[: len(whole) // 2]))
    assert re.search(r"breaks off after line \d+|cannot be read", line)


def test_a_parquet_file_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(1_000)]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert "is no Parquet file" in refusal(path)
    path.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,v\n1,"[1, 2"\n'),
        ("a.csv", 'id,v\n1,"{}"\n'),
        ("a.csv", 'id,v\n1,"[""x""]"\n'),
        ("a.jsonl", '{"id": 1, "v": "text"}\n'),
        ("a.jsonl", '{"id": 1, "v": ["x"]}\n'),
        ("a.jsonl", '{"id": 1, "v": {"a": 1}}\n'),
    ],
)
def test_a_vector_column_without_vectors(tmp_path: Path, name: str, content: str) -> None:
    assert "'v'" in refusal(made(tmp_path, name, content), vector="v")


def test_a_parent_id_or_version_that_is_no_single_value(tmp_path: Path) -> None:
    path = made(tmp_path, "a.jsonl", '{"id": 1, "p": [1]}\n')
    assert "line 1: 'p' is no single value" in refusal(path, depends_on={"users": "p"})
    assert "line 1: 'p' is no single value" in refusal(path, version="p")


def test_a_hostile_column_name_cannot_paint_the_terminal(tmp_path: Path) -> None:
    path = made(tmp_path, "a.jsonl", '{"\\u001b[31mkey": 1}\n')
    assert "\x1b" not in refusal(path)
