"""How often does it fail in practice, and how quick is it: both migrations, many seeded runs, in simulated conditions.

A witness shows that an order of events is possible; it does not say how likely it is. Here the operations take realistic times
(`Physics`), a seed a run, and what stands in the target at the end is compared with what should. The figures that come of it
have a number of runs and an interval each: the share of records that are wrong, the mean latency of an insert and how long a run
takes (the one may fall while the other grows), the runs that crashed and those that left anything wrong. They are simulated and
say so; nothing of them was measured on a real provider.

What ends a run is what ends the process: in JavaScript an unhandled rejection, or the last answer; under asyncio the return of
`migrate`, since `asyncio.run` cancels whatever is left.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from vecforensics.race.check import damage, right
from vecforensics.race.driver import Program
from vecforensics.race.guard import controlled
from vecforensics.race.model import Moment
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.strategies.latency import Physics, Simulation, percentile
from vecforensics.race.world import Ground, Op, World
from vecforensics.records import Record

__all__ = [
    "Curve",
    "Metric",
    "Physics",
    "Played",
    "Rehearsal",
    "Share",
    "failure_curve",
    "play_out",
    "rehearse",
]

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Played:
    """One run. Times are virtual: latencies in milliseconds from the call of an upsert to its acknowledgement.

    `wrong`: records with damage at the end, of `records`. `console`: what a JavaScript program printed, as (time in s, level,
    text). `raised`: the exception that left `migrate`.
    """

    seed: str
    records: int
    wrong: int
    kinds: Mapping[str, int]
    premature: int
    inserts: int
    latency_mean_ms: float
    latency_p50_ms: float
    latency_p95_ms: float
    refusals: int
    crashed: bool
    raised: str
    returned_s: float | None
    duration_s: float
    console: tuple[tuple[float, str, str], ...] = ()

    @property
    def error_rate(self) -> float:
        return self.wrong / self.records


def play_out(
    program: Program,
    records: Sequence[Record],
    physics: Physics,
    seed: int | str,
    sink: Callable[[Op], None] | None = None,
    ground: Ground | None = None,
) -> Played:
    """One run of `program` on `records`. `sink` is told each acknowledged write in order, for a scenario that drives a real
    store. Runs in the calling thread: call it where no event loop runs, or through `in_own_thread`."""
    ground = ground if ground is not None else Ground(records)
    world = World(ground, sink=sink)
    with controlled(world.refuse, world.sleep):
        session = program.start(world, ground.records)
        simulation = Simulation(
            world, session, physics, f"latency/{seed}", exits_at_return=program.driver == "asyncio"
        )
        try:
            simulation.run()
            return _played(simulation, str(seed), session)
        finally:
            session.close()
            ground.restore()
            if world.refused is not None:
                raise world.refused


def _played(simulation: Simulation, seed: str, session: Any) -> Played:
    world = simulation.world
    found = damage(world, Moment.QUIESCENCE) if not right(world) else []
    latencies = [
        (timed.answered_s - timed.begun_s) * 1000.0
        for timed in simulation.writes
        if timed.answered_s is not None
    ]
    error = session.error
    return Played(
        seed=seed,
        records=len(world.ground.expected),
        wrong=len({item.record_id for item in found if item.record_id is not None}),
        kinds=dict(sorted(Counter(item.kind.value for item in found).items())),
        premature=len({key for key, _, _ in world.premature}),
        inserts=len(latencies),
        latency_mean_ms=statistics.fmean(latencies) if latencies else 0.0,
        latency_p50_ms=percentile(latencies, 0.50),
        latency_p95_ms=percentile(latencies, 0.95),
        refusals=simulation.refusals,
        crashed=simulation.crashed,
        raised=f"{type(error).__name__}: {error}" if error is not None else "",
        returned_s=simulation.returned_s,
        duration_s=world.now,
        console=tuple((line.time_s, line.level, line.text) for line in getattr(session, "console", ())),
    )


# --- figures -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """A figure with its interval (95 %) and the number of runs behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the before/after table. `method` says how it was come by."""

    name: str
    unit: str
    before: Share
    after: Share
    method: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Both migrations in the same simulated conditions. `physics_after` differs where the corrected side retries."""

    before: tuple[Played, ...]
    after: tuple[Played, ...]
    metrics: tuple[Metric, ...]
    physics: Physics
    physics_after: Physics
    seed: int
    before_name: str
    after_name: str

    def to_json(self) -> str:
        """Sorted keys, two spaces; the content of `race/rehearsal.json`."""
        runs = [
            {
                "side": side,
                "run": number,
                **{k: v for k, v in dataclasses.asdict(run).items() if k != "console"},
            }
            for side, played in (("before", self.before), ("after", self.after))
            for number, run in enumerate(played)
        ]
        plain = {
            "format": 1,
            "simulated": True,
            "seed": self.seed,
            "before": self.before_name,
            "after": self.after_name,
            "physics": dataclasses.asdict(self.physics),
            "physics_after": dataclasses.asdict(self.physics_after),
            "metrics": [dataclasses.asdict(metric) for metric in self.metrics],
            "runs": runs,
        }
        return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Rehearsal:
        """The rehearsal that `to_json` wrote, but for what a program printed. Raises ValueError where the text is none."""
        try:
            plain = json.loads(text)
            played: dict[str, list[Played]] = {"before": [], "after": []}
            for run in plain["runs"]:
                facts = {name: value for name, value in run.items() if name not in ("side", "run")}
                played[run["side"]].append(Played(**facts))
            metrics = [
                Metric(**{**metric, "before": Share(**metric["before"]), "after": Share(**metric["after"])})
                for metric in plain["metrics"]
            ]
            return cls(
                before=tuple(played["before"]),
                after=tuple(played["after"]),
                metrics=tuple(metrics),
                physics=Physics(**plain["physics"]),
                physics_after=Physics(**plain["physics_after"]),
                seed=plain["seed"],
                before_name=plain["before"],
                after_name=plain["after"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no rehearsal ({error})") from None

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(m.name, _shown(m.before, m.unit), _shown(m.after, m.unit), m.method) for m in self.metrics]

    def __str__(self) -> str:
        head = f"Rehearsal (simulated): {self.before_name} against {self.after_name}, {len(self.before)} runs each"
        return "\n".join(
            (head, *(f"  {name:<12} {b:>28}  →  {a:<28} {how}" for name, b, a, how in self._rows()))
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        head = "".join(
            f"<th style='text-align:left'>{title}</th>" for title in ("figure", "before", "after", "method")
        )
        return (
            f"<table><caption style='text-align:left'>Simulated: {escape(self.before_name)} against "
            f"{escape(self.after_name)}, {len(self.before)} runs each</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _shown(share: Share, unit: str) -> str:
    if unit == "share":
        return f"{share.value:.1%} ({share.low:.1%}–{share.high:.1%})"
    if unit in ("ms", "s") and not share.n:
        return "not measured"
    if unit == "ms":
        return f"{share.value:.0f} ms ({share.low:.0f}–{share.high:.0f})"
    if unit == "s":
        return f"{share.value:.1f} s ({share.low:.1f}–{share.high:.1f})"
    return f"{share.value:.0f} of {share.n} ({share.low:.1f}–{share.high:.1f})"


def rehearse(
    before: Program,
    after: Program,
    records: Sequence[Record],
    physics: Physics,
    runs: int,
    seed: int,
    physics_after: Physics | None = None,
) -> Rehearsal:
    """Both programs, `runs` times each on the same records, run k of both with the seed `seed`/k.

    `physics_after`: conditions of the corrected side; by default the same, with the client's retry of 429 switched on, since the
    corrected migration runs behind one retry authority.
    """
    after_physics = physics_after or dataclasses.replace(physics, retry_rate_limited=True)

    def work() -> tuple[tuple[Played, ...], tuple[Played, ...]]:
        ground = Ground(records)
        return (
            tuple(play_out(before, records, physics, f"{seed}/{k}", ground=ground) for k in range(runs)),
            tuple(play_out(after, records, after_physics, f"{seed}/{k}", ground=ground) for k in range(runs)),
        )

    first, second = in_own_thread(work)
    refused = sum(run.refusals for run in second)
    retried = (
        f" The corrected side repeats a request that was refused with 429 after the time that the provider asks for; there were "
        f"{refused:,} such in its runs."
        if refused and after_physics.retry_rate_limited and not physics.retry_rate_limited
        else ""
    )
    metrics = (
        Metric(
            "error_rate",
            "share",
            mean_share([run.error_rate for run in first]),
            mean_share([run.error_rate for run in second]),
            f"Records wrong in the target at the end of a run, of all; mean over runs, 95 % bootstrap interval; "
            f"simulated.{retried}",
        ),
        Metric(
            "latency_ms",
            "ms",
            mean_share([run.latency_mean_ms for run in first if run.inserts]),
            mean_share([run.latency_mean_ms for run in second if run.inserts]),
            "From the call of an insert to its acknowledgement; mean over runs of the run's mean, 95 % bootstrap interval; "
            "simulated.",
        ),
        Metric(
            "duration_s",
            "s",
            mean_share([run.duration_s for run in first if not _broke_off(run)]),
            mean_share([run.duration_s for run in second if not _broke_off(run)]),
            "From the start of a run to its end, by the virtual clock; mean over the runs that did not crash, 95 % bootstrap "
            "interval; simulated.",
        ),
        Metric(
            "crashes",
            "count",
            count_of([_broke_off(run) for run in first]),
            count_of([_broke_off(run) for run in second]),
            "Runs that ended with an unhandled error; interval after Clopper and Pearson, 95 %, in runs; simulated.",
        ),
        Metric(
            "failed_runs",
            "count",
            count_of([run.wrong > 0 for run in first]),
            count_of([run.wrong > 0 for run in second]),
            "Runs with at least one wrong record; interval after Clopper and Pearson, 95 %, in runs; simulated.",
        ),
    )
    return Rehearsal(first, second, metrics, physics, after_physics, seed, before.name, after.name)


def _broke_off(run: Played) -> bool:
    """Whether an unhandled error ended the run."""
    return run.crashed or bool(run.raised)


def mean_share(values: Sequence[float]) -> Share:
    """The mean with a percentile bootstrap interval, seeded. Where all values agree the interval is that one value."""
    if not values:
        return Share(0.0, 0.0, 0.0, 0)
    mean = statistics.fmean(values)
    if len(set(values)) == 1:
        return Share(mean, mean, mean, len(values))
    import numpy as np
    from scipy.stats import bootstrap

    result = bootstrap(
        (np.asarray(values),),
        np.mean,
        confidence_level=_CONFIDENCE,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(57),
    )
    return Share(
        mean, float(result.confidence_interval.low), float(result.confidence_interval.high), len(values)
    )


def count_of(hits: Sequence[bool]) -> Share:
    """How many, with the Clopper–Pearson interval of the share times the number of runs."""
    from scipy.stats import binomtest

    n, k = len(hits), sum(hits)
    interval = binomtest(k, n).proportion_ci(confidence_level=_CONFIDENCE, method="exact")
    return Share(float(k), float(interval.low) * n, float(interval.high) * n, n)


# --- the curve ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """`failing`: share of runs with a wrong record or a crash, Wilson interval; `error_rate`: mean share of wrong records."""

    concurrency: int
    failing: Share
    error_rate: Share


@dataclass(frozen=True, slots=True)
class Curve:
    """Failure probability over the number of connections to the embedding provider."""

    program: str
    points: tuple[CurvePoint, ...]
    physics: Physics
    seed: int

    def __str__(self) -> str:
        lines = [f"Failure probability of {self.program} over concurrency (simulated)"]
        for point in self.points:
            bar = "█" * round(point.failing.value * 30)
            lines.append(
                f"  {point.concurrency:>4} connections  {_shown(point.failing, 'share'):>24}  {bar:<30}  "
                f"records wrong {_shown(point.error_rate, 'share')}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{point.concurrency}</td><td>{_shown(point.failing, 'share')}</td>"
            f"<td>{_shown(point.error_rate, 'share')}</td></tr>"
            for point in self.points
        )
        return (
            f"<table><caption style='text-align:left'>Simulated: how likely a run of {escape(self.program)} fails</caption>"
            "<thead><tr><th>connections</th><th>runs that fail</th><th>records wrong</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def failure_curve(
    program: Program,
    records: Sequence[Record],
    physics: Physics,
    runs: int,
    seed: int,
    concurrencies: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
) -> Curve:
    """How likely a run fails with so many connections (`embed_sockets`), everything else as in `physics`."""

    def work() -> tuple[CurvePoint, ...]:
        ground = Ground(records)
        points = []
        for concurrency in concurrencies:
            here = dataclasses.replace(physics, embed_sockets=concurrency)
            played = [play_out(program, records, here, f"{seed}/{k}", ground=ground) for k in range(runs)]
            points.append(
                CurvePoint(
                    concurrency,
                    _wilson([run.wrong > 0 or run.crashed for run in played]),
                    mean_share([run.error_rate for run in played]),
                )
            )
        return tuple(points)

    return Curve(program.name, in_own_thread(work), physics, seed)


def _wilson(hits: Sequence[bool]) -> Share:
    from scipy.stats import binomtest

    interval = binomtest(sum(hits), len(hits)).proportion_ci(confidence_level=_CONFIDENCE, method="wilson")
    return Share(sum(hits) / len(hits), float(interval.low), float(interval.high), len(hits))
