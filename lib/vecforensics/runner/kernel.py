"""The process in which a notebook runs: this very Python, cut off from the user's own settings, and never left behind.

papermill by itself starts whatever kernel is registered as `python3`, perhaps another environment's, opens TCP ports, and
leaves the kernel writing for a while when it is killed. Here the kernel is `sys.executable`; it talks through Unix sockets in
a private folder (TCP on 127.0.0.1 only where the path would be too long for a socket, or there are none); its history,
profile and log lie in that folder too. It dies by SIGKILL with its whole process group when the runner stops it, and by
ipykernel's own watch over its parent, within about a second, when the runner itself is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import ToolFailed, printable

__all__ = ["NotebookKernel"]

# A Unix socket's path has 108 bytes on Linux and 104 on macOS, and "/k-5" comes after the folder's.
_LONGEST_SOCKET_PATH: Final = 100


class NotebookKernel:
    """One started kernel. `manager` is jupyter_client's; `stopped_for` says why the kernel was killed, "" if it was not."""

    def __init__(self, folder: Path) -> None:
        """Start it with `folder` as its working folder. Returns before it is ready. Raises ToolFailed where it cannot start."""
        from jupyter_client.manager import AsyncKernelManager
        from jupyter_core.utils import run_sync

        self.stopped_for = ""
        self._private = Path(tempfile.mkdtemp(prefix="vf-"))
        self._log = self._private / "log"
        self.manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=_this_python(),
            connection_file=str(self._private / "connection.json"),
            **_transport(self._private),
        )
        try:
            with self._log.open("wb") as log:
                run_sync(self.manager.start_kernel)(
                    extra_arguments=["--log-level=40", "--HistoryManager.hist_file=:memory:"],
                    cwd=str(folder),
                    env=self._environment(),
                    stdout=log,
                    stderr=log,
                )
        except OSError as error:
            self.close()
            raise ToolFailed(
                f"cannot start Python for a notebook ({error.strerror})",
                where=sys.executable,
                hint="Run: make setup",
            ) from None

    def kill(self, reason: str) -> None:
        """End the kernel and every process that it started, at once; callable from any thread. The first reason stands."""
        self.stopped_for = self.stopped_for or reason
        process = getattr(self.manager.provisioner, "process", None)
        if process is None or process.poll() is not None:
            return
        try:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        except ProcessLookupError:
            return

    def last_words(self) -> str:
        """The last line that the process wrote past the notebook (a crash of native code writes there), or ""."""
        lines = self._log.read_bytes()[-4_096:].decode(errors="replace").strip().splitlines()
        return printable(lines[-1], 200) if lines else ""

    def close(self) -> None:
        """End what still runs and remove the private folder."""
        from jupyter_core.utils import run_sync

        self.kill("no longer needed")
        if self.manager.has_kernel:
            run_sync(self.manager.shutdown_kernel)(now=True)
        shutil.rmtree(self._private, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        """The caller's variables, without the profile and start-up files of the person's own IPython."""
        return {
            **os.environ,
            "IPYTHONDIR": str(self._private / "ipython"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }


def _this_python() -> Any:
    """A kernel spec manager that knows one kernel: this interpreter, whatever else is registered on the machine."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class _ThisPython(KernelSpecManager):  # type: ignore[misc,unused-ignore]
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python", interrupt_mode="signal")

    return _ThisPython()


def _transport(private: Path) -> dict[str, str]:
    stem = str(private / "k")
    if hasattr(os, "killpg") and len(os.fsencode(stem)) <= _LONGEST_SOCKET_PATH:
        return {"transport": "ipc", "ip": stem}
    return {"transport": "tcp", "ip": "127.0.0.1"}
