"""What happened before what, and which events touched the same thing, while a schedule is played.

An *event* is the completion of one operation together with all the program code that runs until it is quiet again. Each task,
and each callback on its way, carries a clock: the set of events that it has seen, as the bits of an integer. A task learns of an
event when it is woken by it, when it waits for a task that has seen it, when it touches what that event touched before.

Whenever something is touched that an earlier event touched in a conflicting way, and the clock does not hold that event, the two
could have happened the other way round: that is a *race*, and the strategy DPOR will reverse it. Names of shared things are the
same in every schedule (how the thing is reached from the program's source), so that what an event touched can be compared
between schedules.

Touches come from the world (ids in the store), from asyncio's own primitives, and from the person's lines (`shared_lines.py`),
which are followed with the interpreter's trace function. That slows a run down about ten times; only DPOR asks for it.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any, Final

import numpy as np

from vecforensics.race.places import is_own_code
from vecforensics.race.shared_lines import Access, Lines, lines_of
from vecforensics.race.shared_names import ALL
from vecforensics.race.shared_objects import (
    NOTHING,
    category_of,
    evaluated,
    follow,
    holds,
    may_write,
    root_of,
)
from vecforensics.race.world import DELETE, FETCH, TIMER, UPSERT, VISIBLE, Ground, Op

__all__ = ["Summary", "Touch", "Tracker", "conflict", "dependent"]

# File of asyncio -> method -> mode; "*" for all others.
_PRIMITIVES: Final[dict[str, dict[str, str | None]]] = {
    "locks.py": {"is_set": "r", "locked": "r", "__init__": None, "*": "w"},
    "queues.py": {"empty": "r", "qsize": "r", "full": "r", "__init__": None, "*": "w"},
    "timeouts.py": {"_on_timeout": "w", "__aexit__": "w", "reschedule": "w", "expired": "r"},
    "taskgroups.py": {"_abort": "w", "create_task": "r"},
}

_FIRST: Final = 4  # bytes of code before the body of a coroutine, at least
_SUSPENDABLE: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

Token = tuple[Any, ...]
Touch = tuple[Any, str]  # key, mode
Summary = dict[Token, set[Touch]]
"""What one event touched: for each thing the keys and modes."""

_READING: Final = "rn"
_ADDING: Final = "ik"


def conflict(one: Touch, two: Touch) -> bool:
    """Whether two touches of one thing can be told apart when they are swapped.

    r reads, w writes, n asks for the length; i adds to a list, k adds a key to a dictionary or set, both where the order of
    additions is never looked at.
    """
    (key, mode), (other_key, other) = one, two
    if mode in _READING and other in _READING:
        return False
    if mode in _ADDING or other in _ADDING:
        if mode not in _ADDING:
            mode, other_key, other = other, key, mode
        if other in _ADDING:
            return False
        return mode == "i" or other == "n" or other_key == ALL
    if mode == "n":
        return other == "w" and other_key == ALL
    if other == "n":
        return mode == "w" and key == ALL
    return bool(key in (other_key, ALL) or other_key == ALL)


def dependent(one: Summary, two: Summary) -> bool:
    """Whether an event that sleeps has to be woken after another. Two children of one join are: the later of them carries on with
    what follows the join, so the sleeper may do more now than it did when it was played."""
    if len(one) > len(two):
        one, two = two, one
    for token, touches in one.items():
        others = two.get(token)
        if others is not None and (
            token[0] == "join" or any(conflict(a, b) for a in touches for b in others)
        ):
            return True
    return False


class _Happened:
    """An event of this run."""

    __slots__ = ("bit", "hb", "name", "summary")

    def __init__(self, name: str, bit: int, created: int) -> None:
        self.name, self.bit = name, bit
        self.hb = created
        self.summary: Summary = {}


class Tracker:
    """The clocks and touches of one run. `clock` is that of the code that runs now."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.clock = 0
        self.events: list[_Happened] = []
        self.races: list[tuple[int, int, int]] = []
        """(earlier event, later event, clock of the later at the touch)"""
        self.revoked: list[tuple[Op, int]] = []
        self._raced: set[tuple[int, int, int]] = set()
        # thing -> [(event, key, mode, clock)]
        self._touched: defaultdict[Token, list[tuple[int, Any, str, int]]] = defaultdict(list)
        self._names: dict[int, tuple[Token, Any]] = {}
        self._handlers: dict[CodeType, Callable[[FrameType], Any] | None] = {}
        self._timer = 0
        self.where = "main"
        self.root: str | None = None

    # --- events ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The index of the event that runs; -1 before the first."""
        return len(self.events) - 1

    def created(self, op: Op) -> None:
        op.clock = self.clock
        if op.kind == TIMER:
            # Of two equal delays the earlier timer fires first, so the order in which they are set matters.
            self.touch(("timers",), ALL, "w")

    def complete(self, op: Op) -> None:
        """`op` completes now: a new event begins."""
        created = getattr(op, "clock", 0)
        if op.kind == TIMER:
            created |= self._timer  # no timer overtakes an earlier one
        bit = 1 << len(self.events)
        self.events.append(_Happened(op.id, bit, created))
        self.clock = created | bit
        if op.kind == TIMER:
            self._timer |= self.clock
            self.touch(("timers",), ALL, "w")  # it moves the clock, from which later timers count
        elif op.kind in (UPSERT, DELETE, VISIBLE):
            self.touch(("store", op.key), ALL, "w")
            if op.key not in self.ground.expected:
                self.touch(("strangers",), op.key, "w")
            for parent in self.ground.parents.get(op.key, ()) if op.kind == UPSERT else ():
                self.touch(("store", parent), ALL, "r")
        elif op.kind == FETCH:
            self.touch(("store", op.key), ALL, "r")

    def returned(self, others: Iterable[str]) -> None:
        """`migrate` has ended: what it left in the store and which of the other tasks had ended is looked at now."""
        for key in self.ground.expected:
            self.touch(("store", key), ALL, "r")
        self.touch(("strangers",), ALL, "r")
        self.touch(("births",), ALL, "r")
        for path in others:
            self.touch(("end", path), ALL, "r")

    def learn(self, clock: int) -> None:
        self.clock |= clock
        if self.events:
            self.events[-1].hb |= clock & ~self.events[-1].bit

    def revoke(self, op: Op) -> None:
        """A cancellation or a time-out took `op` back: it could have completed before."""
        if self.events:
            self.revoked.append((op, self.now))

    def touch(self, token: Token, key: Any, mode: str) -> None:
        events = self.events
        index = len(events) - 1
        touched = self._touched[token]
        if index >= 0:
            summary = events[index].summary
            known = summary.get(token)
            if known is None:
                known = summary[token] = set()
            known.add((key, mode))
        clock = self.clock
        mine = (key, mode)
        for other, other_key, other_mode, other_clock in reversed(touched):
            if other == index or not conflict(mine, (other_key, other_mode)):
                continue
            if other >= 0 and not clock >> other & 1:
                race = (other, index, clock >> other << other)
                if race not in self._raced:
                    self._raced.add(race)
                    self.races.append(race)
            clock |= other_clock
            if other_mode == "w" and other_key in (ALL, key):
                break  # whatever conflicts with this touch further back, that write has seen
        self.clock = clock
        if index >= 0:
            events[index].hb |= clock & ~events[index].bit
        entry = (index, key, mode, clock)
        if not touched or touched[-1][:3] != entry[:3]:
            touched.append(entry)
        else:
            touched[-1] = entry

    # --- the person's lines ------------------------------------------------------------------------------------------

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The trace function of a thread that runs the program."""
        code = frame.f_code
        try:
            handler = self._handlers[code]
        except KeyError:
            handler = self._handlers[code] = self._handler(code)
        return handler(frame) if handler is not None else None

    def _handler(self, code: CodeType) -> Callable[[FrameType], Any] | None:
        """What to do when a function of this code is called or woken."""
        file = code.co_filename
        if is_own_code(file):
            if self.root is None:  # the first to run is the migration itself
                self.root = code.co_qualname.replace(".<locals>", "")
            lines = lines_of(file)
            if not lines.readable:
                return lambda frame: self.touch(("file", file), ALL, "w")
            touching = lines.statement.keys() & {line for _, _, line in code.co_lines() if line is not None}
            if not any(lines.statement[line] for line in touching):
                return None  # no line of it touches anything
            on_line = self._line_tracer(file, lines)
            if not code.co_flags & _SUSPENDABLE:
                return lambda frame: on_line

            def woken(frame: FrameType) -> Any:
                if frame.f_lasti > _FIRST:
                    # In the middle of a statement: the rest of it is done without another line event.
                    for line in lines.statement.get(frame.f_lineno, ()):
                        self._line(frame, file, line, lines)
                return on_line

            return woken
        primitive = _PRIMITIVES.get(file.rpartition("/")[2]) if "/asyncio/" in file else None
        mode = primitive.get(code.co_name, primitive.get("*")) if primitive is not None else None
        if mode is None:
            return None

        def touched(frame: FrameType) -> None:
            holder = frame.f_locals.get("self")
            if holder is not None:
                self.touch(self.name(holder, ("primitive", type(holder).__name__, self.where)), ALL, mode)

        return touched

    def _line_tracer(self, file: str, lines: Lines) -> Callable[[FrameType, str, Any], Any]:
        touching = lines.accesses.keys() | lines.variables.keys()

        def on_line(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "line" and frame.f_lineno in touching:
                self._line(frame, file, frame.f_lineno, lines)
            return on_line

        return on_line

    def _line(self, frame: FrameType, file: str, line: int, lines: Lines) -> None:
        for variable in lines.variables.get(line, ()):
            self.touch(("variable", file, variable.scope, variable.name), ALL, variable.mode)
        for access in lines.accesses.get(line, ()):
            self._access(frame, file, access)

    def _access(self, frame: FrameType, file: str, access: Access) -> None:
        names = frame.f_locals
        chain = access.chain
        value: Any = root_of(frame, names, chain.root)
        if value is NOTHING:
            return
        if not chain.steps:
            category = category_of(value)
            if category is None:
                return
            token = self.name(value, ("at", file, self._place(frame, access), chain.root))
        else:
            path = self._known(value) or ("at", file, self._place(frame, access), chain.root)
            for what, step in chain.steps:
                value = follow(frame, names, value, what, step)
                if value is NOTHING:
                    return
                path = self._known(value) or (
                    *path,
                    what,
                    step if what == "attr" else evaluated(frame, names, step),
                )
            category = category_of(value)
            if category is None:
                return
            token = self.name(value, path)
        if category == "primitive":
            return  # named after where it is kept; its own methods tell the touches
        mode = access.mode
        key: Any = access.key if access.key == ALL else evaluated(frame, names, access.key)
        # Of an object of the person's own class only named attributes are state that lines can see.
        if category == "object" and (access.key == ALL or access.key[0] != "attr"):
            return
        if mode == "a":
            mode = "w" if may_write(frame, names, access.call) else "r"
        elif mode == "r" and key == ALL and category == "iterator":
            mode = "w"
        elif mode in ("i", "s"):
            if mode == "s":
                self.touch(token, key, "w")
                if category not in ("dict", "set") or holds(value, key):
                    return
            key, mode = ALL, "w" if access.ordered else "k" if mode == "s" else "i"
        self.touch(token, key, mode)

    def _place(self, frame: FrameType, access: Access) -> str:
        """Where the root of an access lives: the module, the migration itself, or a function in some task."""
        owner = access.owner
        if owner is None:
            return f"{frame.f_code.co_qualname} in {self.where}"
        if owner in ("", self.root):
            return owner
        # The function that binds the variable knows which of its calls this is; one inside it does not, and takes the name that
        # the thing has got by then.
        return f"{owner} in {self.where}" if access.chain.root in frame.f_code.co_cellvars else owner

    def _known(self, value: Any) -> Token | None:
        known = self._names.get(id(value))
        return known[0] if known is not None else None

    def name(self, value: Any, otherwise: Token) -> Token:
        """The name of a thing: how it was reached first. Views of one array are one thing."""
        while type(value) is np.ndarray and value.base is not None:
            value = value.base
        known = self._names.get(id(value))
        if known is None:
            known = self._names[id(value)] = (otherwise, value)
        return known[0]
