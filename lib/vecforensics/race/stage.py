"""The reproduce stage: the case's suspect on the case's own records, its corrected counterpart, and both in simulated conditions.

Four questions, each answered alone so that a notebook can ask them one after the other:

    reproduce          which order of events does the damage?        race/witness.json, repro.py, swimlanes.svg, witness.md, …
    prove_corrected    does the corrected code have such an order?   race/corrected.json
    rehearse_case      how often, and how quick, in practice?        race/rehearsal.json
    failure_curve_of_case   and with how much in flight at once?     race/curve.json

The records are those of the frozen evidence: the ones that the diff found mangled, dangling or missing come first, with their
parents, so that the witness speaks of ids that the person knows. Where the code turns out to do other damage than those records
show, it is explored again on records that show what it does.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics.case import Case
from vecforensics.case_records import parents_first, records_of
from vecforensics.errors import CaseError, printable
from vecforensics.evidence import Evidence
from vecforensics.findings import Kind
from vecforensics.race.counterpart import counterpart
from vecforensics.race.exchange import digest_of_records, exploration_from_json, parse_replay
from vecforensics.race.explore import explore
from vecforensics.race.model import Exploration
from vecforensics.race.records import generate_records
from vecforensics.race.rehearsal import Curve, Physics, Rehearsal, failure_curve, rehearse
from vecforensics.race.suspect import load_suspect
from vecforensics.records import Record, canonical_json
from vecforensics.run_folder import RunFolder, write_whole

__all__ = [
    "CORRECTED",
    "Unexplored",
    "failure_curve_of_case",
    "physics_of",
    "prove_corrected",
    "rehearse_case",
    "reproduce",
]

# A reference and not an import: stages do not know one another.
CORRECTED: Final = "vecforensics.migrate.strategies.waves:migrate"

# What a race leaves behind, the telling kinds first: the witness should show what the diff found.
_TELLING: Final = (
    Kind.MANGLED_ID,
    Kind.DANGLING,
    Kind.PREMATURE,
    Kind.SWAPPED,
    Kind.BROADCAST,
    Kind.MISSING,
    Kind.STALE,
)
_RECORDS: Final = 12
_SCHEDULES: Final = 2_000
# At this size a corrected migration with bounded parallelism has some hundred orders: few enough for all of them.
_PROVABLE: Final = 4
# Seven points of the curve: some seconds in all.
_CURVE_RECORDS: Final = 200
_CURVE_RUNS: Final = 12
# Beyond so many rows a side, the first ones stand for all: records are Python objects here.
_MOST_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Unexplored:
    """The explicit answer where there is nothing to explore."""

    reason: str
    verdict: str = "unexplored"

    def to_json(self) -> str:
        """The reason, where a result was expected."""
        return canonical_json({"verdict": self.verdict, "reason": self.reason}) + "\n"

    def __str__(self) -> str:
        return printable(self.reason)

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.reason)}</p>"


_NO_SUSPECT: Final = Unexplored(
    "The case names no suspect, so no code was explored. Name one: suspect: migration.js"
)


def reproduce(
    case: Case,
    run: RunFolder,
    *,
    records: int = _RECORDS,
    schedules: int = _SCHEDULES,
    seed: int = 0,
    **settings: Any,
) -> Exploration | Unexplored:
    """Explore the suspect on `records` of the case's own, and write what the views make of it. `settings`: as for `explore`."""
    if case.suspect is None:
        return _NO_SUSPECT
    if settings.get("replay") is not None:
        # One schedule played again is a look, not a result: the run stays as it is.
        chosen = _as_explored(run, records, seed, settings["replay"])
        found = explore(case.suspect, records=chosen, folder=case.folder, **settings)
        return replace(found, replayed_from=str(run.path))
    with run.stage("reproduce", {"records": records, "schedules": schedules, "seed": seed}):
        suspect, folder = case.suspect, case.folder

        def explored(chosen: Sequence[Record], prefer: Sequence[str]) -> Exploration:
            return explore(
                suspect,
                records=chosen,
                schedules=schedules,
                seed=seed,
                prefer=prefer,
                folder=folder,
                **settings,
            )

        chosen, kinds = _chosen(run, records, seed)
        found = explored(chosen, kinds)
        shown = _shown(kinds, found.failures)
        if shown and shown[0] != kinds[0]:
            again = explored(_chosen(run, records, seed, shown)[0], shown)
            found = again if _shown(shown, again.failures) else found
        found = replace(found, replayed_from=str(run.path))
        _draw(case, run, found)
        return found


def prove_corrected(
    case: Case, run: RunFolder, *, records: int = _PROVABLE, schedules: int = _SCHEDULES, seed: int = 0
) -> Exploration | Unexplored:
    """Explore the corrected code exhaustively, on as many records as can be exhausted."""
    if case.suspect is None:
        return _NO_SUSPECT
    corrected = case.corrected or CORRECTED
    with run.locked():
        chosen, _ = _chosen(run, records, seed)
        found = explore(
            corrected, records=chosen, schedules=schedules, seed=seed, prove=True, folder=case.folder
        )
        write_whole(run.corrected_json, found.to_json())
        return found


def rehearse_case(case: Case, run: RunFolder, *, runs: int | None = None) -> Rehearsal | Unexplored:
    """Suspect against corrected, `case.rehearsal.runs` times each (or `runs`) under the case's physics, in virtual time."""
    if case.suspect is None:
        return _NO_SUSPECT
    with run.locked():
        migrated = parents_first(_frozen(run).values(), case.rehearsal.order_by)
        result = rehearse(
            load_suspect(case.suspect, case.folder),
            load_suspect(case.corrected or CORRECTED, case.folder),
            migrated[: case.rehearsal.records],
            physics_of(case),
            runs or case.rehearsal.runs,
            case.rehearsal.seed,
        )
        write_whole(run.rehearsal_json, result.to_json())
        return result


def failure_curve_of_case(
    case: Case, run: RunFolder, *, records: int = _CURVE_RECORDS, runs: int = _CURVE_RUNS
) -> Curve | Unexplored:
    """How likely the suspect fails on the first `records` records, over the connections to the provider."""
    if case.suspect is None:
        return _NO_SUSPECT
    with run.locked():
        migrated = parents_first(_frozen(run).values(), case.rehearsal.order_by)[:records]
        program = load_suspect(case.suspect, case.folder)
        curve = failure_curve(program, migrated, physics_of(case), runs, case.rehearsal.seed)
        write_whole(run.race / "curve.json", canonical_json(asdict(curve)) + "\n")
        return curve


def physics_of(case: Case) -> Physics:
    """The conditions given under `rehearsal.physics`. Raises CaseError for an unknown knob or a value of the wrong type."""
    known = Physics.__dataclass_fields__
    for name, value in case.rehearsal.physics.items():
        if name not in known:
            raise CaseError(
                f"unknown knob {name!r}", where="rehearsal.physics", hint=f"Known: {', '.join(known)}"
            )
        wants_bool = isinstance(known[name].default, bool)
        if wants_bool != isinstance(value, bool) or (not wants_bool and value < 0):
            raise CaseError(
                f"{name} cannot be {value}",
                where="rehearsal.physics",
                hint=f"Its default is {known[name].default}",
            )
    values: Any = case.rehearsal.physics
    return Physics(**values)


# --- which records ------------------------------------------------------------------------------------------------------


def _frozen(run: RunFolder) -> dict[tuple[str, str], Record]:
    evidence = Evidence.open(run.evidence)
    return records_of({name: _first(evidence.iter_source(name)) for name in evidence.collections})


def _first(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.num_rows
        if rows >= _MOST_ROWS:
            return


def _shown(kinds: Sequence[str], failures: Container[str]) -> tuple[str, ...]:
    """The kinds that the diff found and that the suspect produces."""
    return tuple(kind for kind in kinds if kind in failures)


def _as_explored(run: RunFolder, count: int, seed: int, replay: str) -> Sequence[Record]:
    """The records of the exploration that printed `replay`: those of all telling kinds, or of those that the suspect produces."""
    chosen, kinds = _chosen(run, count, seed)
    origin = parse_replay(replay).origin
    if origin.startswith("g") and origin != f"g{digest_of_records(chosen)}" and run.witness_json.is_file():
        found = exploration_from_json(run.witness_json.read_text(encoding="utf-8"), str(run.witness_json))
        return _chosen(run, count, seed, _shown(kinds, found.failures))[0]
    return chosen


def _chosen(
    run: RunFolder, count: int, seed: int, only: Sequence[str] | None = None
) -> tuple[Sequence[Record], tuple[str, ...]]:
    """`count` records that the damage points at (of the kinds `only`), parents first, and kinds that a witness should show."""
    frozen = _frozen(run)
    by_id = {record.id: record for record in frozen.values()}
    wanted: dict[str, Record] = {}

    def take(record: Record) -> None:
        family = [by_id[parent] for parent in record.depends_on if parent in by_id]
        if len(wanted.keys() | {one.id for one in (record, *family)}) <= count:
            wanted.update({one.id: one for one in (*family, record)})

    kinds, damaged = _damaged(run, only)
    for key in damaged:
        if key in frozen and len(wanted) < count:
            take(frozen[key])
    for record in frozen.values():
        if len(wanted) >= count:
            break
        if record.depends_on or len(by_id) <= count:
            take(record)
    for record in frozen.values():
        if len(wanted) >= count:
            break
        take(record)
    return (parents_first(wanted.values()) if wanted else generate_records(count, seed)), kinds


def _damaged(
    run: RunFolder, only: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The telling kinds that the diff found, and the records behind them, those with several kinds of damage first in line."""
    if not run.findings_parquet.is_file():
        return (), []
    table = pq.read_table(run.findings_parquet, columns=["collection", "source_id", "kind"])
    found: list[tuple[str, str]] = []
    kinds: list[str] = []
    for kind in _TELLING if only is None else map(Kind, only):
        rows = table.filter(
            pc.and_(pc.equal(table["kind"], kind.value), pc.is_valid(table["source_id"]))
        ).slice(0, 64)
        if rows.num_rows:
            kinds.append(kind.value)
            found += zip(rows["collection"].to_pylist(), rows["source_id"].to_pylist(), strict=True)
    return tuple(kinds), list(dict.fromkeys(found))


# --- what is left in the run folder ----------------------------------------------------------------------------------------


def _draw(case: Case, run: RunFolder, found: Exploration) -> None:
    from vecforensics.race.views.files import NAMES, exploration_files

    instead = None
    if found.witness is not None:
        instead = counterpart(load_suspect(case.corrected or CORRECTED, case.folder), found.witness)
        if instead.outcome.failing:
            instead = None
    # The counterpart is answered one at a time, also where the witness is not.
    same = "in the same order" if found.witness and found.witness.granularity == "quiet" else "one at a time"
    title = f"The corrected code, {same}" if instead is not None else ""
    texts = exploration_files(found, case.folder, beside=instead, beside_title=title)
    for name in NAMES:
        if name in texts:
            write_whole(run.race / name, texts[name])
        else:
            (run.race / name).unlink(missing_ok=True)
