"""Numbers that are none, zeros with a sign, and numbers of a narrower format: what is the same, and what is another."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metadata_rules import ABSENT, CSV, HALF, PLAIN, SINGLE, STAMP, both, drift

from vecforensics.metadata_rule import MetadataRule

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("rule", [PLAIN, SINGLE, STAMP])
@pytest.mark.parametrize(
    ("expected", "actual", "types"),
    [
        *[(NAN, "NaN", "NaN→text"), (NAN, "nan", "NaN→text"), (NAN, None, "NaN→null"), (NAN, ABSENT, "NaN→absent")],
        *[(INFINITY, None, "Infinity→null"), (INFINITY, "inf", "Infinity→text"), (-INFINITY, None, "-Infinity→null")],
        *[("NaN", NAN, "text→NaN"), (None, NAN, "null→NaN"), ([NAN], ["NaN"], "list of NaN→text")],
    ],
)  # fmt: skip
def test_a_number_that_is_none_and_its_name_are_two_types(
    rule: MetadataRule, expected: Any, actual: Any, types: str
) -> None:
    found = both(rule, expected, actual)
    assert (found["change"], found["types"]) == ("missing" if actual is ABSENT else "retyped", types)


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY, [NAN], "NaN"])
def test_a_number_that_is_none_is_the_same_as_itself(value: Any) -> None:
    assert both(PLAIN, value, value) == both(CSV, json.dumps(value).strip('"'), value) == {}


def test_an_infinity_that_became_nan_is_another_value() -> None:
    assert both(PLAIN, INFINITY, NAN)["change"] == both(PLAIN, INFINITY, -INFINITY)["change"] == "changed"


@pytest.mark.parametrize("rule", [PLAIN, SINGLE, CSV])
def test_a_zero_has_no_sign_to_lose(rule: MetadataRule) -> None:
    """JSON.stringify drops it from all data."""
    signed = "-0.0" if rule is CSV else -0.0
    assert both(rule, signed, 0.0) == both(rule, [-0.0, {"k": -0.0}], [0.0, {"k": 0.0}]) == {}
    assert rule is CSV or both(rule, 0.0, -0.0) == {}
    assert both(PLAIN, -0.0, 0)["types"] == "float→int"


@pytest.mark.parametrize(("rule", "kind"), [(SINGLE, np.float32), (HALF, np.float16)])
def test_a_number_of_a_narrower_format_is_every_double_that_rounds_to_it(
    rule: MetadataRule, kind: type[np.floating[Any]]
) -> None:
    """0.1 is what most programs print of the single next to 0.1."""
    held = float(kind(0.1))
    assert held != 0.1
    assert both(rule, held, 0.1) == both(rule, held, float(repr(float(str(kind(0.1)))))) == {}
    assert both(rule, held, float(np.nextafter(kind(0.1), kind(1))))["change"] == "changed"
    assert both(rule, 3.0, 3)["types"] == "float→int"
    assert both(rule, held, "0.1")["change"] in ("changed", "retyped")
    assert both(rule, held, 1e300)["change"] == "changed"


@given(
    pairs=st.lists(
        st.tuples(
            st.none() | st.floats(width=16).map(float),
            st.none() | st.floats() | st.sampled_from([0.1, 0.0999755859375, 3, "0.1"]),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize("rule", [SINGLE, HALF], ids=["single", "half"])
def test_narrow_numbers_by_column_are_narrow_numbers_row_by_row(
    rule: MetadataRule, pairs: list[tuple[Any, Any]]
) -> None:
    pairs = [*pairs, (float(np.float16(0.1)), 0.1)]
    # NaN is not equal to itself, in what a finding shows neither.
    assert repr(drift(rule, pairs, by_column=True)) == repr(drift(rule, pairs, by_column=False))


def test_what_single_precision_left_of_a_number_is_called_so_wherever_it_came_from() -> None:
    assert both(PLAIN, 0.1, 0.10000000149011612)["types"] == "float→single precision"
    assert both(PLAIN, 0.1, 0.0999755859375)["types"] == "float→half precision"
    assert both(CSV, "0.1", 0.10000000149011612)["form"] == "float→single precision"
