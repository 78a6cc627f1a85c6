"""A finding's detail in words: counted from 1, fields by name, and whatever stands in a file that somebody touched."""

from __future__ import annotations

from typing import Any

import pytest

from vecforensics.finding_words import in_words, with_code


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (
            {"offset": 1, "run": 79, "begins_at": 40, "begins_with": "41:a", "ends_at": 118},
            "rows 41–119, begins with: 41:a, offset: 1, run: 79",
        ),
        (
            {"right": 0.75, "rest": "zero", "wrong_from": 12, "wrong_to": 16},
            "wrong components 13–16, rest: zero, right: 0.75",
        ),
        ('{"group":20,"owner_holds_it_too":true}', "group: 20, owner holds it too: yes"),
        (
            {
                "fields": {
                    "price": {"change": "retyped", "expected": 3, "actual": "3", "types": "int→text"},
                    "plan": {"change": "missing", "expected": "free"},
                }
            },
            'plan missing ("free"), price retyped int→text (3 → "3")',
        ),
        (
            {
                "fields": {
                    "a": {"change": "retyped", "expected": "NaN", "actual": "nan", "types": "NaN→text"},
                    "b": {"change": "changed", "expected": "NaN", "actual": "nan"},
                }
            },
            'a retyped NaN→text (NaN → "nan"), b changed ("NaN" → "nan")',
        ),
        ({"rest": "NaN", "wrong_from": 1535, "wrong_to": 1536}, "wrong component 1,536, rest: NaN"),
        ("{}", ""),
        (None, ""),
        ("not JSON", "not JSON"),
        ({"begins_at": True, "ends_at": "x"}, "begins at: yes, ends at: x"),
        ({"begins_at": 4}, "begins at: 4"),
        ({"fields": ["a"]}, 'fields: ["a"]'),
        ({"fields": {"a": 1, "b": {"change": 2}}}, 'a: 1, b: {"change": 2}'),
        ("[" * 100_000, "[" * 100_000),
        (["a"], "['a']"),
    ],
)
def test_a_detail_is_said_in_words(detail: Any, words: str) -> None:
    assert in_words(detail) == words


@pytest.mark.parametrize(
    ("first", "stop", "words"), [(10, 11, "wrong component 11 of 64"), (0, 32, "wrong components 1–32 of 64")]
)
def test_components_are_said_of_how_many_where_that_is_known(first: int, stop: int, words: str) -> None:
    assert in_words({"wrong_from": first, "wrong_to": stop}, 64) == words


@pytest.mark.parametrize(
    ("sentence", "html"),
    [
        ("`premature` was not checked", "<code>premature</code> was not checked"),
        ("a <b> and `zero`, `x<y`", "a &lt;b&gt; and <code>zero</code>, <code>x&lt;y</code>"),
        ("one ` alone", "one ` alone"),
        ("", ""),
    ],
)
def test_what_stands_between_backticks_is_code(sentence: str, html: str) -> None:
    assert str(with_code(sentence)) == html
