"""`asyncio.gather` for bare schedules: of what it does for coroutines, only what can be seen.

asyncio's own makes one task after the other by a chain of four functions, and has the loop call it back at the end of each, only
to count. Here a loop that can (`race/bare.py`) makes all tasks at once, and what is called back is an object that can be counted
down by whoever ends a task: as long as a task did not fail and is not the last one, its end is of no other consequence. Whatever
is given besides coroutines, and any other loop, goes to asyncio's own.

A recorded schedule always goes there, so each comparison of bare and recorded schedules compares the two.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Final

__all__ = ["Join", "gather", "gathering_future", "stock_gather"]

stock_gather: Final[Any] = asyncio.tasks.gather
gathering_future: Final[Any] = vars(asyncio.tasks)["_GatheringFuture"]


class Join:
    """Counts the tasks of one `gather` that have not ended. Called with one that has, it does what asyncio's closure does."""

    __slots__ = ("left", "outer", "return_exceptions")

    def __init__(self, left: int, return_exceptions: bool) -> None:
        self.left, self.return_exceptions = left, return_exceptions
        self.outer: Any = None

    def __call__(self, task: Any) -> None:
        self.left -= 1
        outer = self.outer
        if outer.done():
            if not task.cancelled():
                task.exception()  # now it counts as asked for
            return
        if not self.return_exceptions:
            error = task._make_cancelled_error() if task.cancelled() else task.exception()
            if error is not None:
                outer.set_exception(error)
                return
        if not self.left:
            results = [_result(child) for child in outer._children]
            if outer._cancel_requested:
                # Not of the one that ended last: in asyncio's function the loop over the results leaves its own behind.
                outer.set_exception(outer._children[-1]._make_cancelled_error())
            else:
                outer.set_result(results)


def _result(child: Any) -> Any:
    if child.cancelled():
        message = child._cancel_message
        return asyncio.CancelledError("" if message is None else message)
    error = child.exception()
    return error if error is not None else child.result()


@functools.wraps(stock_gather)
def gather(*coros_or_futures: Any, return_exceptions: bool = False) -> Any:
    loop = asyncio._get_running_loop()
    at_once = getattr(loop, "gather", None)
    if at_once is not None:
        outer = at_once(coros_or_futures, return_exceptions)
        if outer is not None:
            return outer
    return stock_gather(*coros_or_futures, return_exceptions=return_exceptions)
