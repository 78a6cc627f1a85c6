"""The tables that the notebooks show, read from the run folder; each is a pandas frame underneath (`.frame`).

What comes from strangers is escaped; nothing is cut, since half a sentence of evidence is none.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from vecforensics.errors import printable
from vecforensics.evidence import Evidence
from vecforensics.finding_words import in_words
from vecforensics.findings import MEANING, Kind
from vecforensics.investigation import Investigation

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Table",
    "examples",
    "files",
    "hot_spots",
    "impact",
    "inputs",
    "limits",
    "log_events",
    "replay_commands",
    "stores",
    "verification",
]

_NOTHING: Final = "nothing to show"


@dataclass(frozen=True, slots=True)
class Table:
    """A frame that shows itself whole, with a caption; `caption` alone where there are no rows."""

    caption: str
    frame: pd.DataFrame

    def __str__(self) -> str:
        if self.frame.empty:
            return f"{printable(self.caption)}: {_NOTHING}"
        return (
            f"{printable(self.caption)}\n{self.frame.map(_shown).to_string(index=False, max_colwidth=None)}"
        )

    def _repr_html_(self) -> str:
        from markupsafe import escape

        if self.frame.empty:
            return f"<p>{escape(self.caption)}: {_NOTHING}</p>"
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):
            table = self.frame.map(_shown).to_html(index=False, escape=True, border=0)
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
            "bytes": one["bytes"],
            "sha256": one["sha256"] or one["note"],
        }
        for one in found
    ]
    return _table("Inputs before the run", rows, ("input", "name", "bytes", "sha256"))


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
        for name, one in evidence.collections.items()
    ]
    return _table(
        "How the targets were read",
        rows,
        ("collection", "target_uri", "snapshot", "freshness", "write_blocked"),
    )


def log_events(inv: Investigation, count: int = 20) -> Table:
    """The first events of the logs, failures first."""
    file = inv.run.evidence / "logs.jsonl"
    with file.open(encoding="utf-8") as lines:
        events = [json.loads(line) for line in islice(lines, 100_000)]
    failed = [event for event in events if event["action"] in ("failed", "crashed")]
    shown = (failed + [event for event in events if event not in failed[:count]])[:count]
    rows = [
        {
            "time": event["time"] or "",
            "level": event["level"],
            "message": event["message"],
            "ids": ", ".join(dict.fromkeys(event["record_ids"] or event["listed_ids"])),
            "vector id": event["vector_id"] or "",
            "at": _frames(event["stack"]),
        }
        for event in shown
    ]
    caption = f"{len(failed):,} of {len(events):,} log events are failures"
    return _table(caption, rows, ("time", "level", "message", "ids", "vector id", "at"))


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
            "collection": one["collection"],
            "finding": one["sentence"],
            "rows": one["rows"],
            "of": one["of"],
            "p": f"{one['p_value']:.1e}",
        }
        for one in spots
    ]
    return _table("Where the damage clusters", rows, ("collection", "finding", "rows", "of", "p"))


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
        for name, one in found.items()
    ]
    return _table("What it costs", rows, ("collection", "recall", "lost at least one neighbour", "method"))


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


def verification(inv: Investigation) -> Table:
    """What the independent verification found after the repair; no rows where nothing was written."""
    if not inv.run.verification_json.is_file():
        return _table("Nothing was written, so nothing was verified", [], ("collection",))
    found = inv.run.read_json(inv.run.verification_json, made_by="migrate --repair")
    rows = [
        {
            "collection": name,
            "checked": one["checked"],
            "of": one["of"],
            "wrong": ", ".join(f"{kind} {count:,}" for kind, count in found["by_collection"][name].items())
            or "nothing",
        }
        for name, one in found["checked"].items()
    ]
    return _table(
        f"Verified by another path: {found['verdict']}", rows, ("collection", "checked", "of", "wrong")
    )


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


def _table(caption: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    import pandas as pd

    return Table(caption, pd.DataFrame(list(rows), columns=list(columns)))


def _shown(value: Any) -> str:
    if value is None or value != value:  # NaN is what pandas makes of nothing
        return ""
    return f"{value:,}" if isinstance(value, int) else printable(value, 2_000)


def _frames(stack: Sequence[Mapping[str, Any]]) -> str:
    return " ← ".join(f"{one['function'] or '(anonymous)'} {one['file']}:{one['line']}" for one in stack[:4])
