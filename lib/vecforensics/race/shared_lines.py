"""Which shared things a line of the person's code touches, read from its source.

Two events of a schedule may be swapped without effect unless they touch the same thing. Ids in the store are easy to see; a list,
a counter, an attribute or a captured variable of the program are not. So the source is read once: for each line, which names,
attributes and elements it reads and which it writes. `race/tracker.py` looks the objects up while the line is run.

The reading errs on the careful side: an argument of an unknown function counts as written, a name that is only passed on as read
whole. It is not so careful as to be useless: appending to a list whose order nobody ever looks at commutes, and so does writing
different keys of a dictionary.
"""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from vecforensics.race.shared_names import ALL, Binder, Chain, Key, Scope, Walker, chain_of, key_of

__all__ = ["Access", "Lines", "Variable", "lines_of"]


@dataclass(frozen=True, slots=True)
class Access:
    """One touch. `mode`: r read, w write, n only the length, i an insertion whose place does not matter, s an element stored
    (an insertion where the key is new), a an argument of `call` (written unless `call` is known not to). `owner`: the function
    in which the root is bound where others share it ("" is the module), None for a plain local. `ordered`: see `_settle`.
    """

    chain: Chain
    key: Key
    mode: str
    call: Chain | None = None
    owner: str | None = None
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Variable:
    """A captured or global variable that is bound more than once, read or rebound."""

    scope: str
    name: str
    mode: str


@dataclass(frozen=True)
class Lines:
    """What a file's lines touch. `readable` is false where there is no source."""

    readable: bool
    accesses: dict[int, tuple[Access, ...]]
    variables: dict[int, tuple[Variable, ...]]
    statement: dict[int, tuple[int, ...]]
    """Line -> the lines of its statement that touch something: what an `await` in the middle of it may still have to do."""


_APPENDING: Final = {"append", "add", "extend", "appendleft", "put_nowait"}
_MUTATING: Final = {
    "appendleft", "clear", "discard", "extend", "extendleft", "fill", "insert", "pop", "popitem", "popleft", "remove", "resize",
    "reverse", "rotate", "setdefault", "sort", "subtract", "update", "difference_update", "intersection_update", "move_to_end",
    "symmetric_difference_update", "append", "add", "put", "itemset", "partition", "send", "throw", "close", "__next__",
}  # fmt: skip
_KEYED_READ: Final = {"get", "__contains__", "__getitem__"}
_KEYED_WRITE: Final = {"setdefault", "__setitem__"}


@lru_cache(maxsize=64)
def lines_of(file: str) -> Lines:
    """The analysis of a file, or of a notebook cell; it is made once."""
    source = "".join(linecache.getlines(file))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return Lines(False, {}, {}, {})
    if not source.strip():
        return Lines(False, {}, {}, {})
    binder = Binder()
    binder.visit(tree)
    reader = _Reader(binder)
    reader.visit(tree)
    return Lines(
        True,
        {line: tuple(dict.fromkeys(found)) for line, found in reader.accesses.items()},
        {line: tuple(dict.fromkeys(found)) for line, found in reader.variables.items()},
        _statements(tree, reader.accesses.keys() | reader.variables.keys()),
    )


def _statements(tree: ast.AST, touching: set[int]) -> dict[int, tuple[int, ...]]:
    """Of a compound statement only the head counts: its body is made of statements of their own."""
    found: dict[int, tuple[int, ...]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if isinstance(body, list) and body else (node.end_lineno or node.lineno)
            lines = tuple(line for line in range(node.lineno, max(node.lineno, end) + 1) if line in touching)
            for line in range(node.lineno, max(node.lineno, end) + 1):
                found[line] = lines
    return found


class _Reader(Walker):
    """Second walk: the accesses of every line."""

    def __init__(self, binder: Binder) -> None:
        super().__init__()
        self.scope = binder.scope
        self.scopes = binder.scopes
        self.binder = binder
        self.accesses: dict[int, list[Access]] = {}
        self.variables: dict[int, list[Variable]] = {}
        self._inserted: list[tuple[int, int, Access, str, Scope]] = []
        self._whole: set[tuple[str | None, str]] = set()  # function (None for attributes), name

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Module):
            for child in node.body:
                self.visit(child)
            self._settle()
        else:
            super().visit(node)

    # --- what is emitted -------------------------------------------------------------------------------------------

    def emit(self, node: ast.AST, chain: Chain, key: Key, mode: str, call: Chain | None = None) -> None:
        line = node.lineno  # type: ignore[attr-defined]
        found = self.accesses.setdefault(line, [])
        last = chain.steps[-1][1] if chain.steps and chain.steps[-1][0] == "attr" else chain.root
        scope = self.scope.owner(chain.root)
        shared = scope.parent is None or (scope.label, chain.root) in self.binder.captured
        access = Access(chain, key, mode, call, scope.label if shared else None)
        if mode in ("i", "s"):
            self._inserted.append((line, len(found), access, str(last), self.scope))
        elif key == ALL and mode in ("r", "a", "w"):
            self._whole.add((None if chain.steps else scope.label, str(last)))
        found.append(access)

    def variable(self, node: ast.AST, name: str, mode: str) -> None:
        owner = self.binder.varying(self.scope, name)
        if owner is not None:
            line = node.lineno  # type: ignore[attr-defined]
            self.variables.setdefault(line, []).append(Variable(owner.label, name, mode))

    def _settle(self) -> None:
        """An insertion is order-free where the container is made here and is never read, passed on or returned whole."""
        for line, place, access, name, scope in self._inserted:
            owner = scope.owner(name)
            if access.chain.steps:
                made_here = name in self.binder.fresh_attributes and name not in self.binder.stale_attributes
            else:
                made_here = name in owner.fresh and name not in owner.stale and name not in owner.parameters
            private = made_here and (None if access.chain.steps else owner.label, name) not in self._whole
            self.accesses[line][place] = replace(access, ordered=not private)

    # --- loads -----------------------------------------------------------------------------------------------------

    def load(self, node: ast.AST, mode: str = "r", call: Chain | None = None) -> None:
        """Everything that evaluating `node` touches; its value itself is touched in `mode`."""
        chain = chain_of(node)
        if chain is None:
            self.visit(node)
            return
        self.through(node, chain)
        self.emit(node, chain, ALL, mode, call)

    def through(self, node: ast.AST, chain: Chain) -> None:
        """The elements and attributes on the way along a chain."""
        self.variable(node, chain.root, "r")
        for place, (what, key) in enumerate(chain.steps):
            holder = Chain(chain.root, chain.steps[:place])
            self.emit(node, holder, ("attr", key) if what == "attr" else key, "r")
            if what == "item":
                self.key_names(node, key)

    def key_names(self, node: ast.AST, key: Key) -> None:
        if isinstance(key, tuple) and key[0] == "chain":
            self.variable(node, key[1].root, "r")

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.load(node)
        else:
            self.variable(node, node.id, "w")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            if chain_of(node) is None:
                self.visit(node.value)
            else:
                self.load(node)
        else:
            self.store(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.store(node)
            return
        if chain_of(node) is not None:
            self.load(node)
            return
        holder = chain_of(node.value)
        if holder is not None:
            self.through(node, holder)
            self.emit(node, holder, key_of(node.slice), "r")
        else:
            self.visit(node.value)
        self.visit(node.slice)

    # --- stores ----------------------------------------------------------------------------------------------------

    def store(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.variable(target, target.id, "w")
        elif isinstance(target, ast.Starred):
            self.store(target.value)
        elif isinstance(target, ast.Tuple | ast.List):
            for item in target.elts:
                self.store(item)
        elif isinstance(target, ast.Attribute):
            holder = chain_of(target.value)
            if holder is None:
                self.visit(target.value)
            else:
                self.through(target, holder)
                self.emit(target, holder, ("attr", target.attr), "w")
        elif isinstance(target, ast.Subscript):
            self.visit(target.slice)
            holder = chain_of(target.value)
            if holder is None:
                self.visit(target.value)
            else:
                self.through(target, holder)
                key = key_of(target.slice)
                self.emit(target, holder, key, "w" if key == ALL else "s")

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.store(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self.store(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        chain = chain_of(node.target)
        if chain is not None:
            self.through(node.target, chain)
            # `xs += [x]` changes the list itself; for a number the touch of the object comes to nothing.
            self.emit(node.target, chain, ALL, "w")
        self.store(node.target)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            holder = chain_of(target.value) if isinstance(target, ast.Subscript | ast.Attribute) else None
            if holder is not None:
                self.through(target, holder)
                self.emit(target, holder, ALL, "w")
            else:
                self.visit(target)

    # --- calls and comparisons ---------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        function = chain_of(node.func)
        if function is None:
            self.visit(node.func)
        elif isinstance(node.func, ast.Attribute):
            holder = chain_of(node.func.value)
            assert holder is not None
            self.through(node.func, holder)
            self.method(node, holder, node.func.attr)
        else:
            self.through(node.func, function)
        named = [(keyword.value, "w" if keyword.arg == "out" else "a") for keyword in node.keywords]
        for argument, mode in (*((item, "a") for item in node.args), *named):
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            if chain_of(inner) is not None:
                self.load(inner, "n" if function == Chain("len") else mode, function)
            else:
                self.visit(inner)

    def method(self, node: ast.Call, holder: Chain, name: str) -> None:
        key = key_of(node.args[0]) if node.args else ALL
        if name in _KEYED_READ and key != ALL:
            self.emit(node, holder, key, "r")
        elif (name in _KEYED_WRITE and key != ALL) or (name == "add" and key != ALL):
            self.emit(node, holder, key, "s")
        elif name in _APPENDING:
            self.emit(node, holder, ALL, "i")
        elif name in _MUTATING:
            self.emit(node, holder, ALL, "w")
        else:
            # On a container a look at all of it; on an object of the person's own class the lines of the method tell.
            self.emit(node, holder, ALL, "r")

    def visit_Compare(self, node: ast.Compare) -> None:
        self.visit(node.left)
        left: ast.expr = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            holder = chain_of(right)
            key = key_of(left)
            if isinstance(operator, ast.In | ast.NotIn) and holder is not None and key != ALL:
                self.through(right, holder)
                self.emit(right, holder, key, "r")
            else:
                self.visit(right)
            left = right
