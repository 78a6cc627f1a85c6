"""One run of a JavaScript migration in one world.

A promise that `generateVector` or `vectorDB` hands out stays pending until the strategy completes its operation; then all
microtasks run, exactly as after a network answer in Node, and the realm is quiet again. JavaScript has no tasks that could be
asked for their names, so an operation is named by the record it works for: embedding, writing and deleting belong to the
record whose id they carry, a lookup to the record whose answer made the program ask. That name is the same in every schedule.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import numpy as np

from vecforensics.errors import SuspectError
from vecforensics.race.driver import TaskInfo
from vecforensics.race.javascript.engine import Realm
from vecforensics.race.javascript.source import Script
from vecforensics.race.model import LostError
from vecforensics.race.world import DELETE, EMBED, FETCH, TIMER, UPSERT, Op, World

__all__ = ["ConsoleLine", "JavaScriptError", "JavaScriptSession", "JavaScriptTimeout", "ProcessExit"]

_CONSOLE_CHARACTERS: Final = 64 << 20
_CONSOLE_WIDTH: Final = 8_000
_HOST: Final = ("call", "vector", "written", "row", "absent", "fail", "fire", "take", "forgive")
_KINDS: Final = {"embed": EMBED, "upsert": UPSERT, "fetch": FETCH, "delete": DELETE}
_SEEN: Final = 20_000  # texts of metadata that are kept parsed, over all schedules
_CLASS: Final = re.compile(r"[A-Za-z_$][\w$]{0,63}")
_TIME_OUT: Final = re.compile(r"time[ds]?[ _-]?out", re.IGNORECASE)
_scan: Final = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class JavaScriptError(Exception):
    """An exception of the program. `stack` is written as V8 does: "Name: message", then "    at function (file:line:column)".

    Raised under a class that is called as the JavaScript error is, so that its text reads the same on both sides.
    """

    def __init__(self, message: str, stack: str = "") -> None:
        super().__init__(message)
        self.stack = stack or message


class JavaScriptTimeout(JavaScriptError, TimeoutError):
    """An exception by which the program says that something took too long."""


class ProcessExit(JavaScriptError):
    """The program called process.exit with a code other than 0."""


@lru_cache(maxsize=256)
def _named(name: str, timed_out: bool) -> type[JavaScriptError]:
    return type(name, (JavaScriptTimeout if timed_out else JavaScriptError,), {})


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """What the program printed. `time_s` is virtual; `level` is "log", "warn", "error", or "fatal" for Node's last words."""

    time_s: float
    level: str
    text: str


class _Answer:
    """The future of one operation: it keeps the answer until the session runs again."""

    __slots__ = ("answered", "op", "settled", "token")
    op: Op

    def __init__(self, answered: deque[tuple[Any, Any]], token: int) -> None:
        self.answered, self.token, self.settled = answered, token, False

    def done(self) -> bool:
        return self.settled

    def set_result(self, result: Any) -> None:
        self.settled = True
        self.answered.append((self, result))

    def set_exception(self, error: BaseException) -> None:
        self.settled = True
        self.answered.append((self, error))


class JavaScriptSession:
    """The driver's side of a run. `console` collects what the program printed.

    `seen` is the program's memory of metadata texts that were parsed before, shared by its sessions.
    """

    def __init__(
        self,
        script: Script,
        realm: Realm,
        function: Any,
        host: Callable[[str], Any],
        world: World,
        users: str,
        seen: dict[tuple[str, str], Any],
    ) -> None:
        self.script, self.realm, self.world = script, realm, world
        self.over = False
        self.error: BaseException | None = None
        self.unhandled: BaseException | None = None
        self.console: list[ConsoleLine] = []
        self.answered: deque[tuple[Any, Any]] = deque()
        self.root = TaskInfo(None, 0)
        self.lanes = {key: self.root.child(key) for key in world.ground.current}
        self.abandoned: list[TaskInfo] | None = None
        self.gone = False
        self._seen = seen
        self._lost: list[LostError] = []
        self._printed = 0
        self._timers: dict[int, Op] = {}
        self._issued: dict[int, BaseException] = {}
        self._vectors: list[tuple[bytes, bool]] = []
        self._host = {name: host(name) for name in _HOST}
        self._begin: tuple[Any, str] | None = (function, users)
        self._cause = self.root

    # --- running -------------------------------------------------------------------------------------------------------

    def advance(self, limit: int) -> bool:
        """Hand in what was answered and run until no microtask is left; JavaScript is never quiet before that."""
        answered = self.answered
        try:
            if self._begin is not None:
                if limit <= 0:
                    return False
                function, users = self._begin
                self._begin = None
                self._host["call"](self.world.now * 1000.0, function, users)
                self._settle_down()
            while answered:
                if limit <= 0:
                    return False
                self._answer(*answered.popleft())
                self._settle_down()
        except Exception as error:
            refusal = self.realm.refusal(error)
            if refusal is not None:
                raise refusal from None
            # The program has broken what it stands on (a setter on Array.prototype, say); Node would have stumbled too.
            text, _, stack = str(error).strip().partition("\n")
            self._end(self._exception(text, stack or text, []))
        return True

    def _answer(self, subject: _Answer | int, result: Any) -> None:
        now, host = self.world.now * 1000.0, self._host
        self.realm.since_s = None
        if isinstance(subject, int):
            self._cause = result
            host["fire"](now, subject)
            return
        op, token = subject.op, subject.token
        self._cause = op.task
        kind = op.kind
        if isinstance(result, BaseException):
            self._issued[token] = result
            status, wait = getattr(result, "status", 0), getattr(result, "retry_after", None)
            host["fail"](now, token, type(result).__name__, str(result), status, float(wait) if wait else 0.0)
        elif kind == EMBED:
            identity = len(self._vectors)
            self._vectors.append((result.tobytes(), True))
            host["vector"](now, token, identity, *result.tolist())
        elif kind in (UPSERT, DELETE):
            host["written"](now, token, op.key, _vector_id(op.key))
        elif result is None:
            host["absent"](now, token)
        else:
            metadata = json.dumps(result.metadata) if result.metadata else None
            host["row"](now, token, op.key, _vector_id(op.key), metadata, *result.vector.tolist())

    def _settle_down(self) -> None:
        run_jobs, take = self.realm.run_jobs, self._host["take"]
        again = True
        self.realm.since_s = None
        while again:
            again = False
            run_jobs()
            told = take()
            if told is not None:
                for what, first, second, third, fourth, place in _scan(told, 0)[0]:
                    kind = _KINDS.get(what)
                    if kind is not None:
                        self._operation(kind, first, second, third, fourth, place)
                    elif what == "again":
                        again = self.unhandled is None
                    else:
                        self._on(what, first, second, third, place)

    # --- what the realm tells ----------------------------------------------------------------------------------------------

    def _on(self, what: str, first: Any, second: Any, third: Any, place: str | None) -> None:
        if what == "timer":
            self._timer(first, second, place)
        elif what == "clear":
            op = self._timers.pop(first, None)
            if op is not None:
                self.world.cancel(op)
        elif what == "log":
            self._say(first, second)
        elif what == "return":
            self.over = True
        elif what == "raise":
            self.over, self.error = True, (error := self._exception(first, second, third))
            self._say("fatal", error.stack)
        elif what == "crash":
            self._end(self._exception(first, second, third))
        elif what == "lost":
            place_of_error = self.script.innermost(self._exception(first, second, third).stack)
            self._lost.append(LostError(self._cause.path, first, place_of_error))
        elif what == "refuse":
            self.world.refuse(
                SuspectError(
                    f"{first} leaves the program for the outside world, which the race laboratory cannot control",
                    where=self.script.file,
                    hint="Reach it through generateVector and vectorDB, or take it out of the function",
                )
            )
        elif what == "exit":
            self._end(ProcessExit(f"process.exit({first})") if first else None)

    def _operation(self, kind: int, token: int, key: str, first: Any, second: Any, place: str | None) -> None:
        lane = self._cause
        if kind != FETCH or lane is self.root:
            lane = self.lanes.get(key, lane)
        answer = _Answer(self.answered, token)
        payload: Any = None
        metadata: Any = None
        if kind == EMBED:
            payload = (first, second)
        elif kind == UPSERT:
            payload = self._vectors[first] if isinstance(first, int) else _serialise(first)
            if second is not None:
                metadata = self._metadata(key, second)
        answer.op = op = Op(kind, key, lane, answer, payload, metadata)
        if self.world.log is not None:
            op.source = self.script.place(place)
        self.world.begin(op)

    def _metadata(self, key: str, text: str) -> dict[str, Any]:
        """What the store gets. JavaScript has one kind of number: a whole one is a float where the record's own is."""
        known = self._seen.get((key, text))
        if known is None:
            known = json.loads(text)
            if not isinstance(known, dict):
                known = {"": known}
            own = self.world.ground.metadata.get(key, {})
            for name, value in known.items():
                if type(value) is int and type(own.get(name)) is float and own[name] == value:
                    known[name] = own[name]
            if len(self._seen) < _SEEN:
                self._seen[key, text] = known
        return dict(known)

    def _timer(self, identity: int, delay_ms: float, place: str | None) -> None:
        delay_s = delay_ms / 1000.0
        lane = self._cause
        op = Op(TIMER, f"{delay_s:g}", lane, None)

        def fire() -> None:
            self._timers.pop(identity, None)
            self.answered.append((identity, lane))

        op.payload = fire
        if self.world.log is not None:
            op.source = self.script.place(place)
        self._timers[identity] = op
        self.world.begin_timer(op, self.world.now + delay_s)

    def _exception(self, text: str, stack: str, tokens: list[int]) -> JavaScriptError:
        name, colon, message = text.partition(": ")
        if not colon or not _CLASS.fullmatch(name):
            name, message = "Uncaught", text
        error = _named(name, _TIME_OUT.search(text) is not None)(message, stack or text)
        if tokens:
            error.__cause__ = self._issued.get(tokens[0])
        if self.world.log is not None:
            self.world.note("error", None, text, self._cause, self.script.innermost(error.stack))
        return error

    def _end(self, error: JavaScriptError | None) -> None:
        """The process is over; what was on its way is lost with it."""
        self.gone = True
        self.abandoned = self.left_behind()
        self.answered.clear()
        self.world.pending.clear()
        self.world.timers.clear()
        if error is None:
            self.over = True
        else:
            self.unhandled = error
            self._say("fatal", error.stack)

    def _say(self, level: str, text: str) -> None:
        shown = text[:_CONSOLE_WIDTH]
        self._printed += len(shown) + 1
        if self._printed < _CONSOLE_CHARACTERS:
            self.console.append(ConsoleLine(self.world.now, level, shown))

    # --- what the engine asks ----------------------------------------------------------------------------------------------

    def done(self) -> bool:
        return self.over

    def left_behind(self) -> list[TaskInfo]:
        """The records with an operation under way that nothing waits for any more."""
        if self.abandoned is not None:
            return self.abandoned
        return list({id(op.task): op.task for op in self.world.pending}.values())

    def stuck(self) -> list[TaskInfo]:
        return [] if self.over else [self.root]

    def lost_errors(self) -> list[LostError]:
        """Empty unless rejections are forgiven: in Node an error that reaches nobody ends the process, see `unhandled`."""
        return self._lost

    def forgive_rejections(self) -> None:
        """Make an unhandled rejection a warning, as Node had it before version 15. To be called before the run begins."""
        self._host["forgive"]()

    def close(self) -> None:
        self._host.clear()
        self._begin = None
        self.realm.close()


def _vector_id(key: str) -> int:
    """The number under which a store would keep the row; made of the id alone, so that it does not depend on the order."""
    return crc32(key.encode("utf-8", "surrogatepass"))


def _serialise(text: str) -> tuple[bytes, bool]:
    """What a client sends for numbers that are not, or not any more, a vector of ours. JSON's null is NaN."""
    numbers = [math.nan if number is None else number for number in json.loads(text)]
    with np.errstate(over="ignore"):
        return World.serialise(np.array(numbers, dtype=np.float64).astype(np.float32))
