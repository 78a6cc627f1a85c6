"""One notebook through papermill, and what really became of it.

papermill hands the work to an engine; ours keeps hold of the notebook (so that there is a copy whatever happens), counts what
the cells print (so that a loop that prints cannot fill memory and disk), and remembers the cell at work. What happened is
then read from the cells themselves and from the process, never from papermill's metadata.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from vecforensics import errors
from vecforensics.runner.kernel import NotebookKernel

__all__ = ["MAX_OUTPUT_BYTES", "Execution", "execute"]

# All outputs of one notebook. A report's notebook has a few MB of figures; the copy is parsed whole by whoever opens it.
MAX_OUTPUT_BYTES: Final = 64 << 20
_ENGINE: Final = "vecforensics"
_START_TIMEOUT_S: Final = 120


class Execution:
    """The state of one notebook at work. Afterwards `failure` is one line, "" if it ran to its end, and `cell` where it failed.

    `cell` counts the code cells of the executed copy from 1, as the prompts In [1], In [2] do; `ran` is how many began.
    """

    def __init__(self, kernel: NotebookKernel, advance: Callable[[int], None]) -> None:
        self.kernel = kernel
        self.notebook: Any = None
        self.finished = False
        self.failure = ""
        self.cell = self.ran = 0
        self._advance = advance
        self._output_bytes = 0

    def cell_starts(self, cell: Any, cell_index: int) -> None:
        """nbclient's hook before each cell."""
        if _is_code(cell):
            self._advance(1 if self.ran else 0)
            self.ran += 1

    def allows(self, message: Mapping[str, Any]) -> bool:
        """Whether an output may still be kept; ends the kernel when the outputs outgrow MAX_OUTPUT_BYTES."""
        if message["msg_type"] not in (
            "stream",
            "display_data",
            "execute_result",
            "update_display_data",
            "error",
        ):
            return True
        self._output_bytes += _size(message["content"])
        if self._output_bytes <= MAX_OUTPUT_BYTES:
            return True
        self.kernel.kill(f"printed more than {MAX_OUTPUT_BYTES >> 20} MB")
        return False

    def judge(self, trouble: str) -> None:
        """Set `failure` and `cell` from the cells and the process. `trouble`: what papermill raised, "" if it came back."""
        cells = [cell for cell in self.notebook.cells if _is_code(cell)] if self.notebook is not None else []
        self.cell = self.ran
        if self.kernel.stopped_for:
            self.failure = self.kernel.stopped_for
            return
        for number, cell in enumerate(cells, 1):
            for output in cell.get("outputs", ()):
                if output.output_type == "error":
                    self.cell, self.failure = number, _one_line(output, left=len(cells) - number)
                    return
        if trouble:
            words = self.kernel.last_words()
            self.failure = f"{trouble} ({words})" if words else trouble
        elif self.ran < len(cells):
            self.failure = f"{len(cells) - self.ran} cells never ran"
        else:
            self.cell, self.finished = 0, True


def execute(execution: Execution, notebook: Any, parameters: Mapping[str, Any]) -> None:
    """Run `notebook` (an nbformat node) in `execution`'s kernel. Whatever goes wrong in it ends up in `execution.failure`.

    Only an interruption (Ctrl-C, SIGTERM) is raised, after the kernel was ended.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    trouble = ""
    try:
        papermill.execute_notebook(
            notebook,
            None,
            dict(parameters),
            engine_name=_engine(),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=_START_TIMEOUT_S,
            execution=execution,
        )
    except PapermillExecutionError as error:
        trouble = f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        trouble = "the kernel died: it was killed (out of memory?) or crashed"
    except Exception as error:
        # papermill, nbclient and zmq raise what they like; each of them means that the notebook did not run to its end.
        trouble = f"{type(error).__name__}: {error}"
    except BaseException:
        execution.kernel.kill("interrupted")
        execution.failure = "interrupted"
        raise
    execution.judge(trouble)


@functools.cache
def _engine() -> str:
    """Register the engine with papermill, once a process; returns its name."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.log import logger

    # Without a handler of its own its warnings go to the terminal, beside our one line.
    logger.addHandler(logging.NullHandler())

    class Client(PapermillNotebookClient):  # type: ignore[misc]
        def __init__(self, nb_man: Any, execution: Execution, **settings: Any) -> None:
            super().__init__(
                nb_man, km=execution.kernel.manager, on_cell_start=execution.cell_starts, **settings
            )
            self.execution = execution

        def papermill_execute_cells(self) -> None:
            try:
                super().papermill_execute_cells()
            except BaseException:
                # Else the shutdown below waits for a cell that may never end.
                self.execution.kernel.kill("")
                raise

        def process_message(self, message: Any, *more: Any, **named: Any) -> Any:
            return (
                super().process_message(message, *more, **named) if self.execution.allows(message) else None
            )

    class Engine(NBClientEngine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **settings: Any) -> None:
            execution: Execution = settings["execution"]
            execution.notebook = nb_man.nb
            client = Client(
                nb_man, execution, kernel_name=kernel_name, log=logger, timeout=None, iopub_timeout=60,
                startup_timeout=settings["start_timeout"], shutdown_kernel="immediate",
            )  # fmt: skip
            client.execute(cleanup_kc=True)

    papermill_engines.register(_ENGINE, Engine)
    return _ENGINE


def _is_code(cell: Any) -> bool:
    return bool(cell.cell_type == "code" and cell.source.strip())


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(item) for item in value.values())
    return sum(_size(item) for item in value) if isinstance(value, list) else 8


def _one_line(output: Any, left: int) -> str:
    """An error output as one line. Our own errors are that already."""
    if output.ename in ("SystemExit", "KeyboardInterrupt"):
        return f"{output.ename} ended the notebook with {left} cells to go"
    if output.ename in errors.__all__:
        return str(output.evalue)
    first = next(iter(str(output.evalue).strip().splitlines()), "")
    return f"{output.ename}: {first}" if first else str(output.ename)
