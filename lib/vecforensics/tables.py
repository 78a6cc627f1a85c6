"""The tables that the notebooks show, read from the run folder; each is a pandas frame underneath (`.frame`).

What comes from strangers is escaped; nothing is cut, since half a sentence of evidence is none.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vecforensics.errors import printable
from vecforensics.evidence import Evidence
from vecforensics.finding_words import in_words, with_code
from vecforensics.findings import MEANING, Kind
from vecforensics.investigation import Investigation

if TYPE_CHECKING:
    import pandas as pd

    from vecforensics.report.facts import Facts

__all__ = [
    "Table",
    "examples",
    "files",
    "frozen_files",
    "hot_spots",
    "impact",
    "inputs",
    "limits",
    "log_events",
    "replay_commands",
    "stores",
    "verification",
    "written",
]

# Columns of our own sentences, in which names of kinds stand between backticks.
_SENTENCES: Final = frozenset({"limit"})
# As in the report: below it a probability says no more than that it is none.
_SMALLEST_P: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Table:
    """A frame that shows itself whole, with a caption; `empty` is the sentence in its place where there are no rows."""

    caption: str
    frame: pd.DataFrame
    empty: str

    def __str__(self) -> str:
        if self.frame.empty:
            return printable(self.empty)
        return (
            f"{printable(self.caption)}\n{self.frame.map(_shown).to_string(index=False, max_colwidth=None)}"
        )

    def _repr_html_(self) -> str:
        from markupsafe import escape

        if self.frame.empty:
            return f"<p>{escape(self.empty)}</p>"
        import pandas as pd

        cells = self.frame.map(_shown)
        for column in cells.columns:
            cells[column] = cells[column].map(with_code if column in _SENTENCES else escape)
        with pd.option_context("display.max_colwidth", None):
            table = cells.to_html(index=False, escape=False, border=0)
        # Jupyter aligns cells to the right, which is for numbers; here most are words.
        table = table.replace("<td>", "<td style='text-align:left'>").replace(
            "<th>", "<th style='text-align:left'>"
        )
        return f"<p><b>{escape(self.caption)}</b></p>{table}"


def inputs(inv: Investigation) -> Table:
    """The inputs with their SHA-256 from before anything was read."""
    found = inv.run.read_json(inv.run.evidence / "inputs.json", made_by="collect")["inputs"]
    rows = [
        {
            "input": one["role"],
            "name": one["name"],
            "bytes before": one["bytes"],
            "sha256 before": one["sha256"] or one["note"],
        }
        for one in found
    ]
    return _table("Inputs before the run", rows, ("input", "name", "bytes before", "sha256 before"))


def stores(inv: Investigation) -> Table:
    """What each target's reader said of itself: snapshot, freshness, and why it could not write."""
    evidence = Evidence.open(inv.run.evidence)
    rows = [
        {
            "collection": name,
            **{
                key: one.facts.get(key, "")
                for key in ("target_uri", "snapshot", "freshness", "write_blocked")
            },
        }
        for name, one in _in_order(inv, evidence.collections)
    ]
    return _table(
        "How the targets were read",
        rows,
        ("collection", "target_uri", "snapshot", "freshness", "write_blocked"),
    )


def frozen_files(inv: Investigation) -> Table:
    """The frozen files that are no longer what they were."""
    evidence = Evidence.open(inv.run.evidence)
    wrong = evidence.verify()
    return _table(
        f"{len(wrong):,} of {len(evidence.files):,} frozen files are not what they were",
        [{"changed": one} for one in wrong],
        ("changed",),
        empty=f"All {len(evidence.files):,} frozen files have the SHA-256 with which they were frozen.",
    )


def log_events(inv: Investigation, count: int = 20) -> Table:
    """The different messages of the logs, which may be alike but for their ids: how often each came, from when to when, and the
    first of them. Errors stand first; the last error is there in any case."""
    from vecforensics.report.events import read_log_digest

    digest = read_log_digest(inv.run.evidence / "logs.jsonl")
    shapes = sorted(digest.shapes, key=lambda one: (not one.is_error, one.first))
    errors = [one for one in shapes if one.is_error]
    shown = shapes[: max(count, 1)]
    if errors and (final := max(errors, key=lambda one: (one.ends, one.last))) not in shown:
        shown[-1] = final
    rows = [
        {
            "events": one.count,
            "level": "uncaught, ends the log" if one.ends else one.level,
            "first": one.first,
            "last": one.last if one.count > 1 else "",
            "message (the first)": one.example.text("message"),
            "ids": ", ".join(
                dict.fromkeys(one.example.texts("record_ids") or one.example.texts("listed_ids"))
            ),
            "vector id": one.example.text("vector_id"),
            "at": _frames(one.example.each("stack")),
        }
        for one in shown
    ]
    caption = f"{sum(one.count for one in errors):,} of {digest.events:,} log events are errors"
    if len(shown) < len(shapes) or digest.lines_left_out:
        least = "at least " if digest.lines_left_out else ""
        caption += f"; {len(shown):,} of {least}{len(shapes):,} different messages are shown"
    columns = ("events", "level", "first", "last", "message (the first)", "ids", "vector id", "at")
    return _table(caption, rows, columns, empty="There are no logs, or nothing stands in them.")


def examples(inv: Investigation, count: int = 5) -> Table:
    """The first findings of each kind that has any."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(inv.run.findings_parquet)
    dimensions = {name: one.get("dimension") for name, one in _findings(inv).get("collections", {}).items()}
    rows: list[Mapping[str, Any]] = []
    for kind in Kind:
        first = table.filter(pc.equal(table["kind"], kind.value)).slice(0, count).to_pylist()
        rows.extend(
            {
                **row,
                "meaning": MEANING[kind],
                "detail": in_words(row["detail"], dimensions.get(row["collection"])),
            }
            for row in first
        )
    columns = ("kind", "collection", "source_id", "target_id", "partner_id", "distance", "meaning", "detail")
    return _table(f"{table.num_rows:,} findings; up to {count} of each kind", rows, columns)


def hot_spots(inv: Investigation) -> Table:
    """Where the damage clusters, the strongest first."""
    spots = _findings(inv)["hot_spots"]
    rows = [
        {
            "collection": ", ".join(name for name, _ in _in_order(inv, one.get("within", {}))),
            "finding": one["sentence"],
            "rows": one["rows"],
            "of": one["of"],
            "p": f"{one['p_value']:.1e}" if one["p_value"] >= _SMALLEST_P else f"< {_SMALLEST_P:.0e}",
        }
        for one in spots
    ]
    return _table(
        "Where the damage clusters",
        rows,
        ("collection", "finding", "rows", "of", "p"),
        empty="Nowhere more than chance would put there, or there was nothing to cluster.",
    )


def impact(inv: Investigation) -> Table:
    """What the damage costs: neighbours lost, with intervals where they were sampled."""
    found = _findings(inv)["impact"] or {}
    rows = [
        {
            "collection": name,
            "recall": f"{one['recall']:.3f} ({one['recall_low']:.3f}–{one['recall_high']:.3f})",
            "lost at least one neighbour": f"{one['changed_share']:.1%} of {one['queries']:,} asked",
            "method": one["method"],
        }
        for name, one in _in_order(inv, found)
    ]
    return _table(
        "What it costs",
        rows,
        ("collection", "recall", "lost at least one neighbour", "method"),
        empty="No cost was measured: nothing is damaged, or nobody could say (see what could not be seen).",
    )


def limits(inv: Investigation) -> Table:
    """What the diff could not see."""
    return _table("What this could not see", [{"limit": one} for one in _findings(inv)["limits"]], ("limit",))


def replay_commands(inv: Investigation) -> Table:
    """The commands that play the witness again."""
    rows = []
    if inv.run.repro_py.is_file():
        rows.append(
            {"what": "alone, with nothing of ours", "command": shlex.join(["python", str(inv.run.repro_py)])}
        )
    if inv.run.witness_json.is_file():
        witness = inv.run.read_json(inv.run.witness_json, made_by="race").get("witness")
        if witness is not None:
            command = shlex.join(["vecforensics", "race", str(inv.run.path), "--replay", witness["replay"]])
            rows.append({"what": "in the laboratory", "command": command})
    return _table("To play the witness again", rows, ("what", "command"))


def written(inv: Investigation) -> Table:
    """What the ledger says of the writes of this run, whoever made them; no rows where there were none."""
    from vecforensics.migrate import what_was_done

    done = what_was_done(inv.run)
    if done is None:
        return _table("Writes of this run", [], (), empty="Nothing has been written in this run.")
    rows = [{"collection": name, **counts} for name, counts in _in_order(inv, done.planned)]
    return _table(done.headline, rows, ("collection", "upsert", "delete", "quarantine"))


def verification(inv: Investigation) -> Table:
    """What the independent verification found after the repair; no rows where nothing was written."""
    if not inv.run.verification_json.is_file():
        return _table(
            "Verified by another path", [], (), empty="Nothing was written, so nothing was verified."
        )
    found = inv.run.read_json(inv.run.verification_json, made_by="migrate --repair")
    rows = [
        {
            "collection": name,
            "checked": one["checked"],
            "of": one["of"],
            "wrong": ", ".join(
                [
                    *(f"{kind} {count:,}" for kind, count in found["by_collection"][name].items()),
                    *_changed_beside(found.get("beside", {}).get(name)),
                ]
            )
            or "nothing",
        }
        for name, one in _in_order(inv, found["checked"])
    ]
    return _table(
        f"Verified by another path: {found['verdict']}", rows, ("collection", "checked", "of", "wrong")
    )


def _changed_beside(one: Mapping[str, Any] | None) -> Iterator[str]:
    if one and one["changed"]:
        yield f"{one['changed']:,} rows written again changed in {', '.join(one['columns'])}, which the case does not name"


def files(inv: Investigation) -> Table:
    """What lies in the run folder, evidence left out."""
    names = (
        inv.run.report_html,
        inv.run.report_md,
        inv.run.findings_json,
        inv.run.findings_parquet,
        inv.run.junit_xml,
        inv.run.summary_md,
        inv.run.manifest_json,
    )
    rows = [{"file": str(one), "bytes": one.stat().st_size} for one in names if one.is_file()]
    return _table("The report and its twins", rows, ("file", "bytes"))


def _findings(inv: Investigation) -> dict[str, Any]:
    return inv.run.read_json(inv.run.findings_json, made_by="diff")


def _in_order(inv: Investigation, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What was found of each collection, in the order in which the case file names them, as in the report."""
    order = {name: number for number, name in enumerate(inv.case.collections)}
    yield from sorted(found.items(), key=lambda item: order.get(item[0], len(order)))


def _table(
    caption: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, empty: str = ""
) -> Table:
    import pandas as pd

    return Table(
        caption, pd.DataFrame(list(rows), columns=list(columns)), empty or f"{caption}: nothing to show"
    )


def _shown(value: Any) -> str:
    if value is None or value != value:  # NaN is what pandas makes of nothing
        return ""
    return f"{value:,}" if isinstance(value, int) else printable(value, 2_000)


def _frames(stack: Sequence[Facts]) -> str:
    return " ← ".join(
        f"{one.text('function') or '(anonymous)'} {one.text('file')}:{one.count('line')}" for one in stack[:4]
    )
