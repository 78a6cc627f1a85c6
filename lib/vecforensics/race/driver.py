"""The seam between the engine and the language a suspect is written in.

A *program* is a suspect that can be started again and again; one start is a *session*. The engine knows nothing of coroutines,
threads or JavaScript promises: it lets a session run until it is quiet, completes one pending operation of the world, and
lets it run on. `race/loop.py` is the driver for coroutines, `race/threads.py` for plain functions, `race/javascript.py` for
the extra [js]. A driver:

* calls `world.begin(...)` whenever the program asks for an operation, with a future that has `set_result`, `set_exception`
  and `done`; the world keeps the operation pending and answers through that future when the strategy completes it;
* keeps the `TaskInfo` of whatever runs now in `world.current`, or passes it, so that operations are named by creation path;
* never runs program code outside of `start`, `advance` and `close`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vecforensics.records import Record

if TYPE_CHECKING:
    from vecforensics.race.model import LostError
    from vecforensics.race.play import Chooser
    from vecforensics.race.tracker import Tracker
    from vecforensics.race.world import World

__all__ = ["Program", "Session", "SwiftSession", "TaskInfo"]


class TaskInfo:
    """A task by its creation path: "main", "main.2" (the second task that main made), "main.2.1". Same in every schedule."""

    __slots__ = ("_path", "children", "index", "name", "operations", "parent", "rank", "source")

    def __init__(self, parent: TaskInfo | None, index: int, name: str = "") -> None:
        self.parent, self.index, self.name = parent, index, name
        self.children = 0
        self.operations = 0
        self.rank: float | None = None  # a strategy's
        self.source: Any = None
        self._path = ""

    def child(self, name: str = "") -> TaskInfo:
        self.children += 1
        return TaskInfo(self, self.children, name)

    @property
    def path(self) -> str:
        if not self._path:
            self._path = (
                f"{self.parent.path}.{self.index}" if self.parent is not None else (self.name or "main")
            )
        return self._path

    @property
    def sort_key(self) -> tuple[int, ...]:
        return (*self.parent.sort_key, self.index) if self.parent is not None else (self.index,)


class Session(Protocol):
    """One run of a program in one world."""

    @property
    def error(self) -> BaseException | None:
        """The exception that left `migrate`."""

    unhandled: BaseException | None
    """What ended the whole process (an unhandled rejection in JavaScript); the engine stops the run there."""

    def done(self) -> bool:
        """`migrate` has ended, by return or by exception. Asked after every completion, so it had better be quick."""

    def advance(self, limit: int) -> bool:
        """Run program code until it is quiet, at most `limit` rounds of its scheduler. False where it is still busy."""

    def left_behind(self) -> list[TaskInfo]:
        """Tasks that have not ended and were not told to, apart from `migrate` itself."""

    def stuck(self) -> list[TaskInfo]:
        """Tasks that have not ended, `migrate` included."""

    def lost_errors(self) -> list[LostError]:
        """Exceptions that reached nobody, once all is quiet."""

    def close(self) -> None:
        """Free everything; run no more program code than closing coroutines needs."""


class SwiftSession(Session, Protocol):
    """A session with a way of its own through the longest part of a bare schedule."""

    def swiftly(self, chooser: Chooser, choices: list[int], limit: int, returned: bool) -> bool:
        """The stretch in which nothing special can happen: no timer, nothing but operations that complete one after the other as
        `chooser` says, until `choices`, to which each is added, are `limit`, or `migrate` ends (unless it has `returned`). The
        program is quiet when it begins; gives back whether it still is. Nearly every choice of nearly every schedule is made
        here, so it is a driver's to write for speed; `stretch` in `race/play.py` does it for any."""


class Program(Protocol):
    """A suspect that can be started."""

    @property
    def name(self) -> str:
        """What the person called it: "migration.js:migrateDataToVectorDB"."""

    @property
    def driver(self) -> str:
        """ "asyncio", "threads" or "javascript"."""

    @property
    def files(self) -> tuple[str, ...]:
        """The person's own files."""

    @property
    def fine(self) -> bool:
        """Whether two completions may land in one round of the scheduler (the second granularity)."""

    @property
    def tracked(self) -> bool:
        """Whether the driver reports shared objects and causality, which DPOR needs (`start_tracked`)."""

    @property
    def conflicts(self) -> tuple[str, ...]:
        """What makes two events depend on each other for DPOR, in words for the certificate; empty without DPOR."""

    def start(self, world: World, records: Sequence[Record]) -> Session:
        """Begin `migrate(records, embed, store)`; it runs in `advance`."""

    def start_tracked(self, world: World, records: Sequence[Record], tracker: Tracker) -> Session:
        """The same, reporting to `tracker`; only asked of a program that is `tracked`."""
