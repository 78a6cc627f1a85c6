"""Parquet files of strangers: bombs, damage, and what only looks odd."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Source, Target
from vecforensics.errors import SourceError, TargetError
from vecforensics.sources import open_source
from vecforensics.stores import open_reader


def bomb(path: Path, column: pa.Array, repeats: int) -> None:
    """`repeats` rows that all point at one value: some kilobytes that unfold to hundreds of megabytes."""
    index = pa.array([0] * repeats, pa.int32())
    ids = pa.array(range(repeats)).cast(pa.string())
    table = pa.table({"id": ids, "body": pa.DictionaryArray.from_arrays(index, column)})
    pq.write_table(table, path, compression="zstd", row_group_size=repeats)


def test_a_text_bomb_in_a_source(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    bomb(path, pa.array(["x" * 100_000]), 20_000)
    assert path.stat().st_size < 400_000
    with pytest.raises(SourceError, match=r"unfold to some [\d,]+ MB.*Refused as a decompression bomb"):
        list(open_source(Source(uri="bomb.parquet", id="id", text=("body",)), tmp_path).scan())


def test_a_vector_bomb_in_a_target(tmp_path: Path) -> None:
    zeros = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * (1_000 * 40_000), pa.float32()), 40_000)
    table = pa.table({"id": [str(n) for n in range(1_000)], "vector": zeros})
    pq.write_table(table, tmp_path / "c.parquet", compression="zstd")
    assert (tmp_path / "c.parquet").stat().st_size < 400_000
    reader = open_reader(Target(uri="parquet:c.parquet", collection="c"), tmp_path)
    with pytest.raises(TargetError, match="Refused as a decompression bomb"):
        list(reader.scan("c"))


def test_a_vector_bomb_that_says_one_number_many_times(tmp_path: Path) -> None:
    """Run lengths and a dictionary: 40 million numbers in a few kilobytes, and even one row is too much."""
    zeros = pa.ListArray.from_arrays(
        pa.array([0, 40_000_000], pa.int32()), pa.nulls(40_000_000, pa.float32()).fill_null(0)
    )
    pq.write_table(pa.table({"id": ["0"], "vector": zeros}), tmp_path / "c.parquet")
    assert (tmp_path / "c.parquet").stat().st_size < 20_000
    reader = open_reader(Target(uri="parquet:c.parquet", collection="c"), tmp_path)
    with pytest.raises(TargetError, match="Refused as a decompression bomb"):
        reader.describe("c")


def test_long_texts_of_a_dictionary_make_batches_short(tmp_path: Path) -> None:
    body = pa.DictionaryArray.from_arrays(
        pa.array([n % 3 for n in range(60)], pa.int32()), ["a" * 4_000_000, "b", "c"]
    )
    pq.write_table(
        pa.table({"id": [str(n) for n in range(60)], "body": body}),
        tmp_path / "a.parquet",
        compression="none",
    )
    source = open_source(Source(uri="a.parquet", id="id", text=("body",)), tmp_path)
    sizes = [batch.num_rows for batch in source.scan()]

    assert sum(sizes) == 60
    assert max(sizes) * 4_000_000 <= 64 << 20


def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    bomb(path, pa.array(["x" * 1_000_000]), 4_000)
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from vecforensics.case import Source; from vecforensics.sources import open_source\n"
        "import pyarrow.parquet, vecforensics.sources.parquet\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: list(open_source(Source(uri='bomb.parquet', id='id', text=('body',)), Path(sys.argv[1])).scan())\n"
        "except Exception as error: print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    name, grown = done.stdout.split()

    assert name == "SourceError"
    kilobytes = int(grown) // (1_024 if sys.platform == "darwin" else 1)
    assert kilobytes < 300_000  # 4 GB of text


def test_a_small_file_of_equal_rows_is_no_bomb(tmp_path: Path) -> None:
    bomb(tmp_path / "equal.parquet", pa.array(["the same text in each row"]), 20_000)
    batches = open_source(Source(uri="equal.parquet", id="id", text=("body",)), tmp_path).scan()

    assert sum(batch.num_rows for batch in batches) == 20_000


def test_an_empty_row_group_among_others(tmp_path: Path) -> None:
    table = pa.table({"id": ["1", "2"], "body": ["x", "y"]})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 1), table.slice(0, 0), table.slice(1, 1)):
            writer.write_table(part)
    batches = open_source(Source(uri="a.parquet", id="id", text=("body",)), tmp_path).scan()

    assert [one for batch in batches for one in batch.column("id").to_pylist()] == ["1", "2"]


def test_a_file_without_rows(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": pa.array([], pa.string()), "body": pa.array([], pa.string())}), tmp_path / "a.parquet"
    )
    batches = list(open_source(Source(uri="a.parquet", id="id", text=("body",)), tmp_path).scan())

    assert sum(batch.num_rows for batch in batches) == 0


def test_large_strings_and_dictionaries_read_like_strings(tmp_path: Path) -> None:
    for number, ids in enumerate(
        (
            pa.array(["a", "b"], pa.large_string()),
            pa.array(["a", "b"]).dictionary_encode(),
            pa.array(["a", "b"], pa.string_view()),
        )
    ):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"id": ids, "body": ids}), path)
        table = pa.Table.from_batches(
            open_source(Source(uri=path.name, id="id", text=("body",)), tmp_path).scan()
        )
        assert table.column("id").to_pylist() == table.column("text").to_pylist() == ["a", "b"]


@pytest.mark.parametrize("column", ["id", "metadata", "nested"])
def test_text_that_is_not_utf_8(tmp_path: Path, column: str) -> None:
    """Arrow writes and reads it without a word."""
    bad = pa.array([b"a", b"\xe9"]).view(pa.string())
    columns = {
        "id": pa.array(["a", "b"]),
        "metadata": pa.array(["{}", "{}"]),
        "vector": pa.array([[1.0], [2.0]]),
    }
    columns |= {"metadata": pa.StructArray.from_arrays([bad], ["k"])} if column == "nested" else {column: bad}
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")

    reader = open_reader(Target(uri="parquet:c.parquet", collection="c"), tmp_path)
    with pytest.raises(TargetError, match="holds text that is not UTF-8 in the rows from 0 on"):
        list(reader.scan("c"))
    if column == "id":
        with pytest.raises(SourceError, match="the column 'id' holds text that is not UTF-8"):
            list(open_source(Source(uri="c.parquet", id="id"), tmp_path).scan())
