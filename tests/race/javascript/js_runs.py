"""JavaScript suspects written to a file, and single runs of them under a given order of completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

from vecforensics.race.javascript import JavaScriptProgram
from vecforensics.race.play import Run, play
from vecforensics.race.records import generate_records
from vecforensics.race.world import Ground, Op
from vecforensics.records import Record

__all__ = ["body", "first", "last", "program", "run"]

Order = Callable[[Sequence[Op]], int]


def first(enabled: Sequence[Op]) -> int:
    return 0


def last(enabled: Sequence[Op]) -> int:
    return len(enabled) - 1


class _Ordered:
    def __init__(self, order: Order) -> None:
        self.choose = order


def program(folder: Path, text: str, name: str = "migration.js") -> JavaScriptProgram:
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return JavaScriptProgram.load(path)


def body(text: str) -> str:
    """`text` as the body of the migration."""
    return "async function migrateDataToVectorDB(users) {\n" + dedent(text) + "\n}\n"


def run(
    suspect: JavaScriptProgram, order: Order = first, records: Sequence[Record] | int = 4, detail: bool = True
) -> Run:
    chosen = generate_records(records) if isinstance(records, int) else records
    return play(suspect, Ground(chosen), _Ordered(order), detail=detail)
