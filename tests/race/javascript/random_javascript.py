"""Random small programs over promises: what can be awaited, combined, thrown, caught, forgotten. Each prints what it does."""

from __future__ import annotations

import random

__all__ = ["random_program"]


class _Writer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def mark(self) -> int:
        self.count += 1
        return self.count

    def ask(self) -> str:
        return f"generateVector({{ id: {self.mark()} }}).then(() => {self.mark()})"

    def promise(self, depth: int) -> str:
        """An expression that gives a promise, or something that can be awaited."""
        choice = self.random.randrange(14 if depth > 0 else 5)
        inner = depth - 1
        if choice <= 1:
            return self.ask()
        if choice == 2:
            return f"Promise.resolve({self.mark()})"
        if choice == 3:
            return f"{self.mark()}"
        if choice == 4:
            return f"Promise.reject(new Error('e{self.mark()}'))"
        if choice == 5:
            return f"(async () => {{ {self.block(inner)} return {self.mark()}; }})()"
        if choice <= 9:
            name = ("all", "race", "allSettled", "any")[choice - 6]
            parts = ", ".join(self.promise(inner) for _ in range(self.random.randint(1, 3)))
            return f"Promise.{name}([{parts}])"
        if choice == 10:
            return f"Promise.resolve({self.promise(inner)}).then((x) => {self.value(inner)})"
        if choice == 11:
            return f"Promise.resolve({self.promise(inner)}).catch((e) => {{ say('c{self.mark()}', e); return {self.mark()}; }})"
        if choice == 12:
            return f"Promise.resolve({self.promise(inner)}).finally(() => say('f{self.mark()}'))"
        return f"new Promise((go, fail) => {self.random.choice(('go', 'fail'))}({self.promise(inner)}))"

    def value(self, depth: int) -> str:
        return self.random.choice(
            (f"say('v{self.mark()}', x)", self.promise(depth), f"{{ throw new Error('t{self.mark()}'); }}")
        )

    def statement(self, depth: int) -> str:
        choice = self.random.randrange(10 if depth > 0 else 4)
        inner = depth - 1
        if choice == 0:
            return f"say('s{self.mark()}');"
        if choice <= 2:
            return f"say('a{self.mark()}', await {self.promise(inner)});"
        if choice == 3:
            return f"void {self.promise(inner)};"
        if choice <= 6:
            return f"try {{ {self.block(inner)} }} catch (e) {{ say('x{self.mark()}', e); }} finally {{ say('y{self.mark()}'); }}"
        if choice == 7:
            return f"for (const i of [1, 2]) {{ {self.block(inner)} }}"
        if choice == 8:
            return f"[1, 2].forEach(async () => {{ {self.block(inner)} }});"
        name = f"p{self.mark()}"
        return (
            f"const {name} = {self.promise(inner)}; {self.block(inner)} say('l{self.mark()}', await {name});"
        )

    def block(self, depth: int) -> str:
        return " ".join(self.statement(depth) for _ in range(self.random.randint(1, 3)))


def random_program(seed: int) -> str:
    """The text of a migration; the same for the same seed."""
    writer = _Writer(seed)
    return (
        "const show = (x) => x instanceof Error ? `${x.name}(${x.message}${x.errors ? x.errors.map(show) : ''})` : "
        "x && x.status ? `${x.status}:${show(x.value ?? x.reason)}` : Array.isArray(x) ? `[${x.map(show)}]` : `${x}`;\n"
        "const say = (mark, x) => console.log(`${mark} ${show(x)}`);\n"
        f"async function migrateDataToVectorDB(users) {{\n{writer.block(3)}\nsay('end');\n}}\n"
    )
