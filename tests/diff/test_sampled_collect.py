"""`collect --sample N`: embedding costs money, so N records are embedded and no others, and what is said is an estimate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.__main__ import main
from vecforensics.diff.one_record import neighbours_of
from vecforensics.embedding import open_embedder
from vecforensics.errors import CaseError, EvidenceError, InputError
from vecforensics.evidence import Evidence
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation, investigate

RECORDS, SAMPLE, WRONG = 3000, 600, 300

# An embedder that writes down every text it is paid for.
EMBEDDER = """
from pathlib import Path
from vecforensics.embedding import open_embedder
def embed(texts):
    with Path(__file__).with_name("paid.txt").open("a") as bill:
        bill.write("".join(text + "\\n" for text in texts))
    return open_embedder("hashing-64", Path()).embed(texts)
"""

CASE = """case: costly
collections:
  notes:
    source: {uri: notes.jsonl, id: id, text: [text], metadata: [batch], version: version}
    target: {uri: "parquet:target.parquet", collection: notes}
    expected: {embedder: "paid.py:embed"}
  tags:
    source: {uri: tags.jsonl, id: id, text: [text]}
    target: {uri: "parquet:tags.parquet", collection: tags}
    expected: {embedder: hashing-64}
"""


@pytest.fixture
def case_file(tmp_path: Path) -> Path:
    """3,000 notes in batches of 100: batch 7 lost but for five, 300 vectors wrong, one note edited and not embedded again."""
    texts = [f"note {n} about {n % 37} things, number {n * n}" for n in range(RECORDS)]
    rows = [
        {"id": f"n{n}", "text": text, "batch": n // 100, "version": 2 if n == 1500 else 1}
        for n, text in enumerate(texts)
    ]
    rows.append({"id": "n1500", "text": "what the note said before", "batch": 15, "version": 1})
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tags.jsonl").write_text(
        "".join(json.dumps({"id": f"t{n}", "text": f"tag {n}"}) + "\n" for n in range(60))
    )
    (tmp_path / "paid.py").write_text(EMBEDDER)
    (tmp_path / "case.yaml").write_text(CASE)
    embedder = open_embedder("hashing-64", Path())
    vectors = np.asarray(embedder.embed(texts))
    vectors[2000 : 2000 + WRONG] = np.random.default_rng(1).normal(size=(WRONG, 64))
    vectors[1500] = embedder.embed(["what the note said before"])[0]
    kept = [n for n in range(RECORDS) if n // 100 != 7 or n % 20 == 3]
    write_target(
        tmp_path / "target.parquet",
        [f"n{n}" for n in kept],
        vectors[kept],
        [{"batch": n // 100} for n in kept],
    )
    tags = np.asarray(embedder.embed([f"tag {n}" for n in range(60)]))
    write_target(tmp_path / "tags.parquet", [f"t{n}" for n in range(60)], tags, [{}] * 60)
    return tmp_path / "case.yaml"


def write_target(path: Path, ids: list[str], vectors: np.ndarray, metadata: list[dict[str, int]]) -> None:
    columns = {
        "id": pa.array(ids),
        "vector": pa.array(list(vectors.astype(np.float32)), pa.list_(pa.float32())),
        "metadata": pa.array([json.dumps(one) for one in metadata]),
    }
    pq.write_table(pa.table(columns), path)


def paid(case_file: Path) -> list[str]:
    """Every text that was embedded but the first one, which is no record's and shows how long a vector is."""
    probe, *texts = case_file.with_name("paid.txt").read_text().splitlines()
    assert probe == "a text to measure"
    return texts


def test_no_more_records_are_embedded_than_were_asked_for(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    evidence = inv.collect(sample=SAMPLE)
    tables = [
        evidence.table("notes", "source", bucket) for bucket in range(evidence.collections["notes"].buckets)
    ]
    embedded = sum(table.num_rows - table["vector"].null_count for table in tables)
    assert len(set(paid(case_file))) == len(paid(case_file)) <= SAMPLE
    assert 0.8 * SAMPLE <= embedded <= SAMPLE
    assert evidence.verify() == ()
    assert evidence.collections["notes"].rows == {"source": RECORDS, "target": 2905, "earlier": 1}


def test_ids_are_exact_and_the_rate_is_an_estimate_whose_interval_holds_the_truth(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    diff = inv.diff(sample=SAMPLE)
    assert diff.counts["missing"] == 95
    assert diff.verdict is Verdict.CORRUPT
    assert diff.estimate is not None
    assert diff.estimate["low"] <= (WRONG + 1) / (2905 + 60) <= diff.estimate["high"]
    assert diff.estimate["sampled"] == sum(stratum["sampled"] for stratum in diff.estimate["strata"])
    names = [stratum["name"] for stratum in diff.estimate["strata"]]
    assert names == ["notes", "notes, in a hot spot", "tags"]
    hot = diff.estimate["strata"][1]
    assert hot["rows"] == hot["sampled"] == 5
    assert diff.headline.endswith("contents were sampled, so this is an estimate")
    assert any("only the sampled records have expected vectors" in limit for limit in diff.limits)
    assert (
        diff.collections["notes"].checked + diff.collections["tags"].checked == diff.estimate["sampled"] + 95
    )


def test_a_later_diff_of_the_run_needs_no_option_and_gives_the_same_bytes(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    inv.diff(sample=SAMPLE)
    first = inv.run.findings_json.read_bytes()
    bill = paid(case_file)
    again = Investigation(inv.case, inv.run).diff()
    assert inv.run.findings_json.read_bytes() == first
    assert again.settings["sample"] == SAMPLE
    assert paid(case_file) == bill


def test_two_runs_draw_the_same_records(case_file: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        inv = investigate(case_file, case_file.parent / name)
        digests.add(inv.collect(sample=SAMPLE).digest)
    assert len(digests) == 1


def test_an_earlier_version_of_a_drawn_record_is_embedded_too(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    diff = inv.diff(sample=RECORDS)
    assert [row["source_id"] for row in diff.of_kind("stale").to_pylist()] == ["n1500"]
    assert diff.estimate is not None
    assert not diff.estimate["estimate"]


def test_an_id_that_was_lost_is_found_by_content_within_the_same_number_of_texts(case_file: Path) -> None:
    target = case_file.with_name("target.parquet")
    table = pq.read_table(target)
    ids = ["NaN" if text == "n42" else text for text in table["id"].to_pylist()]
    pq.write_table(table.set_column(0, "id", pa.array(ids)), target)
    inv = investigate(case_file, case_file.parent / "reports")
    diff = inv.diff(sample=SAMPLE)
    mangled = diff.of_kind("mangled_id").to_pylist()
    assert [(row["source_id"], row["target_id"]) for row in mangled] == [("n42", "NaN")]
    assert diff.counts["missing"] == 95
    assert diff.counts["orphan"] == 0
    assert len(paid(case_file)) <= SAMPLE
    assert diff.estimate is not None
    assert diff.estimate["sampled"] <= SAMPLE - 96
    first = inv.run.findings_json.read_bytes()
    Investigation(inv.case, inv.run).diff()
    assert inv.run.findings_json.read_bytes() == first


@pytest.mark.parametrize("lost", ["one", "all"])
def test_a_sample_as_large_as_everything_embeds_the_missing_records_too_and_hides_nothing(
    case_file: Path, lost: str
) -> None:
    target = case_file.with_name("target.parquet")
    table = pq.read_table(target)
    ids = ["NaN" if lost == "all" or text == "n42" else text for text in table["id"].to_pylist()]
    table = table.set_column(0, "id", pa.array(ids))
    pq.write_table(table.slice(0, 1) if lost == "all" else table, target)
    whole = investigate(case_file, case_file.parent / "whole").diff()
    case_file.with_name("paid.txt").unlink()
    drawn = investigate(case_file, case_file.parent / "drawn").diff(sample=RECORDS + 60)
    assert len(paid(case_file)) == RECORDS + 1
    assert drawn.table.equals(whole.table)
    assert drawn.impact == whole.impact
    assert drawn.limits == whole.limits
    assert whole.counts["mangled_id"] == 1


def test_where_the_missing_records_were_not_embedded_the_cost_is_not_measured(case_file: Path) -> None:
    """The sample held all that stands in the target, and there was nothing to spare."""
    diff = investigate(case_file, case_file.parent / "reports").diff(sample=RECORDS)
    assert diff.impact is None
    said = "notes: what the damage costs was not measured, since the missing records were not embedded."
    assert said in diff.limits
    assert not any("not in the sample" in limit for limit in diff.limits)


def test_another_size_of_sample_than_was_embedded_is_refused(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    inv.collect(sample=SAMPLE)
    with pytest.raises(InputError, match="expected vectors for a sample of 600, not of 900"):
        inv.diff(sample=900)


def test_the_command_line_embeds_a_sample_only(case_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(case_file.parent / "reports")
    assert main(["diff", str(case_file), "--out", out, "--sample", "300"]) == 1
    said = capsys.readouterr().out
    assert "This is an estimate: " in said
    assert len(paid(case_file)) <= 300
    run = said.splitlines()[-1]
    assert Evidence.open(Path(run) / "evidence").files["sample.arrow"]


def test_the_nearest_among_a_sample_are_not_told_as_the_nearest_of_all(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    inv.collect(sample=SAMPLE)
    with pytest.raises(InputError, match="only a sample of the records has expected vectors"):
        neighbours_of(inv.run, "notes", "n17")


def test_a_failing_embedder_leaves_nothing_that_counts_as_evidence(case_file: Path) -> None:
    embedder = case_file.with_name("paid.py")
    embedder.write_text(
        EMBEDDER.replace(
            "    return", "    if len(texts) > 1: raise OSError('402 Payment Required')\n    return"
        )
    )
    inv = investigate(case_file, case_file.parent / "reports")
    with pytest.raises(InputError, match="402 Payment Required"):
        inv.collect(sample=SAMPLE)
    assert not inv.run.done("collect")
    assert sorted(path.name for path in inv.run.evidence.iterdir()) == ["case.yaml", "inputs.json"]


def test_an_embedder_that_changes_the_length_of_its_vectors_is_refused(case_file: Path) -> None:
    embedder = case_file.with_name("paid.py")
    embedder.write_text(EMBEDDER.replace("embed(texts)\n", "embed(texts)[:, : 63 + len(texts) % 2]\n"))
    inv = investigate(case_file, case_file.parent / "reports")
    with pytest.raises(CaseError, match="gave vectors of 64 components first and of 63 then"):
        inv.collect(sample=SAMPLE)
    assert not inv.run.done("collect")


def test_a_draw_that_names_records_which_are_not_there_is_damaged(case_file: Path) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    inv.collect(sample=SAMPLE)
    path = inv.run.evidence / "sample.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    beyond = pa.array(np.asarray(table["position"]) + RECORDS)
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(
            table.set_column(1, "position", beyond).replace_schema_metadata(table.schema.metadata)
        )
    with pytest.raises(EvidenceError, match="a record that the source does not have"):
        inv.diff()


def test_a_sample_needs_no_pandas(case_file: Path) -> None:
    for name in ("notes", "tags"):
        rows = case_file.with_name(f"{name}.jsonl").read_text().splitlines()
        table = pa.Table.from_pylist([json.loads(row) for row in rows])
        pq.write_table(table, case_file.with_name(f"records-of-{name}.parquet"))
    case = case_file.read_text().replace("notes.jsonl", "records-of-notes.parquet")
    case_file.write_text(case.replace("tags.jsonl", "records-of-tags.parquet"))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vecforensics.diff import diff_vectors\n"
        "from vecforensics.investigation import investigate\n"
        "inv = investigate(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "inv.collect(sample=300)\n"
        "print(diff_vectors(inv.case, inv.run).verdict.value, 'pandas' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(case_file), str(case_file.parent / "reports")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["corrupt", "False"], done.stderr
