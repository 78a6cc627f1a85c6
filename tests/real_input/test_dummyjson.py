"""208 users, 251 posts, 340 comments, moved into LanceDB by the anti-pattern, investigated, repaired, verified clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from real_cases import PRIVATE, begun, dummyjson_case, explored, migrate_badly, needs

from vecforensics.case import Target
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.stores import open_reader


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> tuple[Investigation, Any, Any]:
    """The investigation after its repair, what the migration had made, and what the diff had found."""
    case_file = dummyjson_case(tmp_path_factory.mktemp("dummyjson"))
    played = migrate_badly(case_file, seed=11)
    inv = begun(case_file)
    found = inv.diff()
    explored(inv)
    inv.prove()
    inv.rehearse()
    inv.migrate("plan")
    inv.migrate("repair")
    inv.report()
    return inv, played, found


def test_the_diff_finds_exactly_the_records_that_the_migration_got_wrong(repaired: Any) -> None:
    _, played, found = repaired
    assert found.verdict is Verdict.CORRUPT
    assert found.rows_checked == 208 + 251 + 340
    wrong = {
        (row["collection"], row["source_id"])
        for row in found.table.to_pylist()
        if row["severity"] == "corrupt"
    }
    assert len({key for key in wrong if key[1] is not None}) == played.wrong
    assert found.counts["missing"] > 0
    assert found.counts["mangled_id"] > 0


def test_the_witness_speaks_of_ids_of_the_case(repaired: Any) -> None:
    inv, _, _ = repaired
    witness = json.loads(inv.run.witness_json.read_text())["witness"]
    for record in witness["records"]:
        collection, _, identity = record["id"].partition("/")
        assert collection in inv.case.collections
        assert identity.isdigit()


def test_the_corrected_migration_is_proved_at_this_size(repaired: Any) -> None:
    inv, _, _ = repaired
    assert json.loads(inv.run.corrected_json.read_text())["verdict"] == "proved"


def test_the_target_is_clean_afterwards_by_the_verification_and_by_a_diff_of_its_own(repaired: Any) -> None:
    inv, _, _ = repaired
    assert json.loads(inv.run.verification_json.read_text())["verdict"] == "clean"
    again = begun(inv.case.folder / "case.yaml")
    assert again.diff().verdict is Verdict.CLEAN
    reader = open_reader(Target(uri="lancedb:target", collection="posts"), inv.case.folder)
    assert reader.describe("posts").rows == 251


def test_nothing_private_stands_in_any_output(repaired: Any) -> None:
    inv, _, _ = repaired
    users = json.loads(needs("dummyjson_users.json").read_text())
    secrets = {str(user[name]) for user in users for name in ("password", "ssn", "email", "phone")}
    secrets |= {user["bank"]["cardNumber"] for user in users} | {user["bank"]["iban"] for user in users}
    for file in inv.run.path.rglob("*"):
        if file.is_file():
            text = file.read_bytes().decode("utf-8", "replace")
            assert not [one for one in secrets if one in text], file
            if file.suffix in (".json", ".jsonl", ".html", ".md"):
                assert not [name for name in PRIVATE if f'"{name}"' in text], file


def test_the_same_evidence_gives_the_same_findings_to_the_byte(repaired: Any, tmp_path: Path) -> None:
    inv, _, _ = repaired
    before = inv.run.findings_json.read_bytes()
    inv.diff()
    assert inv.run.findings_json.read_bytes() == before
