"""Small things that everybody relies on: canonical JSON, printable text, the error tree, the kinds of finding, lab ids."""

from __future__ import annotations

import inspect
import json
import math
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vecforensics import errors
from vecforensics.errors import CaseError, MissingExtra, VecforensicsError, printable, without_userinfo
from vecforensics.findings import FINDINGS_SCHEMA, MEANING, SEVERITY, Kind, Severity, zero_counts
from vecforensics.records import canonical_json, lab_ids, metadata_json

text = st.text(st.characters(codec="utf-8"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)


class TestCanonicalJson:
    @given(plain)
    def test_it_is_json_of_the_same_value_and_a_fixed_point(self, value: object) -> None:
        spelt = canonical_json(value)
        assert json.loads(spelt) == value
        assert canonical_json(json.loads(spelt)) == spelt

    @given(st.dictionaries(text, plain, max_size=5))
    def test_the_order_of_keys_does_not_matter(self, value: dict[str, object]) -> None:
        assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)

    @pytest.mark.parametrize(
        ("value", "spelt"),
        [
            ({"b": 1, "a": [1.0, None, True]}, '{"a":[1.0,null,true],"b":1}'),
            (math.nan, '"NaN"'),
            ([math.inf, -math.inf], '["Infinity","-Infinity"]'),
            ("é", '"é"'),
            (2**60, "1152921504606846976"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
        ],
    )
    def test_spellings(self, value: object, spelt: str) -> None:
        assert canonical_json(value) == spelt

    def test_in_metadata_a_number_that_is_none_is_not_the_text_of_its_name(self) -> None:
        values = [math.nan, math.inf, -math.inf, Decimal("NaN"), "NaN", "Infinity", {"a": [math.nan]}, 1.5]
        assert [metadata_json(one) for one in values] == [
            "NaN", "Infinity", "-Infinity", "NaN", '"NaN"', '"Infinity"', '{"a":[NaN]}', "1.5",
        ]  # fmt: skip

    def test_whole_and_fractional_and_text_stay_apart(self) -> None:
        assert len({canonical_json(one) for one in (1, 1.0, "1", True, "true", None, "null", "")}) == 8


class TestPrintable:
    @given(st.text(max_size=60))
    @example("\x1b[31m\r\n\u202e\x00\u2028\ud800")
    def test_nothing_moves_the_cursor_or_turns_the_text(self, hostile: str) -> None:
        shown = printable(hostile)
        assert [ch for ch in shown if ch != " " and unicodedata.category(ch)[0] in "CZ"] == []
        shown.encode()

    @given(st.text(max_size=200))
    def test_it_is_cut_at_the_limit(self, hostile: str) -> None:
        assert len(printable(hostile, 50)) <= 50

    def test_what_is_harmless_stays(self) -> None:
        assert printable("users/42: größe 日本 “x” — ok") == "users/42: größe 日本 “x” — ok"
        assert printable("a\nb\x1b") == "a\\nb\\x1b"


class TestErrors:
    def test_a_message_is_one_line_of_what_where_and_what_next(self) -> None:
        error = CaseError("bad\nthing", where="case.yaml:3\x1b", hint="Mend\rit")
        assert str(error) == "case.yaml:3\\x1b: bad\\nthing. Mend\\rit"
        assert str(CaseError("bad")) == "bad"

    def test_the_tree_has_one_root_and_a_sorted_list(self) -> None:
        classes = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
        assert [one for one in classes if not issubclass(one, VecforensicsError)] == []
        assert errors.__all__ == sorted(errors.__all__)
        helpers = {"holds_password", "printable", "without_userinfo"}
        assert {one.__name__ for one in classes} | helpers == set(errors.__all__)

    def test_the_tree_at_the_top_of_the_module_is_complete(self) -> None:
        assert errors.__doc__ is not None
        drawn = errors.__doc__
        assert [name for name in errors.__all__ if name[0].isupper() and name not in drawn] == []

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("qdrant:http://u:hunter2@host:6333/x", "qdrant:http://…@host:6333/x"),
            ("at postgresql://u:p%40@db/x and s3://key@b/y?a@b", "at postgresql://…@db/x and s3://…@b/y?a@b"),
            ("tcp://host:8786, me@home, https://host/@me", "tcp://host:8786, me@home, https://host/@me"),
        ],
    )
    def test_no_message_shows_user_or_password_of_a_uri(self, text: str, shown: str) -> None:
        assert without_userinfo(text) == shown
        for one in (CaseError(text), CaseError("x", where=text), CaseError("x", hint=text)):
            assert shown in str(one)
            assert "hunter2" not in str(one)

    def test_a_missing_extra_names_the_command(self) -> None:
        assert str(MissingExtra("js", "a .js suspect")) == (
            "a .js suspect needs the extra [js]. Install it: pip install 'vecforensics[js]'"
        )


class TestKinds:
    def test_every_kind_has_a_severity_and_a_meaning(self) -> None:
        assert list(SEVERITY) == list(MEANING) == list(Kind)
        assert zero_counts() == dict.fromkeys((kind.value for kind in Kind), 0)

    def test_the_fixed_names(self) -> None:
        corrupt = (
            "missing orphan mangled_id duplicate swapped shifted broadcast non_finite zero wrong_dimension partial stale"
            " foreign_model drifted metadata_drift dangling premature"
        )
        benign, unknown = "normalised quantised noise", "pending unchecked"
        named = {Severity.CORRUPT: corrupt, Severity.BENIGN: benign, Severity.UNKNOWN: unknown}
        assert {s: [k.value for k in Kind if SEVERITY[k] == s] for s in Severity} == {
            severity: names.split() for severity, names in named.items()
        }

    def test_the_fixed_columns(self) -> None:
        assert FINDINGS_SCHEMA.names == (
            [
                "collection",
                "source_id",
                "target_id",
                "kind",
                "severity",
                "partner_id",
                "distance",
                "batch",
                "worker",
                "written_at",
                "detail",
            ]
        )


class TestLabIds:
    key = st.tuples(
        st.sampled_from(["a", "a/b", "a%2Fb", "b", "", "%"]),
        st.sampled_from(["1", "b/1", "2F", "", "/", "%"]),
    )

    @given(st.lists(key, max_size=12))
    def test_no_two_records_meet(self, keys: list[tuple[str, str]]) -> None:
        named = lab_ids(keys)
        assert list(named) == list(dict.fromkeys(keys))
        assert len(set(named.values())) == len(named)

    def test_bare_where_distinct_and_with_the_collection_where_not(self) -> None:
        assert lab_ids([("users", "1"), ("posts", "2")]) == {("users", "1"): "1", ("posts", "2"): "2"}
        assert list(lab_ids([("users", "1"), ("posts", "1")]).values()) == ["users/1", "posts/1"]
