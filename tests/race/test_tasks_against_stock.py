"""Our tasks do what asyncio's do: same programs, same schedules, once with each, and everything that can be told is the same.

The programs are the random ones, over all the primitives, and some that ask tasks about themselves. Each schedule is drawn with
asyncio's tasks, and then played with ours: recorded, where every operation must bear the same name, and bare.
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import random_programs
from stock_tasks import StockProgram
from test_dpor_against_brute_force import GROUND, outcome

from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import Choices, Lab
from vecforensics.race.strategies.uniform import Lots, Uniform

CHUNKS, CHUNK, SCHEDULES = 10, 60, 6
LOG: list[Any] = []


def told(run: Run) -> Any:
    """All that can be told of a recorded run; of a bare one there are no names to tell."""
    return run.choices, [op.id for op in run.schedule], round(run.world.now, 9), outcome(run), list(LOG)


def bare(lab: Lab, run: Run) -> str:
    """What the bare schedule does otherwise; "" where it does the same."""
    from vecforensics.race.play import play

    LOG.clear()
    played = play(lab.program, lab.ground, Choices(run.choices), bare=True)
    same = (
        played.choices == run.choices
        and played.cut == run.cut
        and played.outcome.kinds == run.outcome.kinds
        and {key: slot[:3] for key, slot in played.world.data.items()}
        == {key: slot[:3] for key, slot in run.world.data.items()}
        and abs(played.world.now - run.world.now) < 1e-9
    )
    return (
        ""
        if same
        else f"bare: {played.outcome.kinds} {played.choices} instead of {run.outcome.kinds} {run.choices}"
    )


def differences(function: Callable[..., Any], name: str, seed: int) -> list[str]:
    stock, ours = (Lab(kind(function, name, (name,)), GROUND) for kind in (StockProgram, AsyncioProgram))
    chance = Uniform(seed)
    found = []
    for number in range(SCHEDULES):
        fine = number % 3 == 2
        LOG.clear()
        run = Lab(stock.program, GROUND, fine=fine).play(Lots(chance.chance(number)))
        expected = told(run)
        LOG.clear()
        again = Lab(ours.program, GROUND, fine=fine).play(Choices(run.choices))
        if told(again) != expected:
            found.append(f"{name}, schedule {number}: {told(again)}\n  instead of {expected}")
        if not fine:
            log = list(LOG)
            otherwise = bare(ours, again)
            if otherwise or log != LOG:
                found.append(f"{name}, schedule {number}: {otherwise or LOG}")
    return found


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_programs_do_the_same_with_our_tasks_as_with_asyncios(chunk: int) -> None:
    def all_of_them() -> list[str]:
        found = []
        for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            source, file = random_programs.source_of(seed), f"<random program {seed}>"
            found += [
                f"{text}\n{source}"
                for text in differences(random_programs.compile_program(source, file), file, seed)
            ]
        return found

    found = in_own_thread(all_of_them)
    assert not found, found[0]


# --- programs that ask tasks about themselves ------------------------------------------------------------------------------

SHADE: contextvars.ContextVar[str] = contextvars.ContextVar("shade", default="none")


async def cancels_itself(records: Any, embed: Any, store: Any) -> None:
    async def work(then: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        await embed(records[0])
        task.cancel("by myself")
        LOG.append((then, task.cancelling()))
        try:
            if then == "operation":
                await store.upsert("a", [1] * 8)
            elif then == "sleep":
                await asyncio.sleep(0)
            elif then == "future":
                await asyncio.get_running_loop().create_future()
            elif then == "error":
                raise KeyError(then)
        except asyncio.CancelledError as error:
            LOG.append((then, error.args, task.uncancel(), task.cancelling()))
            await embed(records[1])
            LOG.append("goes on")

    thens = ("operation", "sleep", "future", "error", "return")
    tasks = [asyncio.create_task(work(then), name=then) for then in thens]
    LOG.extend(map(repr, await asyncio.gather(*tasks, return_exceptions=True)))
    LOG.append([(task.get_name(), task.cancelled(), task.done()) for task in tasks])


async def cancels_others(records: Any, embed: Any, store: Any) -> None:
    async def stubborn() -> str:
        for _ in range(2):
            try:
                await store.fetch("a")
            except asyncio.CancelledError as error:
                LOG.append(error.args)
        return "done all the same"

    async def waits_for(task: Any) -> None:
        try:
            await task
        except asyncio.CancelledError as error:
            LOG.append(("waited", error.args, error.__context__ is None))
            raise

    async def cleans_up() -> None:
        try:
            await store.upsert("b", [2] * 8)
        finally:
            await embed(records[0])
            LOG.append("cleaned up")

    first, second = asyncio.create_task(stubborn()), asyncio.create_task(cleans_up())
    third, unborn = asyncio.create_task(waits_for(second)), asyncio.create_task(cleans_up())
    unborn.cancel()
    await embed(records[0])
    LOG.append([first.cancel("once"), first.cancel("twice"), second.cancel("msg"), unborn.cancelled()])
    done, pending = await asyncio.wait([first, second, third, unborn])
    LOG.append((len(done), len(pending), first.result(), first.cancel()))
    for task in (second, third, unborn):
        for ask in (task.result, task.exception):
            try:
                ask()
            except asyncio.CancelledError as error:
                LOG.append(error.args)
    try:
        await second
    except asyncio.CancelledError as error:
        LOG.append(error.args)


async def knows_its_surroundings(records: Any, embed: Any, store: Any) -> None:
    async def shaded(shade: str) -> str:
        SHADE.set(shade)
        await embed(records[0])
        LOG.append((SHADE.get(), len(asyncio.all_tasks())))
        await store.fetch("a")
        inner = await asyncio.create_task(inside())
        return f"{SHADE.get()} {inner}"

    async def inside() -> str:
        task = asyncio.current_task()
        assert task is not None
        assert task in asyncio.all_tasks()
        LOG.append((task.get_name(), task.get_coro().__name__, task.get_stack()[-1].f_code.co_name))
        SHADE.set("inner")
        await asyncio.sleep(0)
        return SHADE.get()

    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: LOG.append(asyncio.current_task()))
    tasks = [asyncio.create_task(shaded(shade), name=shade) for shade in ("light", "dark")]
    LOG.append(sorted(await asyncio.gather(*tasks)))
    LOG.append((SHADE.get(), isinstance(tasks[0], asyncio.Task), asyncio.isfuture(tasks[0])))
    context = contextvars.copy_context()
    context.run(SHADE.set, "given")
    LOG.append(await asyncio.create_task(inside(), context=context))
    LOG.append(context[SHADE])


async def makes_mistakes(records: Any, embed: Any, store: Any) -> None:
    class Bad:
        def __await__(self) -> Any:
            yield "nonsense"

    async def awaits_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        await task

    async def awaits_bad() -> None:
        await Bad()

    async def awaits_twice(one: Any) -> None:
        await one
        await one

    for wrong in (awaits_itself(), awaits_bad(), awaits_twice(embed(records[0]))):
        try:
            await asyncio.create_task(wrong)
        except RuntimeError as error:
            LOG.append(str(error).split("<")[0])
    for nothing in (3, embed):
        try:
            await asyncio.create_task(nothing)  # type: ignore[arg-type]
        except TypeError as error:
            LOG.append(type(error).__name__)
    task = asyncio.create_task(store.fetch("a"))
    for ask in (
        task.result,
        task.exception,
        lambda: task.set_result(1),
        lambda: task.set_exception(KeyError()),
    ):
        try:
            ask()
        except (asyncio.InvalidStateError, RuntimeError) as error:
            LOG.append(type(error).__name__)
    LOG.append(await task)


async def times_out(records: Any, embed: Any, store: Any) -> None:
    async def nested() -> None:
        try:
            async with asyncio.timeout(2):
                try:
                    async with asyncio.timeout(1):
                        await store.fetch("a")
                        await store.fetch("b")
                except TimeoutError:
                    LOG.append("inner")
                    await store.fetch("c")
        except TimeoutError:
            LOG.append("outer")

    async def group() -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(nested())
                tasks.create_task(breaks())
                await store.upsert("a", [1] * 8)
        except* KeyError as errors:
            LOG.append([repr(error) for error in errors.exceptions])

    async def breaks() -> None:
        await embed(records[0])
        raise KeyError("broken")

    await asyncio.gather(nested(), asyncio.wait_for(group(), 3), return_exceptions=True)


async def makes_tasks_by_hand(records: Any, embed: Any, store: Any) -> None:
    async def work(number: int) -> int:
        vector = await embed(records[number])
        await asyncio.sleep(0)
        await store.upsert(records[number].id, vector, records[number].metadata)
        LOG.append(number)
        return number

    tasks = [asyncio.Task(work(0)), asyncio.create_task(work(1)), asyncio.Task(store.fetch("a"))]
    await embed(records[0])
    LOG.append(tasks[2].cancel("by hand"))
    LOG.append([repr(result) for result in await asyncio.gather(*tasks, return_exceptions=True)])


async def raises_in_depth(records: Any, embed: Any, store: Any) -> None:
    async def deep() -> None:
        await embed(records[0])
        raise KeyError("deep")

    async def above() -> None:
        try:
            await deep()
        except KeyError as error:
            raise ValueError("above") from error

    task = asyncio.create_task(above())
    await asyncio.wait([task, asyncio.create_task(store.fetch("a"))])
    error = task.exception()
    assert error is not None
    LOG.append(
        (
            repr(error),
            repr(error.__cause__),
            [f.f_code.co_name for f, _ in traceback.walk_tb(error.__traceback__)],
        )
    )
    LOG.append([frame.f_code.co_name for frame in task.get_stack()])


async def gathers_and_is_disturbed(records: Any, embed: Any, store: Any) -> None:
    async def work(key: str, then: str = "") -> str:
        LOG.append((key, SHADE.get()))
        SHADE.set(key)
        try:
            await store.fetch(key)
            if then == "error":
                raise KeyError(key)
            if then == "itself":
                task = asyncio.current_task()
                assert task is not None
                task.cancel(key)
            await store.upsert(key, [1] * 8)
        except asyncio.CancelledError as error:
            LOG.append((key, error.args))
            if then != "stubborn":
                raise
        LOG.append((key, SHADE.get()))
        return key

    async def all_of(*thens: str, tolerant: bool = False) -> None:
        try:
            LOG.append(
                [
                    repr(item)
                    for item in await asyncio.gather(
                        *(work(f"{number}{then}", then) for number, then in enumerate(thens)),
                        return_exceptions=tolerant,
                    )
                ]
            )
        except (KeyError, asyncio.CancelledError) as error:
            LOG.append((thens, repr(error)))

    together: Any = asyncio.gather(work("a"), work("b", "stubborn"), work("c"))
    twice = work("twice")
    rest = asyncio.gather(
        all_of(),
        all_of("", "error", "", "error"),
        all_of("", "itself", tolerant=True),
        all_of("itself", "error"),
        all_of("error", "itself", "", "stubborn", tolerant=True),
        asyncio.gather(twice, twice, work("once")),
    )
    assert rest.get_loop() is asyncio.get_running_loop()
    await embed(records[0])
    LOG.append((together.cancel("enough"), together.cancel("enough"), together.done()))
    try:
        LOG.append(await together)
    except asyncio.CancelledError as error:
        LOG.append(("together", error.args))
    try:
        await asyncio.wait_for(rest, 5)
    except (TimeoutError, asyncio.CancelledError) as error:
        LOG.append(("rest", type(error).__name__))
    left = asyncio.gather(work("left"), work("alone", "error"))
    left.add_done_callback(lambda future: LOG.append(repr(future.exception())))
    LOG.append(sorted(task.get_name() for task in asyncio.all_tasks()))


SELF_AWARE = (
    gathers_and_is_disturbed,
    raises_in_depth,
    makes_tasks_by_hand,
    cancels_itself,
    cancels_others,
    knows_its_surroundings,
    makes_mistakes,
    times_out,
)


@pytest.mark.parametrize("function", SELF_AWARE, ids=lambda function: function.__name__)
def test_a_program_that_asks_its_tasks_gets_the_answers_of_asyncios(function: Callable[..., Any]) -> None:
    def both() -> list[str]:
        return [text for seed in range(20) for text in differences(function, __file__, seed)]

    found = in_own_thread(both)
    assert not found, found[0]
    assert LOG, "the program has told nothing"
