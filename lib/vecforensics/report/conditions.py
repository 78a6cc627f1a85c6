"""The conditions of the rehearsals in words, with both values where they differ between before and after.

`race/rehearsal.json` has them by the names of the case file's `rehearsal.physics`. A name that is not known here is shown as it
is: the file may be of another version.
"""

from __future__ import annotations

from typing import Final

from vecforensics.report.blocks import Cell, Column, Signal, State, Table
from vecforensics.report.facts import Facts
from vecforensics.report.wording import count, figure

__all__ = ["conditions", "differing"]

_NO_LIMIT: Final = "no limit"
# Name -> (what it is, unit, what a nought says instead of the number).
_WORDS: Final = {
    "embed_median_ms": ("An embedding is answered in, median", "ms", ""),
    "embed_sigma": ("… spread of it (sigma of the logarithm)", "", ""),
    "embed_sockets": ("Connections to the embedding provider", "", _NO_LIMIT),
    "embed_rate_per_s": ("Requests a second that the provider allows", "", _NO_LIMIT),
    "embed_burst": ("… at once, after a pause", "", _NO_LIMIT),
    "embed_429_per_10k": ("Requests of 10,000 refused at random", "", "none"),
    "refusal_ms": ("A refusal (429) arrives after", "ms", ""),
    "retry_after_s": ("… and asks to wait for", "s", ""),
    "store_median_ms": ("The idle store answers in, median", "ms", ""),
    "store_sigma": ("… spread of it (sigma of the logarithm)", "", ""),
    "store_capacity": ("Operations under way at which it is half as fast", "", "load does not matter"),
    "executor_median_ms": ("A call handed to a thread takes, median", "ms", ""),
}
_CHOICES: Final = {
    "retry_rate_limited": (
        "A refused request",
        "is repeated by the client",
        "is an error in the program",
    ),
    "crash_on_unhandled_rejection": (
        "A rejection that nothing handles (JavaScript)",
        "ends the process",
        "is passed over",
    ),
}


def differing(rehearsal: Facts) -> tuple[str, ...]:
    """The names of the conditions that are not the same before and after."""
    before, after = rehearsal.facts("physics"), rehearsal.facts("physics_after")
    return tuple(name for name in _ordered(before) if after and before.values[name] != after.values.get(name))


def conditions(rehearsal: Facts) -> Table:
    """Every condition as a row; one that differs has both values and is marked."""
    before, after = rehearsal.facts("physics"), rehearsal.facts("physics_after")
    other = differing(rehearsal)
    rows: list[tuple[Cell, ...]] = [(words, number) for words, number in _of_the_runs(rehearsal) if number]
    for name in _ordered(before):
        value: Cell = _shown(name, before)
        if name in other:
            value = (
                f"before: {_shown(name, before)}; ",
                Signal(f"after: {_shown(name, after)}", State.UNKNOWN),
            )
        rows.append((_label(name), value))
    return Table(
        "Conditions of the rehearsals" + ("; marked is what is not the same on both sides" if other else ""),
        (Column("Condition"), Column("Value")),
        tuple(rows),
    )


def _of_the_runs(rehearsal: Facts) -> list[tuple[str, str]]:
    records = rehearsal.count("records") or max(
        (run.count("records") for run in rehearsal.each("runs")), default=0
    )
    seed = str(rehearsal.count("seed")) if "seed" in rehearsal else ""
    return [("Records in a run", count(records) if records else ""), ("Seed", seed)]


def _ordered(physics: Facts) -> list[str]:
    """The names in the order of the words above, which is that of a request's way; unknown ones come last."""
    known = [*_WORDS, *_CHOICES]
    names = [name for name, value in physics.values.items() if isinstance(value, str | int | float)]
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def _label(name: str) -> str:
    if name in _CHOICES:
        return _CHOICES[name][0]
    if name in _WORDS:
        return _WORDS[name][0]
    return name.removesuffix("_ms").removesuffix("_s").replace("_", " ")


def _shown(name: str, physics: Facts) -> str:
    value = physics.values.get(name)
    if isinstance(value, bool):
        _, yes, no = _CHOICES.get(name, ("", "yes", "no"))
        return yes if value else no
    number = physics.number(name)
    if number is None:
        return str(value) if isinstance(value, str) else "–"
    _, unit, nought = _WORDS.get(name, ("", _unit(name), ""))
    if not number and nought:
        return nought
    return f"{figure(number)} {unit}".strip()


def _unit(name: str) -> str:
    return next(
        (unit for unit in ("ms", "s") if name.endswith(f"_{unit}") and not name.endswith("_per_s")), ""
    )
