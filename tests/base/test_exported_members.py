"""The public surface is small, sorted, and really there."""

from __future__ import annotations

import vecforensics


def test_every_exported_name_is_there_and_the_list_is_sorted() -> None:
    assert sorted(vecforensics.__all__) == vecforensics.__all__
    for name in vecforensics.__all__:
        assert getattr(vecforensics, name) is not None


def test_nothing_else_is_shown() -> None:
    assert set(dir(vecforensics)) == {*vecforensics.__all__, "__version__"}
