"""The verbs around an investigation: begin a case of one's own, and open a run in JupyterLab."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from vecforensics.cli.output import say
from vecforensics.cli.stages import CONTEXT
from vecforensics.errors import printable, without_userinfo

__all__ = ["init", "open_"]


@click.command(context_settings=CONTEXT)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option(
    "--source", type=click.Path(path_type=Path), default=None, help="A file of yours, to fill in its columns."
)
@click.option("--target", default="lancedb:target", show_default=True, help="Where the vectors are.")
def init(folder: Path, source: Path | None, target: str) -> None:
    """Write a commented case file for data of your own.

    \b
    Example:
      vecforensics init my-case --source customers.csv --target lancedb:/srv/vectors
    """
    from vecforensics.case_template import write_case_file
    from vecforensics.sources import format_of
    from vecforensics.stores import check_scheme

    if source is not None and source.is_file():
        format_of(source)
    if without_userinfo(target) == target:
        check_scheme(target)
    file = write_case_file(folder, source, target)
    say(f"Wrote {printable(file)}. Edit it, then run: vecforensics collect {printable(file)}")


@click.command("open", context_settings=CONTEXT)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--notebook",
    default="02_diff_vectors",
    show_default=True,
    help="Which notebook, by the beginning of its name.",
)
@click.option(
    "--prepare-only", is_flag=True, help="Write the notebook with its parameters set, and start nothing."
)
def open_(run: Path, notebook: str, prepare_only: bool) -> None:
    """Open a run in JupyterLab, with the notebook's parameters set to it.

    \b
    Example:
      vecforensics open reports/ERR-2026-57/20261124T081437Z --notebook 03
    """
    from vecforensics.runner import prepare_notebook

    prepared = prepare_notebook(notebook, run)
    say(printable(prepared))
    if not prepare_only:
        sys.stdout.flush()
        command = [sys.executable, "-m", "jupyterlab", str(prepared), "--ServerApp.ip=127.0.0.1"]
        os.execv(sys.executable, command)  # noqa: S606  the terminal becomes JupyterLab's
