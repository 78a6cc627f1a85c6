"""Group commit for coroutines: what many tasks ask for at the same time is answered by one call in a thread.

The first who asks wakes a worker; until that one gets to run, everybody else who is ready has asked too. While a call is under
way the next group gathers. So the size of a group follows the load: one for a strategy that asks one at a time, everything
that waits for one that asks in parallel. Each call gets an answer, or all of its callers get its error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Gathering"]

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Gathering(Generic[Ask, Answer]):
    """`call` gets at most `most` questions at once and gives one answer each; it runs in a thread, one call at a time."""

    def __init__(self, call: Callable[[Sequence[Ask]], Sequence[Answer]], most: int) -> None:
        self._call, self._most = call, most
        self._waiting: list[tuple[Ask, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Ask) -> Answer:
        """The answer to one question; raises what the call raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def settle(self) -> None:
        """Wait for a call that is under way: an effect that has begun must end before anybody judges what happened."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            # Whoever was cancelled meanwhile has not been sent yet, and is not.
            group = [(question, future) for question, future in group if not future.done()]
            if not group:
                continue
            try:
                answers = await asyncio.to_thread(self._call, [question for question, _ in group])
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(group, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
            await asyncio.sleep(0)
        self._worker = None
