"""JavaScript migrations under the laboratory's scheduler (extra [js])."""

from vecforensics.race.javascript.node_repro import node_repro
from vecforensics.race.javascript.program import FUNCTION, JavaScriptProgram
from vecforensics.race.javascript.session import ConsoleLine, JavaScriptError, JavaScriptSession

__all__ = [
    "FUNCTION",
    "ConsoleLine",
    "JavaScriptError",
    "JavaScriptProgram",
    "JavaScriptSession",
    "node_repro",
]
