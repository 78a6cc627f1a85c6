"""Some tests interrupt themselves or a program that they start. A shell that runs them in the background has had SIGINT ignored,
which children inherit: such a test would wait for ever."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
