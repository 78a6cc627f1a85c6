"""What a notebook's `run` may be: a run folder named from here or from the checkout, a case file, or neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from vecforensics import investigation
from vecforensics.case import load_case
from vecforensics.errors import InputError
from vecforensics.run_folder import RunFolder

CASE = """\
case: small
collections:
  items:
    source: {uri: items.jsonl, id: id}
    target: {uri: "parquet:target", collection: items}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one run in it, seen from a working folder elsewhere."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "case.yaml").write_text(CASE)
    RunFolder.begin(root / "case.yaml", load_case(root / "case.yaml"), root / "reports")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(investigation, "_ROOT", root)
    return root


def test_a_relative_run_below_the_checkout_is_found_from_any_working_folder(checkout: Path) -> None:
    [run] = (checkout / "reports" / "small").iterdir()
    found = investigation.investigate(str(run.relative_to(checkout)))
    assert found.run.path == run.resolve()


def test_a_run_that_is_nowhere_is_called_what_it_is_not(checkout: Path) -> None:
    with pytest.raises(InputError, match="neither a run folder nor a case file"):
        investigation.investigate("reports/small/20200101T000000Z")
    assert len(list((checkout / "reports" / "small").iterdir())) == 1
