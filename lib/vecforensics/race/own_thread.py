"""Where the laboratory works: in a thread of its own, so that it can be opened in a running Jupyter kernel, with a watchdog."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vecforensics.race.guard import border
from vecforensics.race.loop import stable_asyncio
from vecforensics.race.watchdog import Watchdog, ended_process

__all__ = ["in_own_thread"]


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without the cyclic garbage collector: it would look through all that lives, thousands of times. What lived before is set
    aside, so that the search's own collections (one in some hundred schedules) look at nothing but what the schedules left. What
    they left at the end goes while the laboratory is still open: a coroutine that nobody awaited would be told of outside."""
    enabled = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        if enabled:
            gc.enable()


def in_own_thread(work: Callable[[], Any]) -> Any:
    """Run `work` in a fresh thread, where no event loop runs, and hand back its result or its exception."""
    box: list[Any] = []

    def body() -> None:
        try:
            # What a schedule leaves unawaited is told in the trace of a detailed run; a warning a schedule would be noise.
            with warnings.catch_warnings(), border(), stable_asyncio(), _no_collector():
                warnings.filterwarnings("ignore", message=".*was never awaited", category=RuntimeWarning)
                box.extend((work(), None))
        except BaseException as error:
            box.extend((None, ended_process(error)))

    thread = threading.Thread(target=body, name="race-laboratory", daemon=True)
    watchdog = Watchdog(thread)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.2)  # in slices, so that Ctrl-C is heard
            watchdog.look()
    except KeyboardInterrupt:
        watchdog.stop()  # a kernel that is interrupted lives on, and so would the thread
        raise
    result, error = box
    if error is not None:
        raise error
    return result
