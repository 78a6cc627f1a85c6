"""A new user's first case: what `init` writes can be used as it stands, and what diff counts is what the report says."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.cli import main
from vecforensics.embedding.hashing import HashingEmbedder
from vecforensics.figures import figures_of
from vecforensics.investigation import investigate
from vecforensics.run_folder import RunFolder
from vecforensics.whole_way import verdict_of

CASE = """\
case: own
collections:
  items:
    source: {uri: items.jsonl, id: id, text: [body]}
    target: {uri: "parquet:target", collection: items}
    expected: {embedder: hashing-16}
"""


def migrated(folder: Path, source: list[str], target: list[str]) -> Path:
    """A case whose target holds the right vector of each of `target`, which need not be in the source."""
    (folder / "items.jsonl").write_text(
        "".join(json.dumps({"id": one, "body": f"text {one}"}) + "\n" for one in source)
    )
    (folder / "target").mkdir()
    vectors = HashingEmbedder(16).embed([f"text {one}" for one in target])
    column = pa.array([row.tolist() for row in vectors], pa.list_(pa.float32(), 16))
    pq.write_table(pa.table({"id": target, "vector": column}), folder / "target" / "items.parquet")
    (folder / "case.yaml").write_text(CASE)
    return folder / "case.yaml"


def begun(case: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> RunFolder:
    main([verb, str(case), "--out", str(case.parent / "reports")])
    return RunFolder.open(capsys.readouterr().out.splitlines()[-1])


def test_init_means_the_target_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(tmp_path, ["1", "2", "3"], ["1", "2", "3"])
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine", "--source", "items.jsonl", "--target", "parquet:target"]) == 0
    written = yaml.safe_load((tmp_path / "mine" / "case.yaml").read_text())
    assert written["collections"]["items"]["target"]["uri"] == f"parquet:{tmp_path / 'target'}"
    assert main(["collect", "mine/case.yaml"]) == 0, capsys.readouterr().err


def test_a_target_that_is_not_there_yet_is_written_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine", "--target", "lancedb:later"]) == 0
    written = yaml.safe_load((tmp_path / "mine" / "case.yaml").read_text())
    assert written["collections"]["items"]["target"]["uri"] == "lancedb:later"


def test_init_names_no_model_as_if_it_were_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(tmp_path, ["1", "2", "3"], ["1", "2"])
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine", "--source", "items.jsonl", "--target", "parquet:target"]) == 0
    text = (tmp_path / "mine" / "case.yaml").read_text()
    assert "expected" not in yaml.safe_load(text)["collections"]["items"]
    assert main(["diff", "mine/case.yaml"]) == 1, "ids need no model"
    run = capsys.readouterr().out.splitlines()[-1]
    assert main(["migrate", run, "--repair"]) == 2
    assert "nobody knows the right vectors of 'items'" in capsys.readouterr().err
    for at, form in enumerate(("embedder", "column", "uri", "embedder")):
        lines = [line for line in text.splitlines() if line.strip().startswith("# expected:")]
        filled = yaml.safe_load(text.replace(lines[at], lines[at].replace("# ", "", 1)))
        assert form in filled["collections"]["items"]["expected"]


def test_init_takes_vectors_of_the_source_for_the_expected_ones_and_calls_it_a_guess(tmp_path: Path) -> None:
    source = tmp_path / "items.jsonl"
    source.write_text(json.dumps({"id": "1", "body": "text", "my_embedding": [0.5, 0.25]}) + "\n")
    assert main(["init", str(tmp_path / "mine"), "--source", str(source), "--target", "parquet:target"]) == 0
    text = (tmp_path / "mine" / "case.yaml").read_text()
    assert yaml.safe_load(text)["collections"]["items"]["expected"] == {"column": "my_embedding"}
    assert "a guess: that column of the source holds vectors" in text


def test_a_row_that_belongs_to_no_record_is_not_counted_as_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(migrated(tmp_path, ["a"], ["quite another", "and a third"]), "diff", capsys)
    assert main(["report", str(run.path)]) == 1
    assert "1 of 1 record (100 %)" in capsys.readouterr().out.replace("100.0 %", "100 %")
    assert "200" not in run.summary_md.read_text().split("Where it clusters")[0].replace(run.path.name, "")


def test_orphans_alone_leave_every_record_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begun(migrated(tmp_path, ["a", "b"], ["a", "b", "quite another"]), "diff", capsys)
    found = json.loads(run.findings_json.read_text())
    assert (found["rows_corrupt"], found["records_corrupt"]) == (1, 0)
    assert main(["report", str(run.path)]) == 1
    assert "No source record is damaged, but the target holds what it should not: 1 orphan" in (
        capsys.readouterr().out
    )


def test_damage_told_along_another_line_than_the_source_is_said_in_each_figure_with_its_own_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two tables lose what was written last: one sentence about the time says both, and neither figure may deny a pattern."""
    case = migrated(tmp_path, ["1"], ["1"])
    text = "case: own\ncollections:\n"
    for name, rows in (("users", 300), ("posts", 700)):
        ids = [f"{name}{n}" for n in range(rows)]
        stamps = [f"2026-01-01T{n * 24 // rows:02d}:{n * 7 % 60:02d}:00Z" for n in range(rows)]
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(
                json.dumps({"id": one, "body": f"text {one}", "created_at": stamp}) + "\n"
                for one, stamp in zip(ids, sorted(stamps), strict=True)
            )
        )
        kept = ids[: rows * 3 // 4]
        vectors = HashingEmbedder(16).embed([f"text {one}" for one in kept])
        table = {
            "id": kept,
            "vector": pa.array([row.tolist() for row in vectors], pa.list_(pa.float32(), 16)),
            "metadata": [json.dumps({"created_at": stamp}) for stamp in sorted(stamps)[: len(kept)]],
        }
        pq.write_table(pa.table(table), tmp_path / "target" / f"{name}.parquet")
        text += (
            f"  {name}:\n"
            f"    source: {{uri: {name}.jsonl, id: id, text: [body], metadata: [created_at]}}\n"
            f'    target: {{uri: "parquet:target", collection: {name}}}\n'
            "    expected: {embedder: hashing-16}\n"
        )
    case.write_text(text)
    run = begun(case, "diff", capsys)
    assert json.loads(run.findings_json.read_text())["hot_spots"][0]["collection"] is None
    said = {name: one["alt"] for name, one in figures_of(run, "diff").captions.items() if "along" in name}
    for name, lost, rows in (("users", 75, 300), ("posts", 175, 700)):
        alt = said.pop(f"along-source-{name}.png")
        assert f"{name}: {lost} of {rows} records are damaged. missing: rows with created_at from " in alt
        assert f" hold all {lost} missing rows of {name} (25 % of its rows)" in alt
    assert not said


def test_a_plan_cuts_ids_that_would_fill_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(migrated(tmp_path, ["a"], ["a", "G" * 10_000]), "diff", capsys)
    assert main(["migrate", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert "delete: GGG" in shown
    assert max(map(len, shown.splitlines())) < 300


@pytest.mark.parametrize("out", ["a file", "a file/below"])
def test_a_place_where_no_run_can_be_kept(
    tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = migrated(tmp_path, ["1"], ["1"])
    (tmp_path / "a file").write_text("")
    assert main(["collect", str(case), "--out", str(tmp_path / out)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no run can be kept there (Not a directory)" in err
    assert "--out" in err


def test_init_writes_no_password_into_a_case_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "mine"), "--target", "qdrant:http://u:hunter2@host"]) == 2
    err = capsys.readouterr().err
    assert "user and password do not belong into a case file" in err
    assert "hunter2" not in err
    assert not (tmp_path / "mine" / "case.yaml").exists()


def test_what_investigate_says_of_a_sample_is_a_least_number_and_an_estimate(tmp_path: Path) -> None:
    ids = [f"r{n}" for n in range(200)]
    case = migrated(tmp_path, ids, [*ids[:150], *(f"another {n}" for n in range(20))])
    inv = investigate(case, tmp_path / "reports")
    inv.diff(sample=60)
    inv.report()
    said = str(verdict_of(inv))
    sentence = json.loads(inv.run.findings_json.read_text())["estimate"]["sentence"]
    assert said.startswith("own: corrupt, at least 50 of 200 records")
    assert f"\nThis is {sentence}\n" in said
    assert f"This is {sentence}" in str(inv.diff(sample=60))


def test_what_investigate_says_of_everything_is_no_estimate(tmp_path: Path) -> None:
    inv = investigate(migrated(tmp_path, ["a", "b"], ["a"]), tmp_path / "reports")
    inv.diff()
    assert str(verdict_of(inv)).splitlines()[0] == "own: corrupt, 1 of 2 records"
    assert len(str(verdict_of(inv)).splitlines()) == 2
