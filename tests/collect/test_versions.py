"""Which of several rows of one record is the newest: by the versions of this record alone, and never by a guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vecforensics.arrow_columns import texts
from vecforensics.collect import EvidenceWriter
from vecforensics.collect.version_order import places_of, plain_keys
from vecforensics.errors import SourceError
from vecforensics.records import source_schema, target_schema

NINTH = datetime(2024, 1, 9, 10, tzinfo=UTC)


def newest(folder: Path, rows: Sequence[tuple[str, str | None]], buckets: int = 1) -> dict[str, str | None]:
    """The version that counts of each id, once rows of (id, version) are frozen."""
    columns = {
        "id": pa.array([row for row, _ in rows], pa.string()),
        "text": pa.array([""] * len(rows), pa.string()),
        "metadata": pa.array(["{}"] * len(rows), pa.string()),
        "version": pa.array([version for _, version in rows], pa.string()),
    }
    batch = pa.RecordBatch.from_pydict(columns, schema=source_schema([]))
    with EvidenceWriter(folder, buckets=buckets) as writer:
        writer.source("users", [batch], where="users.csv")
        writer.target("users", [pa.RecordBatch.from_pylist([], schema=target_schema(3))])
        evidence = writer.finish()
    table = pa.Table.from_batches(evidence.iter_source("users"))
    return dict(zip(table["id"].to_pylist(), table["version"].to_pylist(), strict=True))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("9", "10"),
        ("9007199254740993", "9007199254740994"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("1e3", "2e3"),
        ("-10", "-9"),
        ("0.5", "0.75"),
        ("1700000000.25", "1700000000.5"),
        ("2024-01-09T10:00:00Z", "2024-01-09T10:00:00.500Z"),
        ("2024-01-09T10:00:00+02:00", "2024-01-09T09:30:00Z"),
        ("2024-01-09 10:00:00.000001", "2024-01-09T10:00:00.000002"),
        ("2024-01-09", "2024-01-10T00:00:00"),
        ("2024-01-09", "2024-02-01T00:00:00Z"),
        ("2024-01-09T10:00:00", "2024-01-10T02:00:00Z"),
        ("3024-01-09T10:00:00Z", "3024-01-09T10:00:00.5Z"),
        ("v9", "v10"),
        ("v1.9", "v1.10"),
        ("1.9.0", "1.10.0"),
        ("1.9", "1.10.1"),
        ("rev-12", "rev-103"),
        ("2024.1.9", "2024.1.10"),
        ("2024/1/9", "2024/1/10"),
        ("12/31/2023", "01/15/2024"),
        ("31/12/2023", "15/01/2024"),
    ],
)
def test_the_higher_of_two_versions_counts(tmp_path: Path, lower: str, higher: str, swapped: bool) -> None:
    rows = [("a", lower), ("a", higher)]
    assert newest(tmp_path, rows[::-1] if swapped else rows) == {"a": higher}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("draft", "10"),
        ("draft", "final"),
        ("1.9", "1.10"),
        ("1.5", "1.25"),
        ("01/03/2024", "02/01/2024"),
        ("2024-01-09", "2024-01-09T10:00:00"),
        ("2024-01-09T10:00:00", "2024-01-09T11:00:00Z"),
        ("1.0.0-rc1", "1.0.0"),
        ("v9", "w10"),
        ("1,000", "999"),
        ("", "1"),
    ],
)
def test_versions_of_which_nothing_says_the_order_are_refused_with_both_of_them(
    tmp_path: Path, one: str, other: str
) -> None:
    with pytest.raises(SourceError) as refused:
        newest(tmp_path, [("b", "1"), ("a", one), ("a", other)])
    said = str(refused.value)
    assert said.startswith(
        f"users.csv: the id 'a' stands in rows 1 and 2 (the first row is 0) with the versions {one!r} and {other!r}, and nothing"
    )
    assert "in one way (10, v1.10, 2024-01-09T10:00:00Z)" in said


def test_one_records_odd_version_says_nothing_of_the_others(tmp_path: Path) -> None:
    """One draft among versions 9 and 10 made texts of them all, of which 9 is the higher."""
    rows = [(f"r{number}", version) for version in ("9", "10") for number in range(20)]
    assert set(newest(tmp_path / "a", [*rows, ("other", "draft")]).values()) == {"10", "draft"}
    rows[-1] = ("r19", "draft")
    with pytest.raises(SourceError, match=r"'r19' stands in rows 19 and 39 .* versions '9' and 'draft'"):
        newest(tmp_path / "b", rows)


def test_of_three_versions_the_two_without_an_order_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"rows 0 and 2 .* versions '1\.5' and '1\.25'"):
        newest(tmp_path, [("a", "1.5"), ("a", "3"), ("a", "1.25")])


def test_the_earliest_pair_is_named_whatever_the_buckets(tmp_path: Path) -> None:
    rows: list[tuple[str, str | None]] = [(f"r{number}", "draft") for number in range(8)]
    rows += [("r5", "1"), ("r3", "draft"), ("r2", None), ("r1", "2")]
    for buckets in (1, 4):
        with pytest.raises(SourceError) as refused:
            newest(tmp_path / str(buckets), rows, buckets)
        assert "the id 'r5' stands in rows 5 and 8 " in str(refused.value)
        assert "; so it is with 2 more ids. " in str(refused.value)


@pytest.mark.parametrize(
    "same", [("1.0", "1"), ("v1.0", "v1"), ("x", "x"), ("2024-01-09T10:00Z", "2024-01-09T12:00+02:00")]
)
def test_two_spellings_of_one_version_are_the_same_version(tmp_path: Path, same: tuple[str, str]) -> None:
    with pytest.raises(SourceError, match=r"rows 0 and 1 .* with the same version"):
        newest(tmp_path, [("a", same[0]), ("a", same[1])])


def test_a_row_without_a_version_is_lower_than_one_that_has_one(tmp_path: Path) -> None:
    assert newest(tmp_path, [("a", "draft"), ("a", None)]) == {"a": "draft"}


def _iso(moment: timedelta, hours: int, digits: int, between: str) -> str:
    there = (NINTH + moment).astimezone(timezone(timedelta(hours=hours)))
    fraction = f"{there.microsecond:06d}"[:digits].rstrip("0")
    zone = "Z" if hours == 0 else f"{'+' if hours > 0 else '-'}{abs(hours):02d}:00"
    return f"{there:%Y-%m-%d}{between}{there:%H:%M:%S}{'.' + fraction if fraction else ''}{zone}"


_TENTHS = st.integers(-(10**9), 10**9).map(lambda tenths: timedelta(milliseconds=100 * tenths))
_MOMENTS = st.tuples(_TENTHS, st.integers(-12, 14), st.integers(1, 6), st.sampled_from("T ")).map(
    lambda drawn: (drawn[0], _iso(*drawn))
)
_WHOLE = st.integers(-(10**30), 10**30).map(lambda number: (number, str(number)))
_SPELT = st.integers(0, 10**18).flatmap(
    lambda number: st.sampled_from(
        [str(number), f"{number}.0", f"00{number}", f" {number}", f"{number}e0"]
    ).map(lambda text: (number, text))
)
_MONEY = st.integers(-(10**20), 10**20).map(lambda cents: (cents, str(Decimal(cents).scaleb(-2))))
_DOTTED = st.lists(st.integers(0, 10**6), min_size=3, max_size=4).map(
    lambda parts: (tuple(parts), ".".join(map(str, parts)))
)


def _before(prefix: str) -> Callable[[tuple[Any, str]], tuple[Any, str]]:
    return lambda drawn: (drawn[0], prefix + drawn[1])


_PREFIXED = st.integers(0, 10**30).map(lambda number: (number, f"rev-{number}"))


@pytest.mark.parametrize(
    "drawn", [_MOMENTS, _WHOLE, _SPELT, _MONEY, _DOTTED, _DOTTED.map(_before("v")), _PREFIXED]
)
def test_the_order_found_is_the_true_one(drawn: st.SearchStrategy[tuple[Any, str]]) -> None:
    @given(st.lists(drawn, min_size=2, max_size=6, unique_by=lambda pair: pair[0]))
    def holds(pairs: list[tuple[Any, str]]) -> None:
        keys = [key if not isinstance(key, tuple) else (*key, 0)[:4] for key, _ in pairs]
        assume(len(set(keys)) == len(keys))
        order = sorted(keys)
        assert places_of(text for _, text in pairs) == [order.index(key) for key in keys]

    holds()


@given(
    st.lists(st.one_of(_MOMENTS, _WHOLE, _SPELT, _PREFIXED).map(lambda pair: pair[1]), min_size=2, max_size=5)
)
def test_a_column_at_once_has_the_order_of_each_record_alone(versions: list[str]) -> None:
    keys = plain_keys(texts(versions))
    places = places_of(versions)
    if keys is not None:
        assert places is not None
        assert places == [sorted(set(keys.tolist())).index(key) for key in keys.tolist()]


@pytest.mark.parametrize(
    "versions",
    [["9", "10", "007"], ["v9", "v10", "v10"], ["rev-9", "rev-10"], ["2024-01-09", "2024-01-10"]],
)
def test_a_column_of_one_plain_shape_is_put_in_order_at_once(versions: list[str]) -> None:
    keys = plain_keys(texts([*versions, None]))
    assert keys is not None
    assert [sorted(set(keys[:-1].tolist())).index(key) for key in keys[:-1].tolist()] == places_of(versions)
    assert plain_keys(texts([*versions, "w9"])) is None
