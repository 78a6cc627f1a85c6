"""Looking up what a line touches, in the frame that is about to run it, without running anything of the person's.

No property, no `__getitem__` of a class of theirs, no default of a dictionary is triggered: what cannot be followed that way is
not followed. The certificate says what that leaves out (state inside objects of libraries).
"""

from __future__ import annotations

import types
from collections import defaultdict, deque
from types import FrameType
from typing import Any, Final

import numpy as np

from vecforensics.race.places import is_own_code
from vecforensics.race.shared_names import ALL, Chain, Key

__all__ = ["NOTHING", "category_of", "evaluated", "follow", "holds", "may_write", "root_of"]

NOTHING: Final = object()
_PURE: Final = {
    "all", "any", "bool", "bytes", "dict", "enumerate", "filter", "float", "format", "frozenset", "hash", "id", "int",
    "isinstance", "iter", "len", "list", "map", "max", "min", "print", "range", "repr", "reversed", "round", "set", "sorted",
    "str", "sum", "tuple", "type", "zip",
}  # fmt: skip
_PURE_MODULES: Final = {
    "asyncio", "collections", "copy", "dataclasses", "functools", "hashlib", "itertools", "json", "logging", "math", "operator",
    "numpy", "re", "statistics", "textwrap", "time", "typing", "uuid",
}  # fmt: skip
# numpy's functions leave their arguments alone, but for these (and for `out=`).
_WRITING_NUMPY: Final = {
    (("attr", name),)
    for name in ("copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis", "shuffle")
}
_CATEGORIES: dict[type, str | None] = {
    list: "list", dict: "dict", set: "set", deque: "list", bytearray: "list", defaultdict: "dict", np.ndarray: "list",
    types.SimpleNamespace: "object",
}  # fmt: skip


def category_of(value: Any) -> str | None:
    """What kind of shared state a value is; None for what cannot change or is followed elsewhere."""
    kind = type(value)
    try:
        return _CATEGORIES[kind]
    except KeyError:
        pass
    found: str | None = None
    if isinstance(value, dict):
        found = "dict"
    elif isinstance(value, set):
        found = "set"
    elif isinstance(value, list | deque | np.ndarray):
        found = "list"
    elif kind.__module__.startswith("asyncio.") and kind.__module__ != "asyncio.tasks":
        found = "primitive"
    elif kind.__module__ in ("itertools", "array", "builtins") and (
        hasattr(kind, "__next__") and kind.__name__ not in ("coroutine", "async_generator")
    ):
        found = "iterator"
    elif kind.__module__ == "array":
        found = "list"
    elif any(
        is_own_code(function.__code__.co_filename)
        for function in vars(kind).values()
        if isinstance(function, types.FunctionType)
    ) and not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        found = "object"
    _CATEGORIES[kind] = found
    return found


def root_of(frame: FrameType, names: dict[str, Any], root: str) -> Any:
    if root in names:
        return names[root]
    return frame.f_globals.get(root, NOTHING)


def follow(frame: FrameType, names: dict[str, Any], value: Any, what: str, key: Any) -> Any:
    """Follow one step without running anything of the person's."""
    if what == "attr":
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict) and key in own:
            return own[key]
        slot = getattr(type(value), key, None)
        if isinstance(slot, types.MemberDescriptorType):
            return getattr(value, key, NOTHING)
        return NOTHING
    place = evaluated(frame, names, key)
    if place == ALL:
        return NOTHING
    try:
        if isinstance(value, dict):
            return dict.get(value, place, NOTHING)
        if type(value) in (list, tuple, deque, np.ndarray):
            return value[place]
    except (TypeError, IndexError, KeyError):
        pass
    return NOTHING


def evaluated(frame: FrameType, names: dict[str, Any], key: Key) -> Any:
    """The key of an element as something that can be compared; ALL where it is not known."""
    if key == ALL:
        return ALL
    what = key[0]
    if what == "const":
        return key[1]
    if what == "attr":
        return (".", key[1])
    if what == "tuple":
        parts = tuple(evaluated(frame, names, item) for item in key[1:])
        return ALL if ALL in parts else parts
    chain: Any = key[1]
    value = root_of(frame, names, chain.root)
    for step, inner in chain.steps:
        if value is NOTHING:
            return ALL
        value = follow(frame, names, value, step, inner)
    return value if isinstance(value, str | int | float | bool | None) else ALL


def holds(value: Any, key: Any) -> bool:
    return key != ALL and key in value


def may_write(frame: FrameType, names: dict[str, Any], call: Chain | None) -> bool:
    """Whether a call may change its arguments unseen. A function of the person's own is seen line by line."""
    if call is None:
        return True
    if not call.steps and call.root in _PURE and call.root not in names and call.root not in frame.f_globals:
        return False
    value = root_of(frame, names, call.root)
    if value is NOTHING:
        # A builtin, or a name that a later line binds: next() and setattr() change their argument.
        return call.root not in _PURE
    if isinstance(value, types.ModuleType):
        top = value.__name__.partition(".")[0]
        return top not in _PURE_MODULES or (top == "numpy" and call.steps[-1:] in _WRITING_NUMPY)
    for what, key in call.steps:
        if what != "attr":
            return True
        value = getattr(value, "__dict__", {}).get(key, getattr(type(value), key, NOTHING))
        if value is NOTHING:
            return True
    function = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    if code is not None:
        module = getattr(function, "__module__", "") or ""
        return not (
            is_own_code(code.co_filename)
            or module.startswith("vecforensics.race.")
            or module.partition(".")[0] in _PURE_MODULES
        )
    if isinstance(value, type):
        return False
    return getattr(value, "__name__", "") not in _MUTATORS_WITH_SAFE_ARGUMENTS


# Methods of containers store a reference to their argument and leave it alone.
_MUTATORS_WITH_SAFE_ARGUMENTS: Final = {
    "add", "append", "appendleft", "discard", "extend", "get", "index", "insert", "pop", "remove", "setdefault", "update", "join",
    "copy", "count", "put_nowait", "put", "tobytes", "union", "difference", "issubset", "startswith", "encode", "format",
}  # fmt: skip
