"""What a verb prints. A reader that has read enough and closes the pipe (`| head -1`) changes nothing about the exit code,
which is the verdict: click would end with 1 there, and 1 means corrupt.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import click

__all__ = ["say", "streams_kept"]


def say(text: object) -> None:
    """Print `text` and a line feed; into nothing once nobody reads any more."""
    try:
        click.echo(str(text))
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def streams_kept() -> Iterator[None]:
    """Standard output and error are afterwards what they were before, should a suspect close their descriptors."""
    copies: list[tuple[int, int]] = []
    for number in (1, 2):
        with contextlib.suppress(OSError):  # closed already when we were started
            copies.append((number, os.dup(number)))
    try:
        yield
    finally:
        for number, copy in copies:
            try:
                os.fstat(number)
            except OSError:
                os.dup2(copy, number)
            os.close(copy)
