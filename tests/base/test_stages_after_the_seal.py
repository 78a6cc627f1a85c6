"""After the report has sealed a run people go on: a stage is run again, with the same result or another; or somebody tampers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bs4 import BeautifulSoup

from vecforensics.cli import main
from vecforensics.investigation import Investigation, investigate
from vecforensics.race import Rehearsal
from vecforensics.run_folder import write_json

SUSPECT = """\
import asyncio

async def migrate(records, embed, store):
    async def one(record):
        await store.upsert(record.id, await embed(record), record.metadata)
    tasks = [asyncio.ensure_future(one(record)) for record in records]
    await asyncio.wait(tasks[:1])
"""


@pytest.fixture
def case_file(tmp_path: Path) -> Path:
    """Twenty records with the vectors that they should have; one is wrong in the target, and one is missing."""
    vectors = np.random.default_rng(3).normal(size=(20, 8)).astype(np.float32)
    rows = [{"id": f"r{n}", "text": f"text {n}", "embedding": v.tolist()} for n, v in enumerate(vectors)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    target = [{"id": row["id"], "vector": row["embedding"]} for row in rows[1:]]
    target[3]["vector"] = [9.0, *[0.0] * 7]
    (tmp_path / "target").mkdir()
    pq.write_table(pa.Table.from_pylist(target), tmp_path / "target" / "items.parquet")
    (tmp_path / "suspect.py").write_text(SUSPECT)
    (tmp_path / "case.yaml").write_text(
        "case: sealed\n"
        "suspect: suspect.py:migrate\n"
        "rehearsal: {runs: 5, records: 20}\n"
        "collections:\n"
        "  items:\n"
        "    source: {uri: items.jsonl, id: id, text: [text]}\n"
        '    target: {uri: "parquet:target", collection: items}\n'
        "    expected: {column: embedding}\n"
    )
    return tmp_path / "case.yaml"


@pytest.fixture
def sealed(case_file: Path) -> Investigation:
    """A run with a diff, a plan and the report."""
    inv = investigate(case_file, case_file.parent / "reports")
    inv.diff()
    inv.migrate("plan")
    inv.report()
    return inv


@pytest.fixture
def explored(sealed: Investigation) -> Investigation:
    """The same with the migration code explored and rehearsed, sealed again."""
    sealed.reproduce(records=4, schedules=50)
    sealed.prove(records=2, schedules=50)
    sealed.rehearse()
    sealed.report()
    return sealed


def bytes_of(inv: Investigation) -> dict[str, bytes]:
    files = (path for path in inv.run.path.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(inv.run.path).as_posix(): path.read_bytes() for path in files}


def verified(inv: Investigation, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["verify", str(inv.run.path)])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"), [(("diff",), "diff ran"), (("migrate", "--plan"), "migrate (plan) ran")]
)
def test_a_stage_that_finds_the_same_again_leaves_the_seal_whole_and_is_named(
    sealed: Investigation, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([words[0], str(sealed.run.path), *words[1:]])
    code, out = verified(sealed, capsys)
    assert code == 0, out
    assert re.match(r"intact: all \d+ sealed files are what they were, whatever ran since\n", out)
    assert f"since the seal: {said} at " in out


def test_a_stage_that_finds_something_else_makes_the_seal_out_of_date_and_not_broken(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["migrate", str(sealed.run.path), "--repair"])
    code, out = verified(sealed, capsys)
    assert code == 3, out
    assert out.startswith("out of date: ")
    assert "vecforensics report" in out.splitlines()[0]
    assert "written since: migration/ledger.sqlite, by migrate at 20" in out
    main(["report", str(sealed.run.path)])
    assert verified(sealed, capsys)[0] == 0


def test_what_nobody_of_the_run_wrote_breaks_the_seal_whatever_ran_since(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    page = sealed.run.report_html
    page.write_bytes(page.read_bytes().replace(b"corrupt", b"spotless"))
    main(["diff", str(sealed.run.path)])
    code, out = verified(sealed, capsys)
    assert code == 1
    assert out.startswith("NOT intact: 1 difference to the seal over ")
    assert "changed: incident-report.html" in out


def test_a_file_that_was_changed_again_after_our_stage_wrote_it_breaks_the_seal(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["migrate", str(sealed.run.path), "--repair"])
    verification = json.loads(sealed.run.verification_json.read_text())
    write_json(sealed.run.verification_json, {**verification, "verdict": "unknown"})
    code, out = verified(sealed, capsys)
    assert code == 1
    assert "changed: migration/verification.json" in out or "extra:   migration/verification.json" in out


def test_evidence_is_never_excused_by_the_journal(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    from vecforensics.custody import digest_of

    frozen = next(sealed.run.evidence.rglob("target*.arrow"))
    frozen.write_bytes(frozen.read_bytes() + b" ")
    name = frozen.relative_to(sealed.run.path).as_posix()
    forged = {name: {"sha256": digest_of(frozen)[0], "by": "collect", "at": "2026-11-29T10:00:00Z"}}
    sealed.run.note(since_seal=forged)
    code, out = verified(sealed, capsys)
    assert code == 1
    assert f"changed: {name}" in out


@pytest.mark.parametrize("tampered", ["ended", "removed", "head"])
def test_a_journal_that_was_rewritten_breaks_the_seal(
    sealed: Investigation, tampered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = sealed.run.journal()
    if tampered == "ended":
        journal["stages"]["diff"]["ended"] = "2026-11-24T00:00:00.000Z"
    elif tampered == "removed":
        del journal["stages"]["migrate"]
    else:
        journal["case_folder"] = "/elsewhere"
    write_json(sealed.run.run_json, journal)
    assert "changed: run.json" in verified(sealed, capsys)[1]


def test_the_former_entry_of_a_stage_that_ran_again_cannot_be_dropped(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["diff", str(sealed.run.path)])
    journal = sealed.run.journal()
    assert [entry["stage"] for entry in journal["earlier"]] == ["diff"]
    del journal["earlier"]
    write_json(sealed.run.run_json, journal)
    code, out = verified(sealed, capsys)
    assert code == 1
    assert "changed: run.json" in out


@pytest.mark.parametrize("junk", [7, [1, "x"], {"diff": 3, "migrate": {"parameters": []}}])
def test_a_journal_full_of_junk_is_no_crash(
    sealed: Investigation, junk: object, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(
        sealed.run.run_json, {**sealed.run.journal(), "earlier": junk, "stages": junk, "since_seal": junk}
    )
    assert verified(sealed, capsys)[0] == 1


def test_sealing_anew_keeps_the_digest_of_the_seal_before_and_what_was_not_accounted_for(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sealed.custody().manifest_sha256
    sealed.run.findings_json.write_bytes(
        sealed.run.findings_json.read_bytes().replace(b'"corrupt"', b'"clean"')
    )
    main(["report", str(sealed.run.path)])
    code, out = verified(sealed, capsys)
    assert code == 0  # it is what was sealed; and the line below goes with it for ever
    assert "not accounted for when the seal of 20" in out
    assert "was replaced: findings.json" in out
    assert f"the seal before it: {first}" in out


def test_a_stage_that_ran_in_between_is_accounted_for_when_the_run_is_sealed_anew(
    sealed: Investigation, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sealed.custody().manifest_sha256
    main(["migrate", str(sealed.run.path), "--repair"])
    main(["report", str(sealed.run.path)])
    out = verified(sealed, capsys)[1]
    assert "not accounted for" not in out
    assert f"the seal before it: {first}" in out
    assert "since_seal" not in sealed.run.journal()


def test_the_report_of_a_run_in_which_nothing_was_written_stands_with_its_seal(sealed: Investigation) -> None:
    before = bytes_of(sealed)
    again = sealed.report()
    assert again.manifest_sha256 == sealed.custody().manifest_sha256
    assert bytes_of(sealed) == before
    sealed.run.notes_md.write_text("A thought.")
    sealed.report()
    assert "A thought." in sealed.run.report_md.read_text()


def test_a_sampled_diff_and_a_plan_of_a_finished_run_are_repeated_as_they_were(
    case_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inv = investigate(case_file, case_file.parent / "reports")
    inv.diff(sample=10)
    inv.migrate("plan", strategy="serial")
    inv.report()
    before = bytes_of(inv)
    inv.diff()
    inv.migrate("plan")
    assert {name for name, data in bytes_of(inv).items() if data != before[name]} == {"run.json"}
    assert verified(inv, capsys)[0] == 0
    inv.diff(sample=None)
    assert verified(inv, capsys)[0] == 3


def test_a_longer_rehearsal_is_never_replaced_by_a_shorter_one(explored: Investigation) -> None:
    before = explored.run.rehearsal_json.read_bytes()
    shown = explored.rehearse(runs=3)
    assert isinstance(shown, Rehearsal)
    assert len(shown.before) == len(shown.after) == 5
    assert "5 runs each" in str(shown)
    assert explored.run.rehearsal_json.read_bytes() == before
    longer = explored.rehearse(runs=6)
    assert isinstance(longer, Rehearsal)
    assert len(longer.before) == 6


def test_a_rehearsal_is_read_back_as_it_was_written(explored: Investigation) -> None:
    text = explored.run.rehearsal_json.read_text()
    assert Rehearsal.from_json(text).to_json() == text
    with pytest.raises(ValueError, match="no rehearsal"):
        Rehearsal.from_json('{"runs": [{"side": "before"}]}')


def test_in_a_finished_run_what_was_explored_is_shown_and_settings_explore_anew(
    explored: Investigation,
) -> None:
    before = bytes_of(explored)
    assert explored.reproduce().to_json().encode() == before["race/witness.json"]
    assert explored.prove().to_json().encode() == before["race/corrected.json"]
    assert bytes_of(explored) == before
    explored.reproduce(records=6, schedules=60)
    assert explored.run.witness_json.read_bytes() != before["race/witness.json"]


def test_the_time_line_has_each_stage_when_it_was_done_first_and_says_when_it_was_repeated(
    sealed: Investigation,
) -> None:
    def moments() -> dict[str, str]:
        soup = BeautifulSoup(sealed.run.report_html.read_text(encoding="utf-8"), "html.parser")
        found = {}
        for one in soup.select("#timeline li, #timeline tr"):
            words = one.get_text(" ", strip=True)
            for act in ("vectors compared", "corrected migration planned", "corrected migration"):
                if (
                    act in words
                    and act not in found
                    and not (act == "corrected migration" and "planned" in words)
                ):
                    found[act] = words
        return found

    first = moments()
    time = sealed.run.journal()["stages"]["diff"]["ended"].removesuffix("Z").replace("T", " ")
    assert time in first["vectors compared"]
    sealed.migrate("repair")
    sealed.diff()
    sealed.diff()
    sealed.report()
    later = moments()
    assert later["vectors compared"].startswith(time) or time in later["vectors compared"].split("again")[0]
    assert "again 2 times, the last at 20" in later["vectors compared"]
    assert later["corrected migration planned"] == first["corrected migration planned"]
    assert "corrected migration" in later
