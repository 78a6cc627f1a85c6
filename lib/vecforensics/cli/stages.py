"""The verbs of the five stages, the whole way through them, and the check of a sealed run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from vecforensics.cli.output import say
from vecforensics.errors import InputError

if TYPE_CHECKING:
    from vecforensics.investigation import Investigation

__all__ = [
    "CLEAN",
    "CONTEXT",
    "FOUND",
    "UNKNOWN",
    "UNUSABLE",
    "collect",
    "diff",
    "ends_with_run",
    "investigate",
    "migrate",
    "neighbours",
    "opened",
    "report",
    "verify",
    "with_out",
]

CLEAN, FOUND, UNUSABLE, UNKNOWN = 0, 1, 2, 3
OF_VERDICT = {"clean": CLEAN, "corrupt": FOUND, "unknown": UNKNOWN}
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def with_out(command: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option(
        "--out", type=click.Path(path_type=Path), default=None, help="Where runs are kept. [default: reports]"
    )
    return option(command)


@contextmanager
def opened(where: str, out: Path | None) -> Iterator[Investigation]:
    """The investigation that an argument names. A run that was begun for unusable input leaves nothing behind."""
    from vecforensics.investigation import bundled_case, investigate

    where = where or str(bundled_case())
    inv = investigate(where, out if out is not None else Path("reports"))
    begun = not inv.run.journal()["stages"]
    try:
        yield inv
    except InputError:
        if begun and not inv.run.done("collect"):
            shutil.rmtree(inv.run.path, ignore_errors=True)
            with suppress(OSError):
                inv.run.path.parent.rmdir()
        raise


def ends_with_run(command: Callable[..., tuple[Investigation, int]]) -> Callable[..., None]:
    """Print the run folder as the last line and end with the command's exit code."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        inv, code = command(*args, **kwargs)
        say(inv.run.path)
        raise Exit(code)

    return wrapped


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="CASE.yaml|RUN")
@with_out
@click.option(
    "--apply", "apply_", is_flag=True, help="Repair the target; without it the repair is only planned."
)
@click.option(
    "--fail-on",
    type=click.Choice(["corrupt", "unrepaired", "never"]),
    default="corrupt",
    show_default=True,
    help="Exit 1 where corruption was found, only where it was not repaired and verified, or never.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=None,
    help="Embed and compare only so many records; gives an estimate.",
)
@ends_with_run
def investigate(
    where: str, out: Path | None, apply_: bool, fail_on: str, sample: int | None
) -> tuple[Investigation, int]:
    """Run all notebooks headless and write the incident report; without a case, on the bundled one.

    \b
    Example:
      vecforensics investigate
      vecforensics investigate case.yaml --apply --fail-on unrepaired
    """
    from vecforensics.whole_way import run_all

    with opened(where, out) as inv:
        verdict = run_all(inv, apply=apply_, sample=sample)
    say(verdict)
    return inv, verdict.exit_code(fail_on)


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="CASE.yaml|RUN")
@with_out
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=None,
    help="Embed only so many records again, drawn by what their ids show; diff then gives an estimate.",
)
@ends_with_run
def collect(where: str, out: Path | None, sample: int | None) -> tuple[Investigation, int]:
    """Freeze source, target and logs as hashed evidence.

    \b
    Example:
      vecforensics collect data/postpilot/case.yaml
      vecforensics collect case.yaml --sample 5000       where embedding costs money
    """
    with opened(where, out) as inv:
        say(inv.collect(sample=sample))
    return inv, CLEAN


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="CASE.yaml|RUN")
@with_out
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=None,
    help="Compare so many contents only, and embed no others; ids stay exact. [default: all; in a finished run as it was]",
)
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Threads on this machine.")
@click.option(
    "--cluster",
    metavar="tcp://HOST:PORT",
    default=None,
    help="A dask.distributed scheduler (extra [cluster]).",
)
@click.option(
    "--shared",
    metavar="URL",
    default=None,
    help="Where the cluster's workers read the evidence (s3://…, sftp://…, file://…); it is copied there. Without it they must "
    "see the run folder under its own path.",
)
@ends_with_run
def diff(where: str, out: Path | None, **settings: Any) -> tuple[Investigation, int]:
    """Say which vectors are wrong, how, and where they cluster.

    \b
    Example:
      vecforensics diff case.yaml
      vecforensics diff reports/ERR-2026-57/20261124T081437Z --workers 2
      vecforensics diff RUN --cluster tcp://scheduler:8786 --shared s3://bucket/evidence
    """
    if settings["shared"] and not settings["cluster"]:
        raise InputError(
            "--shared is for the workers of a cluster", where="--shared", hint="Name it: --cluster"
        )
    with opened(where, out) as inv:
        result = inv.diff(**{name: value for name, value in settings.items() if value is not None})
    say(result)
    return inv, OF_VERDICT[result.verdict]


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="RUN")
@click.argument("collection")
@click.argument("record", metavar="ID")
@click.option("--k", type=click.IntRange(min=1, max=1000), default=10, show_default=True, help="How many.")
@ends_with_run
def neighbours(where: str, collection: str, record: str, k: int) -> tuple[Investigation, int]:
    """Show who the nearest of one record should be, and who they are in the target.

    \b
    Example:
      vecforensics neighbours reports/ERR-2026-57/20261124T081437Z users 12345
    """
    from vecforensics.investigation import Investigation
    from vecforensics.run_folder import RunFolder

    run = RunFolder.open(where)
    inv = Investigation(run.case(), run)
    say(inv.neighbours(collection, record, k=k))
    return inv, CLEAN


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="CASE.yaml|RUN")
@with_out
@click.option("--apply", is_flag=True, help="Migrate everything into the target.")
@click.option("--repair", is_flag=True, help="Write only what the diff proved bad.")
@click.option("--plan", is_flag=True, help="Print what would be done and write nothing (the default).")
@click.option("--rollback", is_flag=True, help="Put every row back as it stood before the run wrote.")
@click.option(
    "--replace-all",
    is_flag=True,
    help="Write even where the expected vectors look wrong and not the target's: of another length, or other in nearly "
    "every record.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Write even where a value cannot be kept that the case does not name (another column, another metadata field).",
)
@click.option(
    "--strategy", type=click.Choice(["serial", "locked", "waves"]), default="waves", show_default=True
)
@ends_with_run
def migrate(
    where: str, out: Path | None, strategy: str, replace_all: bool, accept_loss: bool, **modes: bool
) -> tuple[Investigation, int]:
    """Migrate again, in an order that cannot race, and verify the target.

    \b
    Example:
      vecforensics migrate case.yaml                  plan only
      vecforensics migrate RUN --repair               write what the diff proved bad
      vecforensics migrate RUN --rollback
    """
    chosen = [mode for mode, given in modes.items() if given] or ["plan"]
    if len(chosen) > 1:
        # The last one would win in silence, and one of them writes more than another.
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} exclude one another: name one of them.")
    mode = chosen[0]
    with opened(where, out) as inv:
        result = inv.migrate(mode, strategy=strategy, replace_all=replace_all, accept_loss=accept_loss)
    say(result)
    return inv, CLEAN if mode in ("plan", "rollback") else OF_VERDICT[result.verdict]


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="RUN")
@ends_with_run
def report(where: str) -> tuple[Investigation, int]:
    """Write the incident report of a run.

    \b
    Example:
      vecforensics report reports/ERR-2026-57/20261124T081437Z
    """
    from vecforensics.investigation import Investigation
    from vecforensics.run_folder import RunFolder

    run = RunFolder.open(where)
    inv = Investigation(run.case(), run)
    result = inv.report(anew=True)
    say(result)
    return inv, OF_VERDICT[result.verdict]


@click.command(context_settings=CONTEXT)
@click.argument("where", metavar="RUN")
def verify(where: str) -> None:
    """Check that nothing in a run folder changed since it was sealed.

    Exit 0: as it was sealed, whatever stages have run since. 3: stages of this run have written something else since, so the
    report is out of date. 1: something changed that no stage of this run wrote.

    \b
    Example:
      vecforensics verify reports/ERR-2026-57/20261124T081437Z
    """
    from vecforensics.custody import verify_run
    from vecforensics.migrate import check_ledger
    from vecforensics.run_folder import RunFolder

    custody = verify_run(RunFolder.open(where), check_ledger=check_ledger)
    say(custody)
    raise Exit(FOUND if custody.broken else CLEAN if custody.intact else UNKNOWN)
