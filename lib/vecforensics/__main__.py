"""`python -m vecforensics` and the command `vecforensics`.

On a machine where nothing is installed yet the verbs of the checkout must work all the same, so nothing is imported here that
has to be installed first. `report` is both: alone it is make's verb (the bundled case), with a run folder it is the stage.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from vecforensics.checkout import VERBS, run_verb

__all__ = ["main"]

# What every verb needs; where one is missing the rest of the lock is missing too.
_FIRST_NEEDED = ("click", "filelock", "pyarrow", "pydantic", "yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else ""
    if verb in VERBS and (verb != "report" or len(arguments) == 1):
        return run_verb(verb, arguments[1:])
    if any(importlib.util.find_spec(name) is None for name in _FIRST_NEEDED):
        print(
            "vecforensics: nothing is installed for this Python yet. Run: make setup (or: python -m vecforensics setup)",
            file=sys.stderr,
        )
        return 2
    from vecforensics.cli import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
