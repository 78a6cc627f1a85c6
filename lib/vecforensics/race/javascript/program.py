"""A JavaScript file as a suspect: `async function migrateDataToVectorDB(users)` against `generateVector` and `vectorDB`.

The text runs unchanged in a realm of its own for every schedule, so nothing that one run does to its globals reaches the
next. What a program of this kind finds around itself:

* `users`: all records as one flat list, parents first, each `{id, text, version, dependsOn, metadata, …metadata's fields}`;
* `generateVector(user)`: a promise of an array of numbers;
* `vectorDB.insert(id, vector, metadata)` (or `upsert`), `.fetch(id)` (or `get`; undefined where there is nothing), `.delete(id)`.
  Ids are made text as a client library does it: NaN arrives as "NaN", undefined as "undefined";
* `console`, `setTimeout` and its kin (virtual time), `process.exit`, `process.on`, `module`, `exports`, `require`.

An unhandled rejection ends the process as in Node 15 and later: the run is a crash, and what was under way is lost.
`Date` and `Math.random` are virtual and seeded, so a run depends on nothing but the order of events.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.javascript.engine import Code, Realm, compile_code, sees_rejections
from vecforensics.race.javascript.session import JavaScriptSession
from vecforensics.race.javascript.source import Script, read_script
from vecforensics.race.tracker import Tracker
from vecforensics.race.world import World
from vecforensics.records import Record

__all__ = ["FUNCTION", "JavaScriptProgram"]

FUNCTION: Final = "migrateDataToVectorDB"
_EPOCH_MS: Final = 1_767_225_600_000.0  # 2026-01-01T00:00:00Z, when every run begins


@lru_cache(maxsize=1)
def _kernel() -> Code:
    folder = files(__package__)
    return compile_code(
        "".join(folder.joinpath(name).read_text("utf-8") for name in ("node.js", "kernel.js"))
    )


def users_json(records: Sequence[Record]) -> str:
    """The argument `users` as JSON. A metadata field never hides one of the fixed names."""
    return json.dumps(
        [
            {
                **record.metadata,
                "id": record.id,
                "text": record.text,
                "version": record.version,
                "dependsOn": list(record.depends_on),
                "metadata": dict(record.metadata),
            }
            for record in records
        ]
    )


def _find(name: str) -> str:
    """An expression for the function `name`: declared, exported under that name, or what the file exports as a whole."""
    places = [name, f"module.exports.{name}"]
    if name == FUNCTION:
        places += ["exports.default", "module.exports.default", "module.exports"]
    return " : ".join(f"typeof {place} === 'function' ? {place}" for place in places) + " : null"


class JavaScriptProgram:
    """A script that can be run again and again. Making one loads it once: SuspectError for a syntax error or a missing
    function, MissingExtra without quickjs-ng."""

    driver: Final = "javascript"
    fine: Final = False
    tracked: Final = False
    conflicts: Final[tuple[str, ...]] = ()

    def __init__(self, script: Script) -> None:
        self.script = script
        self.name = f"{Path(script.file).name}:{script.function}"
        self.files = (script.file,)
        self._users: tuple[Sequence[Record], str] = ((), "")
        self._seen: dict[tuple[str, str], Any] = {}
        self._code: Code | None = None
        realm, _host, _function = self._load(detail=False)
        del _host, _function
        realm.close()
        self._code = compile_code(script.text)

    @classmethod
    def load(cls, path: Path, function: str = FUNCTION, shown_as: str | None = None) -> JavaScriptProgram:
        """The program in the file at `path`. `shown_as`: the file's name in stacks and log lines, else its own."""
        return cls(read_script(path, function, shown_as))

    @property
    def not_seen(self) -> tuple[str, ...]:
        """What a run in this realm cannot show, for the certificate."""
        return (
            ()
            if sees_rejections()
            else ("unhandled rejections (this build of quickjs-ng does not tell of them)",)
        )

    def start(self, world: World, records: Sequence[Record]) -> JavaScriptSession:
        realm, host, function = self._load(detail=world.log is not None)
        if self._users[0] is not records:
            self._users = (records, users_json(records))
            self._seen.clear()
        return JavaScriptSession(self.script, realm, function, host, world, self._users[1], self._seen)

    def start_tracked(self, world: World, records: Sequence[Record], tracker: Tracker) -> JavaScriptSession:
        """Never asked for, since `tracked` is false: a realm cannot be asked which of its objects an event has touched."""
        return self.start(world, records)

    def _load(self, *, detail: bool) -> tuple[Realm, Any, Any]:
        """A realm in which the file has been evaluated, the kernel's functions, and the migration."""
        script = self.script
        realm = Realm(script.file)
        realm.run(_kernel())
        host = realm.context.get("$lab_kernel")(script.shown_as, _EPOCH_MS, detail)
        realm.watch_rejections("$lab_track")
        try:
            if self._code is None:
                realm.evaluate(script.text)
            else:
                realm.run(self._code)
            function = realm.evaluate(_find(script.function))
        except SuspectError:
            realm.close()
            raise
        except Exception as error:
            refusal = realm.refusal(error) or script.refusal(error)
            realm.close()
            raise refusal from None
        if function is None:
            realm.close()
            raise SuspectError(
                f"holds no function {script.function}",
                where=script.file,
                hint=f"Name another as {Path(script.file).name}:FUNCTION, or call it {FUNCTION}",
            )
        return realm, host, function
