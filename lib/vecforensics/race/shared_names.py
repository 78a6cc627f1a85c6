"""Names in the person's source: where each is bound, how often, and who else can see it.

Python decides at compile time which function a name belongs to; this is the same decision, made over the syntax tree, with two
more facts on the way: whether a captured variable is ever bound a second time (if not it is a constant, and reading it is no
touch), and whether a container is made afresh here (if so, nobody outside holds it under another name).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ALL", "Binder", "Chain", "Key", "Scope", "Walker", "chain_of", "key_of"]

ALL: Final = "*"
"""The key that stands for a whole object."""

Step = tuple[str, Any]  # ("attr", name) or ("item", key expression)
Key = tuple[Any, ...] | str  # ALL, or ("const", value) | ("chain", Chain) | ("tuple", keys…) | ("attr", name)


_FRESH: Final = {"list", "dict", "set", "deque", "defaultdict", "Counter", "OrderedDict"}


@dataclass(frozen=True, slots=True)
class Chain:
    """`root.a[k].b` as far as it can be followed without running anything."""

    root: str
    steps: tuple[Step, ...] = ()


class Scope:
    def __init__(self, label: str, parent: Scope | None, function: bool) -> None:
        self.label, self.parent, self.function = label, parent, function
        self.bindings: dict[str, int] = {}
        self.parameters: set[str] = set()
        self.fresh: set[str] = set()
        self.stale: set[str] = set()
        self.nonlocals: set[str] = set()
        self.globals: set[str] = set()

    def owner(self, name: str) -> Scope:
        """The scope in which `name`, as used here, is bound."""
        scope: Scope | None = self
        first = True
        while scope is not None:
            if scope.parent is None or (first and name in scope.globals):
                return scope.top
            if scope.function and name in scope.bindings and name not in scope.nonlocals:
                return scope
            scope, first = scope.parent, False
        return self.top

    @property
    def top(self) -> Scope:
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


class Walker(ast.NodeVisitor):
    """Keeps the scope while walking. Comprehensions and lambdas are functions, as the interpreter has them."""

    def __init__(self) -> None:
        self.scope = Scope("", None, False)
        self.scopes: dict[ast.AST, Scope] = {}

    def enter(self, node: ast.AST, name: str, function: bool) -> Scope:
        known = self.scopes.get(node)
        if known is None:
            known = self.scopes[node] = Scope(f"{self.scope.label}.{name}".lstrip("."), self.scope, function)
        return known

    def within(self, node: ast.AST, name: str, children: Iterable[ast.AST], function: bool = True) -> None:
        outer, self.scope = self.scope, self.enter(node, name, function)
        for child in children:
            self.visit(child)
        self.scope = outer

    def visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        for default in (*arguments.defaults, *(item for item in arguments.kw_defaults if item is not None)):
            self.visit(default)
        if not isinstance(node, ast.Lambda):
            for decorator in node.decorator_list:
                self.visit(decorator)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        self.within(node, getattr(node, "name", f"lambda:{node.lineno}"), body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in (*node.bases, *node.decorator_list):
            self.visit(base)
        self.within(node, node.name, node.body, function=False)

    def visit_comprehension_like(self, node: Any) -> None:
        # The first iterable is evaluated outside; telling it apart gains nothing, since names resolve outwards.
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.within(node, f"comprehension:{node.lineno}", [*node.generators, *parts])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_like


class Binder(Walker):
    """First walk: where names are bound, how often, and which of them are read whole anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.captured: set[tuple[str, str]] = set()
        self.rebound_inside: set[tuple[str, str]] = set()
        self.fresh_attributes: set[str] = set()
        self.stale_attributes: set[str] = set()
        self._loops = 0
        self._uses: list[tuple[Scope, str, bool]] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Module):
            for child in node.body:
                self.visit(child)
            self._settle()
        else:
            super().visit(node)

    def visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        if not isinstance(node, ast.Lambda):
            self._bind(node.name)
        scope = self.enter(node, getattr(node, "name", f"lambda:{node.lineno}"), True)
        arguments = node.args
        for argument in (
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ):
            if argument is not None:
                scope.bindings[argument.arg] = scope.bindings.get(argument.arg, 0) + 1
                scope.parameters.add(argument.arg)
        loops, self._loops = self._loops, 0
        super().visit_function(node)
        self._loops = loops

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function

    def visit_loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        self._loops += 1
        self.generic_visit(node)
        self._loops -= 1

    visit_For = visit_AsyncFor = visit_While = visit_loop

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.nonlocals.update(node.names)

    def visit_Global(self, node: ast.Global) -> None:
        self.scope.globals.update(node.names)

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        fresh = _is_fresh(value)
        if isinstance(target, ast.Name):
            (self.scope.fresh if fresh else self.scope.stale).add(target.id)
        elif isinstance(target, ast.Attribute):
            (self.fresh_attributes if fresh else self.stale_attributes).add(target.attr)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assigned(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node.target, node.value)
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id)
            self._bind(node.target.id)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._uses.append((self.scope, node.id, False))
        else:
            self._bind(node.id)
            self._uses.append((self.scope, node.id, True))

    def _bind(self, name: str) -> None:
        self.scope.bindings[name] = self.scope.bindings.get(name, 0) + (2 if self._loops else 1)

    def _settle(self) -> None:
        for scope, name, store in self._uses:
            owner = scope.owner(name)
            inner = owner is not scope
            if inner and (owner.function or store):
                self.captured.add((owner.label, name))
            if inner and store and (name in scope.nonlocals or name in scope.globals):
                self.rebound_inside.add((owner.label, name))

    def varying(self, scope: Scope, name: str) -> Scope | None:
        """The owner of a captured variable that is bound more than once; None where the variable is constant or private."""
        owner = scope.owner(name)
        mark = (owner.label, name)
        if mark not in self.captured:
            return None
        many = owner.bindings.get(name, 0) > 1 or mark in self.rebound_inside
        return owner if many and (owner.function or mark in self.rebound_inside) else None


def _is_fresh(value: ast.expr) -> bool:
    if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    function = value.func if isinstance(value, ast.Call) else None
    name = (
        function.id
        if isinstance(function, ast.Name)
        else function.attr
        if isinstance(function, ast.Attribute)
        else ""
    )
    return name in _FRESH


def chain_of(node: ast.AST) -> Chain | None:
    steps: list[Step] = []
    while True:
        if isinstance(node, ast.Name):
            return Chain(node.id, tuple(reversed(steps)))
        if isinstance(node, ast.Attribute):
            steps.append(("attr", node.attr))
            node = node.value
        elif isinstance(node, ast.Subscript):
            key = key_of(node.slice)
            if key == ALL:
                return None
            steps.append(("item", key))
            node = node.value
        else:
            return None


def key_of(node: ast.AST) -> Key:
    if isinstance(node, ast.Constant):
        return ("const", node.value)
    if isinstance(node, ast.Tuple):
        keys = [key_of(item) for item in node.elts]
        return ALL if ALL in keys else ("tuple", *keys)
    chain = chain_of(node)
    return ALL if chain is None else ("chain", chain)
