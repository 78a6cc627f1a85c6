"""A witness of a JavaScript migration as a program for plain Node: no laboratory, no controlled loop, only latencies.

The original text runs in Node itself, and each operation takes the time that the witness gives it. So whoever doubts the
laboratory's JavaScript engine can watch the failure in the one that production uses.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from vecforensics.race.javascript.program import JavaScriptProgram, users_json
from vecforensics.race.model import OperationKind, Witness

__all__ = ["node_repro"]


@cache
def _template() -> str:
    return files(__package__).joinpath("node_repro.js").read_text(encoding="utf-8")


def node_repro(witness: Witness, program: JavaScriptProgram, name: str = "repro.js") -> str:
    """The text of `name`. Run by Node it ends with 1 where the failure shows itself, and says on stderr what went wrong."""
    faults = dict(item.split("=", 1) for item in witness.faults)
    answers = [
        [item.kind.value, item.key, round(1000 * witness.latencies_s[item.id], 3), faults.get(item.id, "")]
        for item in witness.trace.operations
        if item.kind is not OperationKind.TIMER and item.id in witness.latencies_s
    ]
    script = program.script
    values: dict[str, Any] = {
        "SOURCE": _literal(script.text),
        "USERS": _literal(json.loads(users_json(witness.records))),
        "ANSWERS": _literal(answers),
        "FILE": _literal(script.shown_as),
        "FUNCTION": _literal(script.function),
        "NAME": _one_line(program.name),
        "REPRO": _one_line(name),
    }
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], _template())


def _literal(value: Any) -> str:
    """`value` as a JavaScript literal; ASCII only, so that no text of a stranger can end a line or a comment."""
    return json.dumps(value)


def _one_line(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text)
