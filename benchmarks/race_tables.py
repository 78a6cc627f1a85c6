"""The measurements as Markdown, and the aims beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

__all__ = ["aims", "tables"]

LABELS = {
    "random": "**vecforensics** `random`",
    "pct": "**vecforensics** `pct`, d = 1, 2, 3 in turn",
    "dpor": "**vecforensics** `dpor`, begun anew for each schedule",
    "fifo": "**vecforensics** `fifo`",
    "javascript": "**vecforensics** `random`, the same program in JavaScript",
    "fast-check waitFor": "fast-check `waitFor`",
    "fast-check waitIdle": "fast-check `waitIdle`",
    "asyncio-floor": "bound: asyncio's own tasks, futures, `gather` and nothing else",
    "stepper": "bound: coroutines stepped by hand, no event loop",
}
REFERENCE = "fast-check waitFor"


def _label(name: str) -> str:
    strategy, several, processes = name.partition(" x ")
    return f"{LABELS[strategy]}, **{processes} processes**" if several else LABELS[name]


def tables(results: Mapping[str, Any]) -> str:
    parts = (_speed, _search, _proof, _witness, _catalogue, _growth)
    machine = results["machine"]
    head = (
        f"# Race laboratory, {machine['date']}: {machine['cpus']} CPUs, load {machine['load']} at the start, "
        f"Python {machine['python']}, fast-check {machine['fast_check']}"
    )
    return "\n\n".join([head, *(part(results) for part in parts)])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _ratios(rates: Mapping[str, Sequence[float]], name: str) -> list[float]:
    """Of each turn; empty without the reference."""
    return [rate / other for rate, other in zip(rates[name], rates.get(REFERENCE, ()), strict=False)]


def _ratio(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"


def _speed(results: Mapping[str, Any]) -> str:
    speed = results["speed"]
    rates, cpu_rates = speed["rates"], speed["cpu_rates"]
    rows = [
        [
            _label(name), f"{median(rates[name]):,.0f}", f"{min(rates[name]):,.0f}–{max(rates[name]):,.0f}",
            _ratio(_ratios(rates, name)), f"{median(cpu_rates[name]):,.0f}", _ratio(_ratios(cpu_rates, name)),
            str(speed["choices"][name][0]),
        ]
        for name in sorted(rates, key=lambda name: -median(rates[name]))
    ]  # fmt: skip
    early = speed["waitAll_choices"]
    note = (
        f"\n\n`waitAll` (deprecated) is no contestant: it ends at the barrier, after {early[0]} of {speed['expected']} choices."
        if early and early[0] < speed["expected"]
        else ""
    )
    return (
        f"## 1. Schedules a second: {speed['records']} records, {speed['expected']} choices\n\n"
        f"Median and range of {speed['rounds']} turns of {speed['seconds']:g} s, A B A B; a ratio is one within a turn. Every "
        "schedule of every contestant made the number of choices in the last column, and ours and fast-check's were each checked "
        "for a vector, a metadata field or a parent that is not right. A row is one process unless it says otherwise, "
        "fast-check's too: it has no way to use a second. A CPU second is what a busy machine distorts least; Node's counts its "
        "helper threads, several processes are counted together.\n\n"
        + _table(
            ["contestant", "schedules/s", "range", "× `waitFor`", "a CPU second", "× `waitFor`", "choices"],
            rows,
        )
        + note
    )


def _search(results: Mapping[str, Any]) -> str:
    rows = [
        [row["strategy"], f"{row['n']:,}", _found(row), _range(row), f"{row['cap']:,}", _seconds(row)]
        for row in results["search"]
    ]
    return (
        "## 2. One forgotten await in n: schedules until the first failure\n\n"
        "A strategy that draws lots searches once a seed, and the median is given; `>` where the search gave up.\n\n"
        + _table(["strategy", "n", "schedules", "range", "cap", "seconds"], rows)
    )


def _found(row: Mapping[str, Any]) -> str:
    found = [math.inf if item["found"] is None else item["found"] for item in row["tries"]]
    middle = median(found)
    if middle != math.inf:
        return f"{middle:,.0f}" + (f" ({_hits(row)} of {len(found)} found)" if math.inf in found else "")
    played = max(item["played"] for item in row["tries"])
    reason = {item["ended"] for item in row["tries"] if item["found"] is None}
    words = {"time": "time was up", "cap": "cap", "everything": "no further schedule"}
    said = ", ".join(sorted({words[item] for item in reason}))
    return f"> {played:,} ({said}; {_hits(row)} of {len(found)} found)"


def _hits(row: Mapping[str, Any]) -> int:
    return sum(item["found"] is not None for item in row["tries"])


def _range(row: Mapping[str, Any]) -> str:
    found = [item["found"] for item in row["tries"] if item["found"] is not None]
    return f"{min(found):,}–{max(found):,}" if len(found) > 1 else "–"


def _seconds(row: Mapping[str, Any]) -> str:
    seconds = [item["seconds"] for item in row["tries"] if item["seconds"] is not None]
    return f"{median(seconds):.2f}" if seconds else "–"


def _proof(results: Mapping[str, Any]) -> str:
    proof = results["proof"]
    return (
        f"## 3. The same program with every write waited for, {proof['records']} records\n\n"
        f"{proof['verdict']}, exhaustive: {proof['exhaustive']}; {proof['schedules']} schedule(s) stand for all orders of "
        f"{proof['choices']} choices; {proof['all_schedules']} played in all; {proof['seconds']:.2f} s "
        f"(median of {len(proof['all_seconds'])})."
    )


def _witness(results: Mapping[str, Any]) -> str:
    witness = results["witness"]
    return (
        f"## 4. The witness at n = {witness['n']:,}\n\n"
        f"Found by `dpor` at schedule {witness['found_at']}; shrunk from {witness['n']:,} records with "
        f"{witness['shrink_schedules']} schedules to "
        f"{len(witness['records'])} record(s) ({', '.join(witness['records'][:5])}) and {len(witness['constraints'])} "
        f"constraint(s): {'; '.join(witness['constraints'][:5]) or 'none'}. Kinds: {', '.join(witness['kinds'])}. "
        f"Everything: {witness['seconds']:.1f} s."
    )


def _catalogue(results: Mapping[str, Any]) -> str:
    catalogue = results["catalogue"]
    rows = [
        [
            row["name"], row["driver"], ", ".join(row["faults"]) or "–",
            f"{row['schedules']:,}" if row["schedules"] is not None else f"> {catalogue['cap']:,}",
            row["strategy"] or "–", f"{row['seconds']:.2f}", ", ".join(row["kinds"]),
        ]
        for row in catalogue["rows"]
    ]  # fmt: skip
    return (
        f"## 5. Broken migrations, the catalogue's, then the tests': {catalogue['records']} records, at most "
        f"{catalogue['cap']:,} schedules\n\nDefault strategies. Seconds include shrinking and telling the witness.\n\n"
        + _table(["broken migration", "driver", "faults", "first failure at", "by", "seconds", "kinds"], rows)
    )


def _growth(results: Mapping[str, Any]) -> str:
    rows = [
        [_label(row["strategy"]), f"{n:,}", f"{middle:.3f}", f"{middle / n * 1e6:.0f}"]
        for row in results["growth"]
        for n, middle in _middles(row).items()
    ]
    return (
        "## 6. One schedule of many records\n\nProcessor time, the median of some turns. A quadratic step would show in the last "
        "column.\n\n" + _table(["program", "records", "seconds", "microseconds a record"], rows)
    )


def _middles(row: Mapping[str, Any]) -> dict[int, float]:
    return {n: median(seconds) for n, seconds in row["seconds"].items()}


# --- aims --------------------------------------------------------------------------------------------------------------------


def aims(results: Mapping[str, Any]) -> str:
    rows = [*_speed_aims(results), *_search_aims(results), *_other_aims(results)]
    return _table(
        ["aim", "measured", "met"], [[aim, said, "yes" if met else "**no**"] for aim, said, met in rows]
    )


def _speed_aims(results: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    rates, cpu_rates = results["speed"]["rates"], results["speed"]["cpu_rates"]
    if REFERENCE not in rates:
        return [("`random` and `pct` at 2 × fast-check's `waitFor`", "fast-check was not at hand", False)]
    ratio = {name: median(_ratios(rates, name)) for name in rates}
    several = {name.partition(" x ")[0]: name for name in ratio if " x " in name}
    by_cpu = {name: median(_ratios(cpu_rates, name)) for name in cpu_rates}
    bound = f"asyncio's own tasks alone {ratio['asyncio-floor']:.2f} × ({by_cpu['asyncio-floor']:.2f} ×)"
    return [
        (
            f"`{name}` at 2 × fast-check's `waitFor` or better",
            f"one process {ratio[name]:.2f} × ({by_cpu[name]:.2f} × by CPU)"
            + (
                f", {several[name].partition(' x ')[2]} processes {ratio[several[name]]:.2f} ×"
                if name in several
                else ""
            )
            + f"; {bound}",
            max(ratio[name], ratio.get(several.get(name, ""), 0.0)) >= 2,
        )
        for name in ("random", "pct")
    ]


def _search_aims(results: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    found = [
        row["tries"][0]["found"] for row in results["search"] if (row["n"], row["strategy"]) == (100, "dpor")
    ]
    if not found:
        return []
    said = "not found" if found[0] is None else f"{found[0]} schedules"
    return [
        ("forgotten await at n = 100 in 2 schedules by `dpor`", said, found[0] is not None and found[0] <= 2)
    ]


def _other_aims(results: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    proof, witness, catalogue = results["proof"], results["witness"], results["catalogue"]
    rows = catalogue["rows"]
    found = [row for row in rows if row["schedules"] is not None]
    most = max((row["schedules"] for row in found), default=0)
    longest = max((row["seconds"] for row in rows), default=0.0)
    growths = [_middles(row) for row in results["growth"]]
    growth = [(row[max(row)] / max(row)) / (row[min(row)] / min(row)) for row in growths]
    return [
        (
            "a record of the largest burst takes at most 2.5 times what one of the smallest takes",
            ", ".join(f"{factor:.2f} times" for factor in growth),
            max(growth) <= 2.5,
        ),
        (
            "barrier fix at n = 100 proved in under a second",
            f"{proof['verdict']} in {proof['seconds']:.2f} s",
            bool(proof["exhaustive"]) and proof["seconds"] < 1,
        ),
        (
            "witness at n = 1,000 shrunk to one record and its constraint within 50 schedules",
            f"{'' if witness['n'] >= 1_000 else 'not asked; '}n = {witness['n']:,}: "
            f"{len(witness['records'])} record(s), {len(witness['constraints'])} constraint(s), "
            f"{witness['shrink_schedules']} schedules",
            witness["n"] >= 1_000
            and len(witness["records"]) == len(witness["constraints"]) == 1
            and witness["shrink_schedules"] <= 50,
        ),
        (
            "each broken migration found within 5,000 schedules and 60 s",
            f"{len(found)} of {len(rows)}; at most {most:,} schedules, {longest:.1f} s",
            len(found) == len(rows) and longest <= 60,
        ),
    ]
