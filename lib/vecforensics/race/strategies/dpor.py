"""Every order that can matter, each once: dynamic partial order reduction with source sets and sleep sets.

Two schedules that differ only in the order of events which do not touch the same thing have the same outcome; one of them is
enough. DPOR plays a schedule, looks at its races (pairs of events that touched the same thing and were not ordered by anything
else), and for each plans a schedule with the pair reversed. Source sets say when a planned event already covers a race, sleep
sets keep an event from being played again where nothing since has touched what it touches. Where no plan is left, every outcome
has been seen. Algorithm: Abdulla, Aronis, Jonsson, Sagonas: "Source Sets: A Foundation for Optimal Dynamic Partial Order
Reduction", J. ACM 64(4), 2017 (source-DPOR, algorithm 1).

An operation that a time-out or a cancellation took back never becomes an event of that schedule; it is planned as one that comes
before whatever took it back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab
from vecforensics.race.tracker import Summary, Tracker, dependent
from vecforensics.race.world import Op

if TYPE_CHECKING:
    from vecforensics.race.driver import Session
    from vecforensics.race.world import World

__all__ = ["Dpor"]


class _Node:
    """A choice on the current path: what was chosen, what is planned instead, what has been played, what sleeps."""

    __slots__ = ("absent", "chosen", "index", "planned", "played", "sleep", "summary")

    def __init__(self, chosen: str, index: int, sleep: dict[str, Summary]) -> None:
        self.chosen, self.index, self.sleep = chosen, index, sleep
        self.summary: Summary = {}
        self.planned: set[str] = set()
        self.played: dict[str, Summary] = {}
        self.absent: set[str] = set()  # planned, but not enabled here


class _Asleep(Exception):
    """Everything enabled sleeps: whatever follows has been played in another order."""


class Dpor:
    name = "dpor"

    def __init__(self) -> None:
        self.complete = False
        self._path: list[_Node] = []
        self._begun = False
        self._cut = False

    def step(self, lab: Lab) -> Run | None:
        while True:
            if self._begun and not self._next():
                # An endless program has endless orders: what lies beyond the cut was not played.
                self.complete = not self._cut
                return None
            self._begun = True
            run = self._play(lab)
            if run is not None:
                self._cut = self._cut or run.cut
                return run

    def _play(self, lab: Lab) -> Run | None:
        tracker = Tracker(lab.ground)
        walk = _Walk(self._path, tracker)

        def start(world: World) -> Session:
            world.tracker = tracker
            return lab.program.start_tracked(world, lab.ground.records, tracker)

        run: Run | None = None
        with contextlib.suppress(_Asleep):
            run = lab.play(walk, start=start)
        walk.settle()
        del self._path[len(tracker.events) :]
        self._plan(tracker)
        return run

    def _next(self) -> bool:
        """Go back to the deepest choice that has a plan which does not sleep, and take it."""
        path = self._path
        while path:
            node = path[-1]
            if node.chosen:
                node.played[node.chosen] = node.summary
            open_plans = sorted(node.planned - node.absent - node.played.keys() - node.sleep.keys())
            if open_plans:
                node.chosen, node.index = open_plans[0], -1
                return True
            path.pop()
        return False

    # --- plans -------------------------------------------------------------------------------------------------------

    def _plan(self, tracker: Tracker) -> None:
        path, events = self._path, tracker.events
        for first, second, clock in tracker.races:
            bit = events[first].bit
            # What came after `first` and did not need it, then `second`: whichever of these needs none of the others could have
            # come instead of `first`.
            seen = 0
            initials: list[str] = []
            for k in range(first + 1, second):
                hb = events[k].hb
                if not hb & bit:
                    if not hb & seen:
                        initials.append(events[k].name)
                    seen |= events[k].bit
            name = events[second].name
            if not clock & seen:
                # The touch itself needs none of them. Where the rest of `second` does (it is the last of a join), only `second`
                # ahead of the others keeps what follows the join where it was.
                initials = [name] if events[second].hb & seen else [*initials, name]
            self._add(path[first], initials)
        for op, index in tracker.revoked:
            self._add(path[index], [op.id])

    def _add(self, node: _Node, initials: Sequence[str]) -> None:
        covered = node.planned | node.played.keys() | node.sleep.keys() | {node.chosen}
        if not any(name in covered for name in initials):
            node.planned.add(initials[-1])


class _Walk(FirstInFirstOut):
    """Along the path, then first in, first out among what is awake."""

    def __init__(self, path: list[_Node], tracker: Tracker) -> None:
        self._path, self._tracker = path, tracker
        self._depth = 0
        self._sleep: dict[str, Summary] = {}

    def choose(self, enabled: Sequence[Op]) -> int:
        path, depth = self._path, self._depth
        self.settle()
        self._depth = depth + 1
        if depth < len(path):
            node = path[depth]
            if node.index < 0:
                node.index = self._find(enabled, node)
            self._sleep = {**node.sleep, **{k: v for k, v in node.played.items() if k != node.chosen}}
            return node.index
        sleep = self._sleep
        for index, op in enumerate(enabled):
            name = op.id
            if name not in sleep:
                path.append(_Node(name, index, sleep))
                return index
        raise _Asleep

    def forced(self, op: Op) -> None:
        """An event that nothing else could have come instead of, whatever was planned."""
        self.settle()
        path, depth = self._path, self._depth
        self._depth = depth + 1
        if depth == len(path):
            path.append(_Node(op.id, 0, self._sleep))
        node = path[depth]
        if node.chosen != op.id:
            node.absent.add(node.chosen)
            node.chosen, node.index = op.id, 0

    def settle(self) -> None:
        """The event chosen last is over: note what it touched, and wake what depends on it."""
        depth = self._depth
        if depth == 0 or depth > len(self._tracker.events):
            return
        node = self._path[depth - 1]
        node.summary = summary = self._tracker.events[depth - 1].summary
        if self._sleep:
            self._sleep = {
                name: other for name, other in self._sleep.items() if not dependent(other, summary)
            }

    def _find(self, enabled: Sequence[Op], node: _Node) -> int:
        for index, op in enumerate(enabled):
            if op.id == node.chosen:
                return index
        # Planned from a run in which it was there; the races said too little. Plan everything that is there.
        node.planned.update(op.id for op in enabled)
        node.absent.add(node.chosen)
        for index, op in enumerate(enabled):
            if op.id not in node.played and op.id not in node.sleep:
                node.chosen = op.id
                return index
        node.chosen = ""
        raise _Asleep
