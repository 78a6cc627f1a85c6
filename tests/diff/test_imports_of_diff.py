"""The packages of the diff stand in an order: none asks one that asks it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import vecforensics.diff

ROOT = Path(vecforensics.diff.__file__).parent
NAME = "vecforensics.diff."


def node(module: str) -> str:
    """The package below `diff` that a module belongs to; a module that lies in `diff` itself stands for itself."""
    return module.removeprefix(NAME).split(".")[0]


def test_the_packages_of_the_diff_import_one_another_in_one_direction() -> None:
    asks: dict[str, set[str]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        own = node(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(NAME):
                asks.setdefault(own, set()).add(node(str(statement.module)))
        asks.get(own, set()).discard(own)
    order = list(TopologicalSorter(asks).static_order())
    assert order.index("compare") < order.index("sides") < order.index("explain")
