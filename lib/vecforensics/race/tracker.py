"""What happened before what, and which events touched the same thing, while a schedule is played.

An *event* is the completion of one operation together with all the program code that runs until it is quiet again. Each task, and
each callback on its way, carries a clock: the set of events that it has seen, as the bits of an integer. A task learns of an event
when it is woken by it, when it waits for a task that has seen it, when it touches what that event touched before.

Whenever something is touched that an earlier event touched in a conflicting way, and the clock does not hold that event, the two
could have happened the other way round: that is a *race*, and the strategy DPOR will reverse it. Names of shared things are the
same in every schedule (how the thing is reached from the program's source), so that what an event touched can be compared
between schedules.

Touches come from the world (ids in the store), from asyncio's own primitives, and from the person's lines (`shared_lines.py`),
which are followed with the interpreter's trace function. That slows a run down two to four times; only DPOR asks for it.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final

import numpy as np

from vecforensics.race.places import is_own_code
from vecforensics.race.shared_lines import ALL, Access, Chain, Key, Lines, lines_of
from vecforensics.race.world import DELETE, FETCH, TIMER, UPSERT, VISIBLE, Ground, Op

__all__ = ["Summary", "Touch", "Tracker", "conflict", "dependent"]

Token = tuple[Any, ...]
Touch = tuple[Any, str]  # key, mode
Summary = dict[Token, set[Touch]]
"""What one event touched: for each thing the keys and modes."""

_READING: Final = "rn"


def conflict(one: Touch, two: Touch) -> bool:
    """Whether two touches of one thing can be told apart when they are swapped.

    r reads, w writes, n asks for the length, i inserts where the order of insertions is never looked at.
    """
    (key, mode), (other_key, other) = one, two
    if mode in _READING and other in _READING:
        return False
    if mode == "i":
        if other == "i":
            return False
        if other == "n":
            return True
    if other == "i" and mode == "n":
        return True
    if mode == "n":
        return other == "w" and other_key == ALL
    if other == "n":
        return mode == "w" and key == ALL
    return bool(key == other_key or key == ALL or other_key == ALL)


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
        self._timer = 0
        self.where = "main"

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
        """The trace function of this thread."""
        code = frame.f_code
        file = code.co_filename
        if is_own_code(file):
            lines = lines_of(file)
            if not lines.readable:
                self.touch(("file", file), ALL, "w")
                return None
            on_line = self._line_tracer(file)
            if code.co_flags & _SUSPENDABLE and frame.f_lasti > 4:
                # Woken in the middle of a statement: the rest of it is done without another line event.
                for line in lines.statement.get(frame.f_lineno, ()):
                    self._line(frame, file, line, lines)
            return on_line
        primitive = _PRIMITIVES.get(file.rpartition("/")[2]) if "/asyncio/" in file else None
        if primitive is not None:
            mode = primitive.get(code.co_name, primitive.get("*"))
            if mode is not None:
                holder = frame.f_locals.get("self")
                if holder is not None:
                    self.touch(self.name(holder, ("primitive", type(holder).__name__, self.where)), ALL, mode)
        return None

    def _line_tracer(self, file: str) -> Callable[[FrameType, str, Any], Any]:
        lines = lines_of(file)

        def on_line(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "line":
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
        found = _root(frame, names, chain.root)
        if found is _NOTHING:
            return
        value: Any = found
        place = access.owner if access.owner is not None else f"{frame.f_code.co_qualname} in {self.where}"
        token = self.name(value, ("at", file, place, chain.root))
        for what, key in chain.steps:
            value = _step(frame, names, value, what, key)
            if value is _NOTHING:
                return
            token = self.name(
                value, (*token, what, str(key) if what == "attr" else _evaluated(frame, names, key))
            )
        category = _category(value)
        if category is None:
            return
        mode = access.mode
        key: Any = access.key if access.key == ALL else _evaluated(frame, names, access.key)
        if category == "object":
            # Only named attributes of an object of the person's own class are state that lines can see.
            if access.key == ALL or access.key[0] != "attr":
                return
        if mode == "a":
            mode = "w" if _may_write(frame, names, access.call) else "r"
        elif mode == "r" and key == ALL and category == "iterator":
            mode = "w"
        elif mode in ("i", "s"):
            if mode == "s":
                self.touch(token, key, "w")
                if category not in ("dict", "set") or _has(value, key):
                    return
            if access.ordered:
                key, mode = ALL, "w"
            else:
                key, mode = ALL, "i"
        self.touch(token, key, mode)

    def name(self, value: Any, otherwise: Token) -> Token:
        """The name of a thing: how it was reached first. Views of one array are one thing."""
        while type(value) is np.ndarray and value.base is not None:
            value = value.base
        known = self._names.get(id(value))
        if known is None:
            known = self._names[id(value)] = (otherwise, value)
        return known[0]


# File of asyncio -> method -> mode; "*" for all others.
_PRIMITIVES: Final[dict[str, dict[str, str | None]]] = {
    "locks.py": {"is_set": "r", "locked": "r", "__init__": None, "*": "w"},
    "queues.py": {"empty": "r", "qsize": "r", "full": "r", "__init__": None, "*": "w"},
    "timeouts.py": {"_on_timeout": "w", "__aexit__": "w", "reschedule": "w", "expired": "r"},
    "taskgroups.py": {"_abort": "w", "create_task": "r"},
}

_NOTHING: Final = object()
_SUSPENDABLE: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_PURE: Final = {
    "all", "any", "bool", "bytes", "dict", "enumerate", "filter", "float", "format", "frozenset", "hash", "id", "int", "isinstance",
    "iter", "len", "list", "map", "max", "min", "print", "range", "repr", "reversed", "round", "set", "sorted", "str", "sum", "tuple",
    "type", "zip",
}  # fmt: skip
_PURE_MODULES: Final = {
    "asyncio", "collections", "copy", "dataclasses", "functools", "hashlib", "itertools", "json", "logging", "math", "operator", "re",
    "statistics", "textwrap", "time", "typing", "uuid",
}  # fmt: skip
_CATEGORIES: dict[type, str | None] = {
    list: "list", dict: "dict", set: "set", deque: "list", bytearray: "list", defaultdict: "dict", np.ndarray: "list",
    types.SimpleNamespace: "object",
}  # fmt: skip


def _category(value: Any) -> str | None:
    """What kind of shared state a value is; None for what cannot change or is followed elsewhere."""
    kind = type(value)
    try:
        return _CATEGORIES[kind]
    except KeyError:
        pass
    found: str | None = None
    if isinstance(value, dict):
        found = "dict"
    elif isinstance(value, set):
        found = "set"
    elif isinstance(value, list | deque | np.ndarray):
        found = "list"
    elif kind.__module__ in ("itertools", "array", "builtins") and (
        hasattr(kind, "__next__") and kind.__name__ not in ("coroutine", "async_generator")
    ):
        found = "iterator"
    elif kind.__module__ == "array":
        found = "list"
    elif any(
        is_own_code(function.__code__.co_filename)
        for function in vars(kind).values()
        if isinstance(function, types.FunctionType)
    ) and not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        found = "object"
    _CATEGORIES[kind] = found
    return found


def _root(frame: FrameType, names: dict[str, Any], root: str) -> Any:
    if root in names:
        return names[root]
    return frame.f_globals.get(root, _NOTHING)


def _step(frame: FrameType, names: dict[str, Any], value: Any, what: str, key: Any) -> Any:
    """Follow one step without running anything of the person's."""
    if what == "attr":
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict) and key in own:
            return own[key]
        slot = getattr(type(value), key, None)
        if isinstance(slot, types.MemberDescriptorType):
            return getattr(value, key, _NOTHING)
        return _NOTHING
    place = _evaluated(frame, names, key)
    if place == ALL:
        return _NOTHING
    try:
        if isinstance(value, dict):
            return dict.get(value, place, _NOTHING)
        if type(value) in (list, tuple, deque, np.ndarray):
            return value[place]
    except (TypeError, IndexError, KeyError):
        pass
    return _NOTHING


def _evaluated(frame: FrameType, names: dict[str, Any], key: Key) -> Any:
    """The key of an element as something that can be compared; ALL where it is not known."""
    if key == ALL:
        return ALL
    what = key[0]
    if what == "const":
        return key[1]
    if what == "attr":
        return (".", key[1])
    if what == "tuple":
        parts = tuple(_evaluated(frame, names, item) for item in key[1:])
        return ALL if ALL in parts else parts
    chain: Chain = key[1]
    value = _root(frame, names, chain.root)
    for step, inner in chain.steps:
        if value is _NOTHING:
            return ALL
        value = _step(frame, names, value, step, inner)
    return value if isinstance(value, str | int | float | bool | None) else ALL


def _has(value: Any, key: Any) -> bool:
    return key != ALL and key in value


def _may_write(frame: FrameType, names: dict[str, Any], call: Chain | None) -> bool:
    """Whether a call may change its arguments unseen. A function of the person's own is seen line by line."""
    if call is None:
        return True
    if not call.steps and call.root in _PURE and call.root not in names and call.root not in frame.f_globals:
        return False
    value = _root(frame, names, call.root)
    if value is _NOTHING:
        # A builtin, or a name that a later line binds: next() and setattr() change their argument.
        return call.root not in _PURE
    if isinstance(value, types.ModuleType):
        return value.__name__.partition(".")[0] not in _PURE_MODULES
    for what, key in call.steps:
        if what != "attr":
            return True
        value = getattr(value, "__dict__", {}).get(key, getattr(type(value), key, _NOTHING))
        if value is _NOTHING:
            return True
    function = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    if code is not None:
        module = getattr(function, "__module__", "") or ""
        return not (
            is_own_code(code.co_filename)
            or module.startswith("vecforensics.race.")
            or module.partition(".")[0] in _PURE_MODULES
        )
    if isinstance(value, type):
        return False
    return not (getattr(value, "__name__", "") in _MUTATORS_WITH_SAFE_ARGUMENTS)


# Methods of containers store a reference to their argument and leave it alone.
_MUTATORS_WITH_SAFE_ARGUMENTS: Final = {
    "add", "append", "appendleft", "discard", "extend", "get", "index", "insert", "pop", "remove", "setdefault", "update", "join",
    "copy", "count", "put_nowait", "put", "tobytes", "union", "difference", "issubset", "startswith", "encode", "format",
}  # fmt: skip


def traced(tracker: Tracker, work: Callable[[], Any]) -> Any:
    """Do `work` with the trace function of `tracker`; another's (a debugger's, coverage's) comes back afterwards."""
    before = sys.gettrace()
    sys.settrace(tracker.trace)
    try:
        return work()
    finally:
        sys.settrace(before)
