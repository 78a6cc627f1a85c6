"""An event loop inside a plain migration: `asyncio.run(main())` with `asyncio.to_thread(store.upsert, …)`, the way in which a
synchronous client is used from coroutines.

The loop is asyncio's own. Only its waiting is under control: it hands the baton over instead of sleeping in `select`, its clock
is the virtual one, and a callback from another thread wakes its strand. An error that ends one of its tasks unheard is lost.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Final

from vecforensics.race.strands import Strand, current_strand

__all__ = ["STRAND_LOOPS"]

_real: Final = asyncio.events.new_event_loop


class StrandLoop(asyncio.SelectorEventLoop):
    """The loop of one strand."""

    def __init__(self, strand: Strand) -> None:
        self.strand = strand
        self.called = self.waits = False
        super().__init__()
        # What `run_forever` asks when no callback is left: seconds, or None for ever.
        self._selector.select = self._wait  # type: ignore[attr-defined]
        self.set_exception_handler(self._lost)

    def time(self) -> float:
        return self.strand.strands.world.now

    def _wait(self, timeout: float | None = None) -> list[Any]:
        if not self.called and (timeout is None or timeout > 0):
            self.waits = True
            self.strand.strands.wait(self.strand, timeout, for_world=timeout is not None)
            self.waits = False
        self.called = False
        return []

    def _write_to_self(self) -> None:
        """Another thread has a callback for this loop."""
        self.called = True
        if self.waits:
            self.waits = False
            self.strand.strands.wake(self.strand)

    def _lost(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.strand.strands.futures.append(SimpleNamespace(info=self.strand.info, lost=error))


def new_event_loop() -> asyncio.AbstractEventLoop:
    strand = current_strand()
    return StrandLoop(strand) if strand is not None else _real()


STRAND_LOOPS: Final[tuple[tuple[Any, str, Any], ...]] = (
    (asyncio.events, "new_event_loop", new_event_loop),
    (asyncio, "new_event_loop", new_event_loop),
)
