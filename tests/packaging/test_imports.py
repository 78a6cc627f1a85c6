"""Imports go downward only, and what is heavy is not imported before it is used."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vecforensics

PACKAGE = Path(vecforensics.__file__).parent
STAGES = {"collect", "diff", "race", "migrate", "report"}
ABOVE = {
    *("investigation", "whole_way", "cli", "postpilot", "played_migration", "tables", "figures"),
    *("runner", "__main__"),
}
HEAVY = (
    "pandas",
    "pyarrow",
    "numpy",
    "matplotlib",
    "lancedb",
    "papermill",
    "nbformat",
    "scipy",
    "quickjs",
    "rich",
    "pinecone",
)


def imports_of(path: Path) -> Iterator[str]:
    """The top-level names of ours that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            parts = (node.module or "").split(".")
            if parts[0] == "vecforensics":
                yield from parts[1:2] or (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("vecforensics.")
            )


def graph() -> dict[str, set[str]]:
    """Top-level name → the other top-level names that it imports. The package's own __init__ imports on demand: left out."""
    edges: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        top = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if top != "__init__":
            edges.setdefault(top, set()).update(set(imports_of(path)) - {top})
    return edges


def test_stages_do_not_import_one_another() -> None:
    edges = graph()
    assert set(edges) >= {"collect", "diff", "race", "migrate", "report"}
    assert {stage: edges[stage] & STAGES for stage in STAGES} == {stage: set() for stage in STAGES}


def test_nothing_below_imports_what_is_above() -> None:
    upward = {
        name: (imported & ABOVE if name in STAGES else imported & (ABOVE | STAGES))
        for name, imported in graph().items()
        if name not in ABOVE
    }
    assert {name: found for name, found in upward.items() if found} == {}


def test_the_nouns_import_nothing_of_ours_but_nouns() -> None:
    edges = graph()
    assert {
        name: edges[name] - {"errors", "findings", "records"} for name in ("errors", "findings", "records")
    } == {
        "errors": set(),
        "findings": set(),
        "records": set(),
    }


def test_there_is_no_circle() -> None:
    order = list(graphlib.TopologicalSorter(graph()).static_order())
    assert order.index("errors") < order.index("case") < order.index("investigation")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import vecforensics", id="import vecforensics"),
        pytest.param("from vecforensics.__main__ import main; main(['help'])", id="help of the checkout"),
        pytest.param("from vecforensics.__main__ import main; main(['--help'])", id="vecforensics --help"),
        pytest.param(
            "from vecforensics.__main__ import main; main(['diff', '--help'])", id="vecforensics diff --help"
        ),
    ],
)
def test_what_is_heavy_stays_out(code: str) -> None:
    probe = f"import sys\n{code}\nprint(' '.join(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stderr.split() == []
