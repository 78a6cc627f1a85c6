"""A race is explored on records that show what the code does, and a reader is told which records they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics import investigate
from vecforensics.cli import main
from vecforensics.race import Exploration

ROWS = 120
ONE_SLOT = """\
import asyncio


async def migrate(records, embed, store):
    last = {}

    async def one(record):
        last["vector"] = await embed(record)
        await asyncio.sleep(0)
        await store.upsert(record.id, last["vector"], record.metadata)

    await asyncio.gather(*(one(record) for record in records))
"""
CASE = """\
case: own
collections:
  products:
    source: {uri: products.csv, id: sku, text: [name]}
    target: {uri: "parquet:target", collection: products}
    expected: {uri: "parquet:good", collection: products}
suspect: migration.py:migrate
"""


def a_case_with_mangled_ids_and_exchanged_vectors(folder: Path) -> Path:
    """Ids 21 to 40 lost their leading noughts, which no race does; the vectors of 61 to 80 are exchanged in pairs."""
    ids = [f"{number:06d}" for number in range(1, ROWS + 1)]
    (folder / "products.csv").write_text("sku,name\n" + "".join(f"{one},product {one}\n" for one in ids))
    (folder / "migration.py").write_text(ONE_SLOT)
    (folder / "case.yaml").write_text(CASE)
    right = np.random.default_rng(5).normal(size=(ROWS, 16)).astype(np.float32)
    found = right.copy()
    found[60:80] = right[60:80].reshape(10, 2, 16)[:, ::-1].reshape(20, 16)
    under = [one.lstrip("0") if 20 <= place < 40 else one for place, one in enumerate(ids)]
    for name, keys, vectors in (("good", ids, right), ("target", under, found)):
        (folder / name).mkdir()
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 16)
        pq.write_table(pa.table({"id": keys, "vector": column}), folder / name / "products.parquet")
    return folder / "case.yaml"


def test_the_witness_speaks_of_records_that_show_the_kind_that_the_code_produces(tmp_path: Path) -> None:
    case = a_case_with_mangled_ids_and_exchanged_vectors(tmp_path)
    investigation = investigate(case, tmp_path / "reports")
    diff = investigation.diff()
    assert diff.counts["mangled_id"] == 20
    assert diff.counts["swapped"] == 20
    found = investigation.reproduce()
    assert isinstance(found, Exploration)
    assert found.witness is not None
    assert found.witness.kinds == ("swapped",)
    assert {61 <= int(record.id) <= 80 for record in found.witness.records} == {True}
    again = investigation.reproduce(replay=found.witness.replay)
    assert isinstance(again, Exploration)
    assert again.witness is not None
    assert again.witness.kinds == ("swapped",)
    assert [one.id for one in again.witness.records] == [one.id for one in found.witness.records]


def test_a_corrected_form_is_tried_with_answers_in_one_round_of_the_loop(tmp_path: Path) -> None:
    """Of the same slot for all a proof over the orders of answers finds nothing: in none of them do two arrive together."""
    case = a_case_with_mangled_ids_and_exchanged_vectors(tmp_path)
    right = investigate(case, tmp_path / "reports")
    right.diff()
    right.reproduce()
    found = right.prove()
    assert isinstance(found, Exploration)
    assert found.verdict == "proved"
    assert {item.granularity for item in found.certificate.passes} == {"quiet", "fine"}
    assert sum(item.schedules for item in found.certificate.passes) == found.certificate.schedules
    case.write_text(CASE + "corrected: migration.py:migrate\n")
    wrong = investigate(case, tmp_path / "reports")
    wrong.diff()
    wrong.reproduce()
    found = wrong.prove()
    assert isinstance(found, Exploration)
    assert found.verdict == "failing"
    assert "swapped" in found.failures


def test_of_a_file_alone_it_is_said_that_its_records_were_generated_with_parents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = a_case_with_mangled_ids_and_exchanged_vectors(tmp_path)
    assert main(["race", f"{tmp_path / 'migration.py'}:migrate", "--schedules", "60"]) == 1
    alone = capsys.readouterr().out
    assert "12 generated records" in alone
    assert "posts among them that depend on users" in alone
    assert "vecforensics race CASE.yaml" in alone
    assert main(["race", str(case), "--out", str(tmp_path / "reports")]) == 1
    assert "generated" not in capsys.readouterr().out
