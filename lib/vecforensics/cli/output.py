"""What a verb prints. A reader that has read enough and closes the pipe (`| head -1`) changes nothing about the exit code,
which is the verdict: click would end with 1 there, and 1 means corrupt.
"""

from __future__ import annotations

import os
import sys

import click

__all__ = ["say"]


def say(text: object) -> None:
    """Print `text` and a line feed; into nothing once nobody reads any more."""
    try:
        click.echo(str(text))
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
