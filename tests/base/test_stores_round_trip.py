"""What goes into a store comes out of it, row by row and bit by bit; what strangers put there comes out as one shape."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vecforensics.case import Target
from vecforensics.errors import TargetError
from vecforensics.stores import VectorReader, VectorWriter, open_reader, open_writer

KINDS = ["lancedb:store", "parquet:store"]
DIMENSION = 4
HOSTILE = [
    "",
    " ",
    "'",
    "''",
    "a'b",
    'a"b',
    "`",
    "a`b",
    "\\",
    "a\\'b",
    "%",
    "_",
    "a\nb",
    "é",
    "e\u0301",
    "日本",
    "🙂",
    "null",
    "NaN",
]
HOSTILE += ["1", "01", "1.0", "') OR 1=1 --", "id", "\u202e", "\t", "x" * 300]
ids_of_strangers = st.lists(
    st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
    min_size=1,
    max_size=6,
    unique=True,
)


def rows(ids: Sequence[str], vectors: np.ndarray[Any, Any] | None = None, metadata: str = "{}") -> pa.Table:
    """A batch for upsert."""
    if vectors is None:
        vectors = np.arange(len(ids) * DIMENSION, dtype=np.float32).reshape(len(ids), DIMENSION)
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.astype(np.float32).reshape(-1)), DIMENSION
            ),
            "metadata": pa.array([metadata] * len(ids), pa.string()),
        }
    )


def opened(uri: str, folder: Path) -> tuple[VectorWriter, VectorReader]:
    target = Target(uri=uri, collection="c")
    writer = open_writer(target, folder)
    writer.create("c", DIMENSION)
    return writer, open_reader(target, folder)


def scanned(reader: VectorReader, batch_rows: int = 3) -> pa.Table:
    return pa.Table.from_batches(reader.scan("c", batch_rows))


def by_id(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in table.to_pylist()}


@pytest.mark.parametrize("uri", KINDS)
@given(ids=ids_of_strangers)
@example(ids=HOSTILE)
@settings(max_examples=12, deadline=None)
def test_hostile_ids_are_written_found_replaced_and_deleted(uri: str, ids: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer, reader = opened(uri, Path(folder))
        writer.upsert("c", rows([*ids, "bystander"]))
        assert sorted(scanned(reader).column("id").to_pylist()) == sorted([*ids, "bystander"])

        writer.upsert("c", rows(ids, np.full((len(ids), DIMENSION), 7.0)))
        found = reader.fetch("c", [*ids, "never written"])
        assert {row["id"]: row["vector"] for row in found.to_pylist()} == dict.fromkeys(
            ids, [7.0] * DIMENSION
        )
        assert reader.describe("c").rows == len(ids) + 1

        writer.delete("c", [*ids, "never written"])
        assert scanned(reader).column("id").to_pylist() == ["bystander"]


@pytest.mark.parametrize("uri", KINDS)
def test_vectors_keep_every_bit(tmp_path: Path, uri: str) -> None:
    writer, reader = opened(uri, tmp_path)
    bits = np.random.default_rng(7).integers(0, 0x7F00_0000, (200, DIMENSION), dtype=np.uint32)
    vectors = bits.view(np.float32)
    vectors[0] = [0.0, -0.0, np.finfo(np.float32).tiny, np.finfo(np.float32).smallest_subnormal]
    writer.upsert("c", rows([f"{n:03}" for n in range(200)], vectors))
    table = scanned(reader).sort_by("id")
    came = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("vector").chunks])

    assert np.array_equal(came.view(np.uint32), vectors.reshape(-1).view(np.uint32))
    assert table.column("ragged").null_count == 200


@pytest.mark.parametrize("uri", KINDS)
def test_batches_are_no_larger_than_asked_for(tmp_path: Path, uri: str) -> None:
    writer, reader = opened(uri, tmp_path)
    writer.upsert("c", rows([str(n) for n in range(100)]))
    sizes = [batch.num_rows for batch in reader.scan("c", 30)]

    assert sum(sizes) == 100
    assert max(sizes) <= 30


@pytest.mark.parametrize("uri", KINDS)
def test_metadata_comes_back_canonical(tmp_path: Path, uri: str) -> None:
    writer, reader = opened(uri, tmp_path)
    writer.upsert("c", rows(["a"], metadata='{"z": 1, "a": "é", "n": null, "f": 1.0}'))

    assert scanned(reader).column("metadata").to_pylist() == ['{"a":"é","f":1.0,"n":null,"z":1}']


@pytest.mark.parametrize("uri", KINDS)
def test_an_empty_collection_is_no_error(tmp_path: Path, uri: str) -> None:
    _, reader = opened(uri, tmp_path)

    assert list(reader.scan("c")) == []
    assert reader.describe("c").rows == 0
    assert reader.fetch("c", ["x"]).num_rows == 0
    assert reader.fetch("c", []).num_rows == 0


@pytest.mark.parametrize("uri", KINDS)
def test_a_preimage_puts_rows_back_as_they_stood(tmp_path: Path, uri: str) -> None:
    writer, reader = opened(uri, tmp_path)
    writer.upsert("c", rows(["a", "b", "it's"]))
    before = by_id(scanned(reader))
    saved = writer.preimage("c", ["a", "it's", "new"])
    writer.upsert("c", rows(["a", "it's", "new"], np.zeros((3, DIMENSION))))
    writer.restore("c", ["a", "it's", "new"], saved)

    assert by_id(scanned(reader)) == before


@pytest.mark.parametrize("uri", KINDS)
def test_a_collection_that_is_not_there(tmp_path: Path, uri: str) -> None:
    _, reader = opened(uri, tmp_path)
    with pytest.raises(TargetError, match=r"there is no .*'nope'.*c$"):
        reader.describe("nope")


@pytest.mark.parametrize("uri", ["lancedb:nowhere", "parquet:nowhere", "parquet:nowhere/x.parquet"])
def test_a_target_that_is_not_there(tmp_path: Path, uri: str) -> None:
    with pytest.raises(TargetError, match=r"there is no such .*Check target\.uri"):
        open_reader(Target(uri=uri, collection="c"), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["redis:x", "lancedb", "LANCEDB:x", "http://h/x", ":x", " lancedb:x", "s3:x"])
def test_a_uri_scheme_that_is_not_known(tmp_path: Path, uri: str) -> None:
    for open_ in (open_reader, open_writer):
        with pytest.raises(TargetError, match=r"unknown URI scheme .*Known: .*lancedb:PATH"):
            open_(Target(uri=uri, collection="c"), tmp_path)


class TestParquetOfStrangers:
    """Dumps that other tools wrote."""

    def read(self, tmp_path: Path, table: pa.Table, **columns: str) -> pa.Table:
        pq.write_table(table, tmp_path / "c.parquet")
        return scanned(
            open_reader(Target(uri="parquet:c.parquet", collection="c", **columns), tmp_path), 8_192
        )

    def test_rows_of_another_length_travel_beside(self, tmp_path: Path) -> None:
        lists = [[1.0, 2.0], [3.0, 4.0], [5.0], [], [6.0, 7.0, 8.0], None]
        table = self.read(
            tmp_path, pa.table({"id": list("abcdef"), "vector": pa.array(lists, pa.list_(pa.float32()))})
        )

        assert table.column("vector").to_pylist() == [[1.0, 2.0], [3.0, 4.0], None, None, None, None]
        assert table.column("ragged").to_pylist() == [None, None, [5.0], [], [6.0, 7.0, 8.0], []]

    def test_a_null_in_a_fixed_size_column_is_a_row_without_numbers(self, tmp_path: Path) -> None:
        column = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
        table = self.read(tmp_path, pa.table({"id": list("abc"), "vector": column}))

        assert table.column("vector").to_pylist() == [[1.0, 2.0], None, [3.0, 4.0]]
        assert table.column("ragged").to_pylist() == [None, [], None]

    @pytest.mark.parametrize("kind", [pa.float16(), pa.float64(), pa.int8(), pa.int32()])
    @pytest.mark.parametrize("fixed", [True, False])
    def test_other_widths_become_float32(self, tmp_path: Path, kind: pa.DataType, fixed: bool) -> None:
        numbers = np.array([[1, -2], [100, 0]], kind.to_pandas_dtype())
        shape = pa.list_(kind, 2) if fixed else pa.list_(kind)
        table = self.read(tmp_path, pa.table({"id": ["a", "b"], "vector": pa.array(numbers.tolist(), shape)}))

        assert table.schema.field("vector").type == pa.list_(pa.float32(), 2)
        assert table.column("vector").to_pylist() == [[1.0, -2.0], [100.0, 0.0]]

    def test_nan_and_infinity_stay(self, tmp_path: Path) -> None:
        vector = pa.array([[float("nan"), float("inf")]], pa.list_(pa.float32(), 2))
        table = self.read(tmp_path, pa.table({"id": ["a"], "vector": vector}))

        assert str(table.column("vector").to_pylist()) == "[[nan, inf]]"

    def test_metadata_as_a_struct(self, tmp_path: Path) -> None:
        metadata = pa.array([{"b": 1, "a": "x"}, None])
        table = self.read(
            tmp_path, pa.table({"id": ["a", "b"], "vector": [[1.0], [2.0]], "metadata": metadata})
        )

        assert table.column("metadata").to_pylist() == ['{"a":"x","b":1}', None]

    def test_metadata_spread_over_columns(self, tmp_path: Path) -> None:
        table = self.read(
            tmp_path,
            pa.table({"key": ["a"], "emb": [[1.0]], "plan": ["pro"], "seats": [3], "_distance": [0.5]}),
            id="key",
            vector="emb",
        )

        assert table.column("metadata").to_pylist() == ['{"plan":"pro","seats":3}']

    def test_half_a_surrogate_pair_in_one_row_of_metadata(self, tmp_path: Path) -> None:
        texts = ['{"k": "\\ud800", "\\udfff": 1}', '{"k": "\\ud83d\\ude42"}', '{"k": "é"}']
        table = self.read(tmp_path, pa.table({"id": list("abc"), "vector": [[1.0]] * 3, "metadata": texts}))

        kept = table.column("metadata").to_pylist()
        assert kept == ['{"k":"\\\\ud800","\\\\udfff":1}', '{"k":"🙂"}', '{"k":"é"}']
        assert json.loads(kept[0]) == {"k": "\\ud800", "\\udfff": 1}

    def test_metadata_that_is_no_json_is_kept_for_the_diff_to_judge(self, tmp_path: Path) -> None:
        texts = ["{broken", "[object Object]", "NaN", '{"a": NaN}', None, "{}"]
        table = self.read(
            tmp_path, pa.table({"id": list("abcdef"), "vector": [[1.0]] * 6, "metadata": texts})
        )

        kept = table.column("metadata").to_pylist()
        assert kept == ['"{broken"', '"[object Object]"', "NaN", '{"a":NaN}', None, "{}"]

    def test_whole_number_ids_become_text(self, tmp_path: Path) -> None:
        table = self.read(tmp_path, pa.table({"id": [2**53 + 1, -1], "vector": [[1.0], [2.0]]}))

        assert table.column("id").to_pylist() == ["9007199254740993", "-1"]

    def test_dictionary_encoded_ids(self, tmp_path: Path) -> None:
        ids = pa.array(["a", "b", "a"]).dictionary_encode()
        table = self.read(tmp_path, pa.table({"id": ids, "vector": [[1.0]] * 3}))

        assert table.column("id").to_pylist() == ["a", "b", "a"]

    @pytest.mark.parametrize(
        ("table", "words"),
        [
            (pa.table({"key": ["a"], "vector": [[1.0]]}), "has no column 'id'"),
            (pa.table({"id": ["a"], "emb": [[1.0]]}), "has no column 'vector'"),
            (pa.table({"id": ["a"], "vector": ["[1, 2]"]}), "no vectors"),
            (pa.table({"id": ["a"], "vector": [[["x"]]]}), "no vectors"),
        ],
    )
    def test_columns_that_cannot_be_meant(self, tmp_path: Path, table: pa.Table, words: str) -> None:
        with pytest.raises(TargetError, match=words):
            self.read(tmp_path, table)


def test_a_lance_table_with_spread_metadata_two_rows_of_one_id_and_its_own_names(tmp_path: Path) -> None:
    import lancedb

    table = pa.table(
        {
            "key": ["a", "a", "b"],
            "emb": pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float32(), 2)),
            "plan": ["free", "pro", None],
        }
    )
    lancedb.connect(str(tmp_path / "store")).create_table("c", table)
    reader = open_reader(Target(uri="lancedb:store", collection="c", id="key", vector="emb"), tmp_path)
    came = scanned(reader).sort_by([("id", "ascending"), ("metadata", "ascending")])

    assert came.column("id").to_pylist() == ["a", "a", "b"]
    assert came.column("metadata").to_pylist() == ['{"plan":"free"}', '{"plan":"pro"}', '{"plan":null}']
    assert came.column("vector").to_pylist() == [[1.0, 2.0], [3.0, 4.0], None]
    assert came.column("ragged").to_pylist() == [None, None, []]
    assert reader.fetch("c", ["a"]).num_rows == 2


def test_a_lance_scan_is_one_snapshot_while_somebody_writes(tmp_path: Path) -> None:
    writer, reader = opened("lancedb:store", tmp_path)
    writer.upsert("c", rows([str(n) for n in range(10)]))
    scan = reader.scan("c", 1)
    first = next(scan)
    writer.delete("c", [str(n) for n in range(10)])

    assert first.num_rows + sum(batch.num_rows for batch in scan) == 10
    assert list(reader.scan("c")) == []
