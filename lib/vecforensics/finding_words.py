"""What a finding says of itself, for people.

`detail` in findings.parquet and findings.json is for programs: rows and components count from 0, and a stretch ends before its
`wrong_to`. In words they count from 1, as in every sentence of ours. A detail may come from a file that somebody touched: what
has another form than ours is shown as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

__all__ = ["in_words", "with_code"]


def in_words(detail: Any, dimension: int | None = None) -> str:
    """A finding's `detail`, an object or the JSON text of one, as "rows 41–119, offset: 1, run: 79"; "" where it says nothing.
    `dimension`: how many components a vector has, where that is known."""
    if isinstance(detail, str):
        try:
            detail = json.loads(detail)
        except (ValueError, RecursionError):
            return str(detail)
    if not isinstance(detail, dict):
        return "" if detail is None else str(detail)
    return ", ".join(_said(detail, dimension))


def with_code(sentence: str) -> Markup:
    """One of our sentences as HTML: what stands between two backticks is code. Ids and names, exact to the letter, are none."""
    *pairs, rest = sentence.split("`")
    if len(pairs) % 2:
        return Markup("{}").format(sentence)
    marked = (Markup("{}<code>{}</code>").format(*pair) for pair in zip(pairs[::2], pairs[1::2], strict=True))
    return Markup("").join([*marked, Markup("{}").format(rest)])


def _said(detail: Mapping[str, Any], dimension: int | None) -> Iterator[str]:
    rest = dict(detail)
    for first, last, what, after, total in (
        ("begins_at", "ends_at", "row", 1, None),
        ("wrong_from", "wrong_to", "wrong component", 0, dimension),
    ):
        if _counts(rest.get(first)) and _counts(rest.get(last)):
            one, other = rest.pop(first) + 1, rest.pop(last) + after
            stretch = f"{what} {one:,}" if one == other else f"{what}s {one:,}–{other:,}"
            yield f"{stretch} of {total:,}" if total else stretch
    fields = rest.get("fields")
    if isinstance(fields, dict):
        for name, entry in sorted(rest.pop("fields").items()):
            yield _drift(name, entry)
    for key, value in sorted(rest.items()):
        yield f"{key.replace('_', ' ')}: {_value(value)}"


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _drift(name: str, entry: Any) -> str:
    """ "price retyped int→text (3 → "3")": what happened to a metadata field."""
    if not isinstance(entry, dict) or not isinstance(entry.get("change"), str):
        return f"{name}: {_value(entry)}"
    how = ", ".join(str(entry[key]) for key in ("types", "form") if key in entry)
    shown = {key: _json(entry[key]) for key in ("expected", "actual") if key in entry}
    was, _, became = str(entry.get("types", "")).partition("→")
    for key, kind in (("expected", was), ("actual", became)):
        if kind in ("NaN", "Infinity", "-Infinity") and key in shown:
            # JSON has none of these, and so the detail holds them as text.
            shown[key] = kind
    values = " → ".join(shown.values())
    return " ".join([name, entry["change"], *([how] if how else []), *([f"({values})"] if values else [])])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
