"""Completion order by the clock: every operation takes as long as a physical model says, in virtual time.

Not a search but a simulation, one run a seed. Requests to the embedding provider leave through a limited number of client
connections and queue there first come, first served, as an HTTP agent does it; the provider's latency is lognormal, and it may
refuse with 429, by a token bucket or at random. The store answers the more slowly the more is in flight. Operations wait in a
heap by their completion time, so that thousands in flight cost no more than a few.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from vecforensics.race.driver import Session
from vecforensics.race.world import (
    DELETE,
    EMBED,
    EXECUTOR,
    FETCH,
    TIMER,
    UPSERT,
    VISIBLE,
    Op,
    RateLimited,
    World,
)

__all__ = ["Physics", "Simulation", "Timed", "percentile"]

_ROUNDS = 10_000
_IDLE = 10_000


@dataclass(frozen=True, slots=True)
class Physics:
    """The outside world in numbers. Latencies are lognormal: `median` in milliseconds, `sigma` of the logarithm (0: constant).

    embed_median_ms, embed_sigma       the provider's answer to one embedding request
    embed_sockets                      connections of the client to the provider; further requests queue. 0: no limit
    embed_rate_per_s, embed_burst      token bucket of the provider; what finds it empty is answered 429. 0: no limit
    embed_429_per_10k                  requests of ten thousand that are answered 429 at random
    refusal_ms                         how long a 429 takes to arrive
    retry_after_s                      what a 429 asks for
    store_median_ms, store_sigma       the store's answer to one upsert, fetch or delete in an idle store
    store_capacity                     operations in flight at which the store is half as fast: latency × (1 + flying / capacity);
                                       0: load does not matter
    executor_median_ms                 a call that the program hands to a thread
    crash_on_unhandled_rejection       JavaScript only: an unhandled rejection ends the process, as Node has it since 15
    retry_rate_limited                 requests refused with 429 are repeated by the client library after `retry_after_s`, and the
                                       program never sees them
    """

    embed_median_ms: float = 100.0
    embed_sigma: float = 0.35
    embed_sockets: int = 32
    embed_rate_per_s: float = 0.0
    embed_burst: int = 0
    embed_429_per_10k: float = 0.0
    refusal_ms: float = 20.0
    retry_after_s: float = 1.0
    store_median_ms: float = 100.0
    store_sigma: float = 0.35
    store_capacity: int = 64
    executor_median_ms: float = 5.0
    crash_on_unhandled_rejection: bool = True
    retry_rate_limited: bool = False


@dataclass(slots=True)
class Timed:
    """An operation with its times in seconds of virtual time. `answered_s` is None while it has no answer."""

    op: Op
    begun_s: float
    answered_s: float | None = None
    refused: int = 0


@dataclass
class Simulation:
    """One run in virtual time. `writes`: upserts in the order in which they were begun. `refusals`: answers of 429."""

    world: World
    session: Session
    physics: Physics
    seed: str
    exits_at_return: bool
    writes: list[Timed] = field(default_factory=list)
    refusals: int = 0
    operations: int = 0
    crashed: bool = False
    returned_s: float | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  (a seeded model, not a secret)
        self._heap: list[tuple[float, int, Timed, bool]] = []
        self._queue: deque[Timed] = deque()
        self._sockets = self.physics.embed_sockets or 10**9
        self._busy = 0
        self._in_store = 0
        self._count = 0
        self._tokens = float(self.physics.embed_burst)
        self._filled_s = 0.0
        if not self.physics.crash_on_unhandled_rejection and hasattr(self.session, "forgive_rejections"):
            self.session.forgive_rejections()

    def run(self) -> None:
        """To the last answer, to the crash, or to the return where that ends the process."""
        world, session = self.world, self.session
        pending, timers, heap = world.pending, world.timers, self._heap
        idle = 0
        while True:
            quiet = session.advance(_ROUNDS)
            if pending:
                for op in pending:
                    self._begin(Timed(op, world.now))
                pending.clear()
                idle = 0
            if session.done() and self.returned_s is None:
                self.returned_s = world.now
                if self.exits_at_return or session.error is not None:
                    return
            if session.unhandled is not None:
                self.crashed = True
                return
            if getattr(session, "gone", False):
                return  # process.exit: what is on its way is lost
            if heap and (not timers or heap[0][0] <= timers[0].when):
                when, _, timed, refused = heapq.heappop(heap)
                world.now = max(world.now, when)
                self._answer(timed, refused)
            elif timers:
                timer = timers.pop(0)
                world.now = max(world.now, timer.when)
                world.complete(timer)
                idle += 1
            elif quiet:
                return
            else:
                idle += 1
            if idle > _IDLE:
                return

    # --- the model -----------------------------------------------------------------------------------------------------

    def _begin(self, timed: Timed) -> None:
        kind = timed.op.kind
        self.operations += 1
        if kind == EMBED:
            if self._busy < self._sockets:
                self._request(timed)
            else:
                self._queue.append(timed)
            return
        physics, now = self.physics, self.world.now
        if kind in (UPSERT, FETCH, DELETE):
            load = 1.0 + self._in_store / physics.store_capacity if physics.store_capacity else 1.0
            self._in_store += 1
            if kind == UPSERT:
                self.writes.append(timed)
            self._push(now + load * self._latency(physics.store_median_ms, physics.store_sigma), timed, False)
        elif kind == EXECUTOR:
            self._push(now + physics.executor_median_ms / 1000.0, timed, False)
        elif kind == VISIBLE:
            self._push(now, timed, False)

    def _request(self, timed: Timed) -> None:
        """An embedding request leaves through a free connection."""
        physics, now = self.physics, self.world.now
        self._busy += 1
        if self._refused():
            self.refusals += 1
            self._push(now + physics.refusal_ms / 1000.0, timed, True)
        else:
            self._push(now + self._latency(physics.embed_median_ms, physics.embed_sigma), timed, False)

    def _refused(self) -> bool:
        physics, now = self.physics, self.world.now
        if physics.embed_rate_per_s:
            grown = self._tokens + (now - self._filled_s) * physics.embed_rate_per_s
            self._tokens, self._filled_s = min(float(max(1, physics.embed_burst)), grown), now
            if self._tokens < 1.0:
                return True
            self._tokens -= 1.0
        return bool(physics.embed_429_per_10k) and self._random.random() * 10_000 < physics.embed_429_per_10k

    def _latency(self, median_ms: float, sigma: float) -> float:
        return median_ms / 1000.0 * (math.exp(self._random.gauss(0.0, sigma)) if sigma else 1.0)

    def _push(self, when: float, timed: Timed, refused: bool) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, timed, refused))

    def _answer(self, timed: Timed, refused: bool) -> None:
        op, world = timed.op, self.world
        if op.kind == EMBED:
            self._busy -= 1
            if refused and self.physics.retry_rate_limited:
                timed.refused += 1
                self._again(timed)
            else:
                timed.answered_s = world.now
                if refused:
                    self._refuse(op)
                elif not op.answered():
                    world.complete(op)
            if self._queue and self._busy < self._sockets:
                self._request(self._queue.popleft())
            return
        if op.kind in (UPSERT, FETCH, DELETE):
            self._in_store -= 1
        if op.answered():
            return  # cancelled on its way
        timed.answered_s = world.now
        world.complete(op)

    def _again(self, timed: Timed) -> None:
        """The client library waits as long as it was asked to and sends the request once more, on the virtual clock."""
        timer = Op(TIMER, f"{self.physics.retry_after_s:g}", timed.op.task, None)
        timer.payload = lambda: (
            self._queue.append(timed) if self._busy >= self._sockets else self._request(timed)
        )
        self.world.begin_timer(timer, self.world.now + self.physics.retry_after_s)

    def _refuse(self, op: Op) -> None:
        error = RateLimited("429 too many requests")
        error.retry_after = error.retry_after_s = self.physics.retry_after_s
        self.world.injected.append(error)
        op.fail(error)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank); 0 where there is none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
