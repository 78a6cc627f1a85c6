"""Loading a user's function by name: `package.module:function` or `path/file.py:function`.

Used for embedders and for migrations under test. A file is loaded under a module name of its own, so that two files called
`migration.py` do not shadow one another, and its folder is importable while it loads.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vecforensics.errors import InputError

__all__ = ["load_function"]


def load_function(reference: str, folder: Path, error: type[InputError]) -> Callable[..., Any]:
    """The function that `reference` names. Paths start at `folder`. Raises `error` with one line for whatever goes wrong."""
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise error(
            f"{reference!r} names no function",
            where=reference,
            hint="Write package.module:function or file.py:function",
        )
    if not place.endswith(".py") and (folder / place).is_file():
        raise error(
            "a migration or embedder is a .py file (a migration also a .js file)",
            where=place,
            hint="Write file.py:function or package.module:function",
        )
    try:
        module = (
            _from_file(folder / place, error) if place.endswith(".py") else importlib.import_module(place)
        )
    except InputError:
        raise
    except ModuleNotFoundError as missing:
        raise error(
            f"no module named {missing.name!r}",
            where=reference,
            hint="Install it or mend the name (a file ends in .py)",
        ) from None
    except SyntaxError as broken:
        raise error(
            f"syntax error: {broken.msg}", where=f"{broken.filename}:{broken.lineno}", hint="Mend the file"
        ) from None
    except (Exception, SystemExit) as broken:
        # A script that ends with sys.exit(main()) would else end us, and with 0.
        raise error(
            f"fails while it is imported ({type(broken).__name__}: {broken})",
            where=reference,
            hint="Mend the module",
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        known = (
            ", ".join(n for n, v in vars(module).items() if callable(v) and not n.startswith("_")) or "none"
        )
        raise error(f"there is no function {name!r}", where=place, hint=f"Functions there: {known}")
    found: Callable[..., Any] = function
    return found


def _from_file(path: Path, error: type[InputError]) -> Any:
    resolved = path.resolve()
    if not resolved.is_file():
        raise error(
            "there is no such file", where=str(path), hint="Check the path; it is relative to the case file"
        )
    name = f"_vecforensics_user_{resolved.stem}_{abs(_stable(str(resolved))):x}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None  # a file that ends in .py always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(resolved.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(resolved.parent))
    return module


def _stable(text: str) -> int:
    """The same number for the same path in every process (`hash` is salted)."""
    return int.from_bytes(text.encode(), "big") % (1 << 61)
