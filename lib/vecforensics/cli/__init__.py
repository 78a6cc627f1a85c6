"""The command line: one verb a stage, and the whole way in one.

Every verb takes a case file (and begins a run under `--out`) or a run folder (and goes on with it), prints what it found, and
ends with the run folder as its last line. Exit codes: 0 clean, 1 corruption or a failing schedule found, 2 unusable input or a
failed tool, 3 nothing corrupt found but not everything could be checked. Imports are made inside the verbs: `--help` must be
quick.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from vecforensics.cli.race import race
from vecforensics.cli.stages import (
    CONTEXT,
    UNUSABLE,
    collect,
    diff,
    investigate,
    migrate,
    neighbours,
    report,
    verify,
)
from vecforensics.cli.workspace import init, open_
from vecforensics.errors import VecforensicsError, printable, without_userinfo

__all__ = ["cli", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; whatever is wrong with the input is one line on standard error and 2."""
    try:
        code = cli.main(arguments, prog_name="vecforensics", standalone_mode=False)
    except click.UsageError as error:
        hint = f" See: {error.ctx.command_path} --help" if error.ctx else ""
        return _refused(f"{error.format_message()}{hint}")
    except VecforensicsError as error:
        return _refused(str(error))
    except click.Abort:
        click.echo("vecforensics: stopped; what was finished is kept", err=True)
        return 130
    except Exception as error:
        if os.environ.get("VECFORENSICS_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _refused(
            f"a fault of ours, please report it ({what}). With VECFORENSICS_TRACEBACK=1 it says where"
        )
    return code if isinstance(code, int) else 0


def _refused(line: str) -> int:
    click.echo(f"vecforensics: {printable(without_userinfo(line), 2_000)}", err=True)
    return UNUSABLE


@click.group(context_settings=CONTEXT, invoke_without_command=True)
@click.pass_context
@click.version_option(None, "-V", "--version", package_name="vecforensics", message="%(prog)s %(version)s")
def cli(context: click.Context) -> None:
    """Forensics for vector migrations that went wrong.

    \b
    Example:
      vecforensics init my-case                  write a commented case file
      vecforensics investigate my-case/case.yaml the whole way to a report
      vecforensics race migration.py:migrate     find the order of events that loses data
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(UNUSABLE)


for _verb in (init, investigate, collect, diff, neighbours, race, migrate, report, verify, open_):
    cli.add_command(_verb)
