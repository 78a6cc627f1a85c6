"""Every anti-pattern does what its entry says: the broken form fails with exactly its kinds, the fixed form never does."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from stock_asyncio import kinds_on_stock_asyncio
from stock_threads import kinds_on_real_threads

from vecforensics.findings import Kind
from vecforensics.race import Exploration, Trouble, Verdict, catalogue, explore
from vecforensics.race.catalogue import pattern as shapes
from vecforensics.race.world import FAULTS

COROUTINES = tuple(
    name for name in catalogue.NAMES if inspect.iscoroutinefunction(catalogue.entry(name).broken)
)

# Records that a witness needs: three holders of one vector and their parents, a buffer that fills twice, three ranges.
SMALLEST = {"buffer_reuse": 8, "flush_clears_arrivals": 7, "redrawn_ranges": 8}


@cache
def explored(name: str, form: str) -> Exploration:
    """The question as a person asks it, small enough for a second."""
    entry = catalogue.entry(name)
    return explore(
        entry.broken if form == "broken" else entry.fixed,
        records=8,
        schedules=400,
        survey=0 if form == "broken" else 400,
        faults=entry.pattern.faults,
        versions=entry.pattern.versions,
    )


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_broken_form_fails_with_exactly_the_kinds_it_claims(name: str) -> None:
    facts = catalogue.entry(name).pattern
    # Fourteen records: three workers and five users are what it takes for every kind to show itself.
    found = explore(
        catalogue.entry(name).broken,
        records=14 if not facts.faults else 8,
        schedules=1_500,
        survey=1_500,
        strategy=None if facts.faults else "random",
        faults=facts.faults,
        versions=facts.versions,
    )
    assert found.verdict is Verdict.FAILING
    assert set(found.failures) == {kind.value for kind in facts.causes}


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_default_exploration_finds_the_broken_form(name: str) -> None:
    found = explored(name, "broken")
    assert found.verdict is Verdict.FAILING
    assert found.witness is not None
    assert set(found.witness.kinds) <= {kind.value for kind in catalogue.entry(name).pattern.causes}
    assert len(found.witness.records) <= SMALLEST.get(name, 4)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_fixed_form_is_proved_or_sampled_clean(name: str) -> None:
    found = explored(name, "fixed")
    assert found.verdict in (Verdict.PROVED, Verdict.SAMPLED)
    assert found.failures == {}
    assert found.certificate.schedules >= (1 if found.verdict is Verdict.PROVED else 200)


@pytest.mark.parametrize("name", COROUTINES)
def test_the_witness_replays_on_stock_asyncio(name: str) -> None:
    witness = explored(name, "broken").witness
    assert witness is not None
    assert kinds_on_stock_asyncio(catalogue.entry(name).broken, witness) == set(witness.kinds)
    assert witness.leaks == ()


@pytest.mark.parametrize("name", sorted(set(catalogue.NAMES) - set(COROUTINES)))
def test_the_witness_replays_on_real_threads(name: str) -> None:
    witness = explored(name, "broken").witness
    assert witness is not None
    assert kinds_on_real_threads(catalogue.entry(name).broken, witness) == set(witness.kinds)
    assert kinds_on_real_threads(catalogue.entry(name).fixed, witness) == set()


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_witness_replays_from_its_string(name: str) -> None:
    witness = explored(name, "broken").witness
    assert witness is not None
    again = explore(catalogue.entry(name).broken, replay=witness.replay)
    assert again.verdict is Verdict.FAILING
    assert set(again.failures) == set(witness.kinds)


@pytest.mark.parametrize("name", COROUTINES)
def test_the_fixed_form_survives_the_latencies_of_the_witness(name: str) -> None:
    witness = explored(name, "broken").witness
    assert witness is not None
    assert kinds_on_stock_asyncio(catalogue.entry(name).fixed, witness) == set()


# --- the entries as texts -------------------------------------------------------------------------------------------------


def modules() -> Iterator[Path]:
    folder = Path(catalogue.__file__).parent
    yield from (file for file in folder.glob("*.py") if file.stem not in ("__init__", "pattern"))


def test_each_entry_is_one_file_and_each_file_one_entry() -> None:
    assert {file.stem for file in modules()} == set(catalogue.NAMES)
    assert len(catalogue.NAMES) == len(set(catalogue.NAMES)) == 17
    assert [entry.pattern.name for entry in catalogue.entries()] == list(catalogue.NAMES)


def test_a_name_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(KeyError, match="os"):
        catalogue.entry("os")


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_an_entry_says_what_a_report_needs(name: str) -> None:
    module = importlib.import_module(f"vecforensics.race.catalogue.{name}")
    facts: shapes.Pattern = module.PATTERN
    order = [*(kind.value for kind in Kind), *(trouble.value for trouble in Trouble)]
    assert [kind.value for kind in facts.causes] == sorted(
        (kind.value for kind in facts.causes), key=order.index
    )
    assert all(
        thread.url.startswith("https://github.com/") and thread.what_happened for thread in facts.known_from
    )
    assert facts.known_from
    assert set(facts.faults) <= set(FAULTS)
    assert "The repair" in module.__doc__
    for form in (module.broken, module.fixed):
        assert list(inspect.signature(form).parameters) == ["records", "embed", "store"]
