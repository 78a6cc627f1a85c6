"""The verb `race`: put one migration under the microscope, without a case."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from vecforensics.cli.output import say, streams_kept
from vecforensics.cli.stages import CLEAN, CONTEXT, FOUND, UNKNOWN, opened
from vecforensics.errors import printable

if TYPE_CHECKING:
    from vecforensics.race import Exploration

__all__ = ["race"]


@click.command(context_settings=CONTEXT)
@click.argument("suspect", metavar="FILE[.py|.js][:FUNCTION]|CASE.yaml|RUN")
@click.option(
    "--records",
    type=click.IntRange(min=1),
    default=None,
    help="Generated records, about three children to a parent; of a case, so many of its own.",
)
@click.option(
    "--schedules",
    type=click.IntRange(min=1),
    default=None,
    metavar="BUDGET",
    help="Orders of events to try at most.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--strategy",
    type=click.Choice(["fifo", "withhold", "dpor", "pct", "random"]),
    default=None,
    help="One alone; else all in turn.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=click.Choice(["late", "timeout", "error", "rate_limit", "collected"]),
    help="Also inject this fault, once a schedule; may be given several times.",
)
@click.option(
    "--prove", is_flag=True, help="Spend the budget on an exhaustive search; exit 3 where it was not enough."
)
@click.option("--replay", default=None, metavar="STRING", help="Play one schedule again.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Processes that share what is sampled; the answer is the same. [default: one a core]",
)
@click.option(
    "--json",
    "json_",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the result here.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="For a FILE: write repro.py, witness.json, the picture and the traces there, all or none. "
    "For a case: where runs are kept. [default: reports]",
)
def race(
    suspect: str,
    records: int | None,
    schedules: int | None,
    seed: int,
    strategy: str | None,
    faults: tuple[str, ...],
    prove: bool,
    replay: str | None,
    workers: int | None,
    json_: Path | None,
    out: Path | None,
) -> None:
    """Find the order of events in which a migration loses data, or prove that there is none.

    The function is `async def migrate(records, embed, store)`, a plain `def`, or JavaScript's migrateDataToVectorDB(users).
    A case file or a run folder explores the suspect that it names, on its own records.

    \b
    Example:
      vecforensics race migration.py:migrate --records 100 --out found
      vecforensics race data/postpilot/migration.js
      vecforensics race migration.py:migrate --replay 'STRING printed by a failure'
    """
    if not suspect.strip():
        raise click.UsageError("Name the file, case or run to explore.")
    optional = {"records": records, "schedules": schedules, "strategy": strategy, "replay": replay}
    given: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
    given |= {"seed": seed, "faults": faults, "prove": prove, "workers": workers}
    json_ = json_.absolute() if json_ is not None else None
    is_case = suspect.endswith((".yaml", ".yml")) or Path(suspect).is_dir()
    if is_case:
        with streams_kept(), opened(suspect, out) as inv:
            result = inv.reproduce(**given)
        last = [printable(inv.run.path)]
    else:
        with streams_kept():
            result, last = _explored(suspect, given, out)
    if json_ is not None:
        from vecforensics.run_folder import write_whole

        write_whole(json_, result.to_json())
    for line in (result, *last):
        say(line)
    if result.verdict == "failing":
        raise Exit(FOUND)
    raise Exit(UNKNOWN if prove and result.verdict != "proved" else CLEAN)


def _explored(suspect: str, given: dict[str, Any], out: Path | None) -> tuple[Exploration, list[str]]:
    """The exploration of a file, and the lines that name what was written."""
    from vecforensics.race import explore
    from vecforensics.race.views.files import check_folder, exploration_files, write_folder

    made = (
        "records: generated ones, posts among them that depend on users (premature, dangling: a post before or without its "
        "user); your own, with the dependencies that they really have: vecforensics race CASE.yaml"
    )
    if out is None:
        found = explore(suspect, **given)
        if given.get("replay") is not None:
            return found, []
        failing = found.witness is not None
        return found, [
            made,
            *(["files: --out DIR writes repro.py, the picture and the traces"] if failing else []),
        ]
    here = Path.cwd()  # a suspect may go elsewhere
    check_folder(out)
    found = explore(suspect, folder=here, **given)
    files = exploration_files(found, here)
    write_folder(here / out, files)
    lines = [made, f"files: {printable(out)}/ {', '.join(files)}"]
    if "repro.py" in files:
        lines.append(f"run it: python {shlex.quote(str(out / 'repro.py'))}")
    return found, [printable(line, 2_000) for line in lines]
