"""Only ids with something in common are spelt out: nothing that a conversion makes may fall through that sieve."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vecforensics.diff.explain import ids
from vecforensics.diff.explain.ids import _kin, pair_ids, related
from vecforensics.diff.spellings import conversion, reversed_name, says_nothing, spelling_name, spellings

_NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.integers(0, 10**9).map(lambda number: f"{number:012d}"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(1e-9, 1e22).map(lambda number: f"{number:.9e}"),
    st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]{0,12})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="aAbBßſıİKéÉﬀ①½ŉ\u0301 _-+'\"?{}\t\u00a0", max_size=12),
    st.uuids().map(str),
    st.uuids().map(lambda one: str(one.int)),
    st.integers(0, 2**64).map(hex),
    st.integers(0, 10**12).map(lambda number: f"{number:,}"),
    st.text(min_size=1, max_size=6).map(lambda text: text.encode("utf-8", "ignore").decode("latin-1")),
    st.uuids().map(lambda one: f"URN:UUID:{{{one}}}"),
    st.text(max_size=8).map(lambda inner: f"b'{inner}'"),
    st.text(alphabet="a1/ %&;ltgampé#39", max_size=12),
)


@settings(max_examples=1000, deadline=None)
@given(st.one_of(_NUMBERS, _TEXTS))
def test_an_id_shares_something_with_each_of_itsspellings(text: str) -> None:
    kin = _kin(text)
    lost = [
        spelling for spelling in spellings(text) if (kin.exact | kin.rounded).isdisjoint(_kin(spelling).exact)
    ]
    assert lost == []


def spelt_out(missing: list[str], orphans: list[str]) -> dict[int, tuple[int, str]]:
    """`pair_ids` by holding each id against all spellings of each other one."""
    pairs: dict[tuple[int, int], str] = {}
    for record, ours in enumerate(missing):
        for orphan, theirs in enumerate(orphans):
            if says_nothing(theirs):
                continue
            if theirs in spellings(ours):
                pairs[record, orphan] = spellings(ours)[theirs]
            elif ours in spellings(theirs) and not says_nothing(ours):
                pairs[record, orphan] = reversed_name(spellings(theirs)[ours])
    return {
        orphan: (record, name)
        for (record, orphan), name in pairs.items()
        if [one for one, _ in pairs].count(record) == 1 and [other for _, other in pairs].count(orphan) == 1
    }


@pytest.mark.parametrize("few", [0, 1, 16])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_same_pairs_are_found_as_by_spelling_everything_out(
    monkeypatch: pytest.MonkeyPatch, few: int, data: st.DataObject
) -> None:
    monkeypatch.setattr(ids, "_FEW", few)
    roots = data.draw(st.lists(st.one_of(_NUMBERS, _TEXTS), min_size=1, max_size=4))
    known = sorted({text for root in roots for text in (root, *spellings(root))})
    some = st.lists(st.sampled_from(known), unique=True, max_size=8)
    missing = data.draw(some)
    orphans = [text for text in data.draw(some) if text not in missing]
    assert pair_ids(missing, orphans) == spelt_out(missing, orphans)


@settings(max_examples=300, deadline=None)
@given(st.one_of(_NUMBERS, _TEXTS))
def test_one_spelling_has_the_name_that_it_has_among_all(text: str) -> None:
    named = {held: spelling_name(text, held) for held in (text, *spellings(text), text + "x")}
    assert named == {held: spellings(text).get(held) for held in named}


def test_long_numbers_that_begin_alike_are_not_held_against_one_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All of them are the same number in six digits.
    missing = [str(1_700_000_000_000 + number) for number in range(2_000)]
    asked: list[str] = []
    monkeypatch.setattr(
        ids, "spelling_name", lambda text, held: asked.append(text) or spelling_name(text, held)
    )
    pairs = pair_ids(missing, [f"{text}.0" for text in missing])
    assert {orphan: record for orphan, (record, _) in pairs.items()} == {
        number: number for number in range(2_000)
    }
    assert len(asked) < 3 * len(missing)


def test_ids_without_a_relation_are_not_spelt_out_and_those_with_one_are_paired() -> None:
    missing = ["user-1", "0042", "Ünal", "550e8400-e29b-41d4-a716-446655440000", "123456789012345678"]
    orphans = [
        "stranger",
        "42",
        "uNAL",
        "550E8400E29B41D4A716446655440000",
        "1.2345678901234568e+17",
        "USER-1 ",
    ]
    pairs = pair_ids(missing, orphans)
    assert {orphans[orphan]: missing[record] for orphan, (record, _) in pairs.items()} == {
        "42": "0042",
        "550E8400E29B41D4A716446655440000": "550e8400-e29b-41d4-a716-446655440000",
        "1.2345678901234568e+17": "123456789012345678",
        "USER-1 ": "user-1",
    }


def test_a_number_whose_first_digits_round_up_is_not_taken_for_ten_times_itself() -> None:
    assert pair_ids(["999999950"], ["9.9999995e+09"]) == {}
    assert pair_ids(["999999950"], ["9.9999995e+08"]) == {0: (0, "read as a floating-point number")}


def test_which_ids_may_have_become_one_is_told_without_spelling_them_out() -> None:
    held = ["9007199254740992", "stranger", "x7", "x7"]
    assert related(["9007199254740993", "X7", "user-1"], held) == [0, 2, 3]
    assert related([], held) == related(["user-1"], []) == []


@pytest.mark.parametrize(
    ("record", "held", "name"),
    [
        ("100000", "100,000", "thousands separators"),
        ("1234567", "1'234'567", "thousands separators"),
        ("100000", "100\u202f000", "thousands separators"),
        ("12,345", "12345", "thousands separators"),
        ("151", "0x97", "hexadecimal"),
        ("0xBEEF", "48879", "hexadecimal"),
        ("0000000c-9f2c-9cd0-4674-edea4000f778", "1000000000000000000000000063352", "UUID spelling"),
        ("0000000c9f2c9cd04674edea4000f778", "{0000000C-9F2C-9CD0-4674-EDEA4000F778}", "UUID spelling"),
        ("1000000000000000000000000063352", "0000000c-9f2c-9cd0-4674-edea4000f778", "UUID spelling"),
        ("İstanbul", "istanbul", "Turkish case"),
        ("ISIL", "ısıl", "Turkish case"),
        ("izmir", "İZMİR", "Turkish case"),
        ("İstanbul", "i̇stanbul", "case"),
        ("naïve", "naÃ¯ve", "mojibake"),
        ("naÃ¯ve", "naïve", "mojibake"),
        ("5 €", "5 â‚¬", "mojibake"),
        ("naïve", "nai\u0308ve", "Unicode form"),
        ("日本語", "%E6%97%A5%E6%9C%AC%E8%AA%9E", "URL encoding"),
        ("users%2F7", "users/7", "URL encoding"),
        ("a&b", "a&amp;b", "HTML entities"),
        ("a&#39;b&lt;", "a'b<", "HTML entities"),
    ],
)
def test_what_a_conversion_made_of_an_id_is_paired_and_named(record: str, held: str, name: str) -> None:
    assert pair_ids([record, "another"], ["stranger", held]) == {1: (0, name)}
    assert conversion(record, held) == name


@pytest.mark.parametrize(
    ("records", "held"),
    [
        (["100000", "100_000"], "100,000"),
        (["151", "0X97"], "0x97"),
        (["İz", "IZ"], "iz"),
        (["1234"], "12,34"),
        (["100000"], "100.000"),
        (["7"], "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_an_id_that_two_records_may_have_become_or_none_stands_for_neither(
    records: list[str], held: str
) -> None:
    assert pair_ids(records, [held]) == {}


def test_half_of_a_surrogate_pair_stops_nothing() -> None:
    assert "a%3F b" not in spellings("a\ud800 b")
    assert spellings("a\ud800 b")["a%3F%20b"] == "URL encoding"
