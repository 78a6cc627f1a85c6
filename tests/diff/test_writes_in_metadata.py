"""What a target's metadata say of its writing: order by time stamps of any zone, in whatever order the fields stand."""

from __future__ import annotations

import numpy as np
import pytest

from vecforensics.diff.writes import _times

UNKNOWN = np.iinfo(np.int64).min
NEW_YEAR_2026 = 1_767_225_600_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR_2026),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR_2026),
        ("2025-12-31T19:00:00-0500", NEW_YEAR_2026),
        ("2026-01-01", NEW_YEAR_2026),
        ("2026-01-01 00:00:00.5", NEW_YEAR_2026 + 500_000_000),
        ("yesterday", UNKNOWN),
        ("9999-01-01", UNKNOWN),
        (None, UNKNOWN),
        (20260101, UNKNOWN),
    ],
)
def test_a_time_stamp_in_metadata_is_a_moment_or_unknown(text: object, moment: int) -> None:
    # Beside a good one and a bad one: neither spoils the other.
    found = _times(["2026-01-01T00:00:00Z", text, "rubbish"])
    assert found.tolist() == [NEW_YEAR_2026, moment, UNKNOWN]
