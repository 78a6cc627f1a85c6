"""A database by its SQLAlchemy URL, opened to read and for nothing else, and what goes wrong with it in words that give no secret
away.

The URL may come from an environment variable and hold a user and a password, and libraries put both into their messages. So a
database is only ever called by its host and its name, and what a driver says is shown without the parts of the URL.

SQLite is opened with `mode=ro`: a file that is not there is not made. A database in WAL mode that nobody else has open would get
a log beside it even so, and is opened as immutable; whether somebody began to write meanwhile is asked in the end. PostgreSQL and
MySQL get a READ ONLY transaction that sees one snapshot (REPEATABLE READ); from any other database only SELECT protects it.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

from vecforensics.errors import MissingExtra, SourceError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

__all__ = ["Database", "open_database", "sqlite_file"]

_BUILT_IN: Final = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql")
# Where the URL names no driver: what is installed counts, then SQLAlchemy's own choice.
_DRIVERS: Final = {
    "postgresql": (("psycopg", "psycopg"), ("psycopg2", "psycopg2")),
    "mysql": (("mysqldb", "MySQLdb"), ("pymysql", "pymysql")),
    "mariadb": (("mysqldb", "MySQLdb"), ("pymysql", "pymysql")),
}
_PACKAGES: Final = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL",
    "cx_Oracle": "cx-Oracle",
}
_SQLITE: Final = re.compile(
    r"sqlite(?:\+pysqlite)?://(?P<host>[^/]*)(?:/(?P<path>[^?]*)(?P<query>\?.*)?)?", re.S
)
_SECRET_OPTIONS: Final = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
_SOMEBODY: Final = re.compile(
    r"""\b(user|role|login)( name)? (['"])[^'"]*\3(@(['"])[^'"]*\5)?""", re.IGNORECASE
)
_LONGEST_REASON, _SHORT = 240, 6
_WAL: Final = b"\2\2"


class Database:
    """A database that is only read. `name`: what it is called in messages, its file or its host and name."""

    def __init__(
        self, engine: Engine, name: str, secrets: tuple[str, ...] = (), file: Path | None = None
    ) -> None:
        self.name, self._engine, self._secrets, self._file = name, engine, secrets, file

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection that cannot write, closed afterwards. Raises SourceError where there is none to be had."""
        before = self._stamp()
        try:
            connection = self._engine.connect()
        except Exception as error:  # whatever a driver makes of an address where nobody answers
            hint = (
                "Check that the file is an SQLite database"
                if self._file
                else "Check that the database is up, the URL, and the rights of its user"
            )
            raise SourceError(
                f"cannot be connected to ({self.reason(error)})", where=self.name, hint=hint
            ) from None
        with connection:
            with self.refusing(connection, lambda: "does not let itself be opened read-only"):
                _read_only(connection)
            yield connection
        if before and self._stamp() != before:
            raise SourceError(
                "was written while it was read", where=self.name, hint="Stop what writes there, and try again"
            )

    @contextmanager
    def refusing(self, connection: Connection, what: Callable[[], str], where: str = "") -> Iterator[None]:
        """Turns the errors of SQLAlchemy and its drivers into a SourceError that says `what` went wrong, and the reason."""
        from sqlalchemy.exc import SQLAlchemyError

        driver: Any = connection.dialect.dbapi
        # ValueError and OverflowError: a driver meets a date or a text that Python cannot hold.
        try:
            yield
        except (SQLAlchemyError, driver.Error, ValueError, OverflowError, OSError) as error:
            reason = self.reason(error)
            denied = "denied" in reason or getattr(getattr(error, "orig", None), "sqlstate", None) == "42501"
            raise SourceError(
                f"{what()} ({reason})",
                where=where or self.name,
                hint="Grant SELECT to the user of the URL"
                if denied
                else "Mend that and try again; what cannot be mended, a view can leave out",
            ) from None

    def reason(self, error: BaseException) -> str:
        """What a driver says, on one line and without a part of the URL."""
        # Behind LINE, PostgreSQL quotes the statement.
        said = " ".join(str(getattr(error, "orig", None) or error).partition("\nLINE ")[0].split())
        for secret in sorted(self._secrets, key=len, reverse=True):
            # A short one, such as the user `a`, may be part of any word.
            alone = (r"(?<!\w)", r"(?!\w)") if len(secret) < _SHORT else ("", "")
            said = re.sub(re.escape(secret).join(alone), "…", said)
        said = _SOMEBODY.sub(r"\1 …", said)
        return said if len(said) <= _LONGEST_REASON else said[:_LONGEST_REASON] + "…"

    def _stamp(self) -> tuple[int, ...]:
        """What changes where somebody writes into a file that was opened as immutable; nothing for all others."""
        try:
            if self._file is None or not _quiet(self._file):
                return ()
            state = self._file.stat()
        except OSError:  # not to be read, or taken away
            return ()
        return state.st_mtime_ns, state.st_size


def open_database(uri: str, folder: Path, *, written: bool) -> Database:
    """The database of a URL; nothing is connected to yet. `folder`: where a relative SQLite path starts; `written`: whether the
    URL itself stands in the case file.

    Raises SourceError for a URL that cannot be used or whose driver is missing, MissingExtra where SQLAlchemy is.
    """
    scheme = uri.partition("://")[0]
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        if scheme.partition("+")[0] in _BUILT_IN:
            raise MissingExtra("sql", "a database as the source") from None
        raise _unknown(scheme) from None
    # What goes wrong while a connection is given up would come on the terminal beside our one line.
    logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
    if scheme.partition("+")[0] == "sqlite":
        file = _existing(uri, folder)
        engine = sqlalchemy.create_engine(
            "sqlite://", creator=lambda: _sqlite(file), poolclass=sqlalchemy.NullPool
        )
        return Database(engine, str(file), file=file)
    url = _parsed(uri, scheme)
    if written and any(_SECRET_OPTIONS.search(f"{key}={value}") for key, value in url.query.items()):
        raise SourceError(
            "a password or key may stand behind the ? of source.uri",
            where=_name(url),
            hint="Keep the URL in an environment variable and write env:NAME",
        )
    return Database(_engine(url, scheme), _name(url), tuple(_secrets(url)))


def sqlite_file(uri: str, folder: Path) -> Path | None:
    """The file of an SQLite URL, None where it names none, or is of another database."""
    found = _SQLITE.fullmatch(uri)
    if found is None or found["host"] or not found["path"] or found["path"].startswith((":memory:", "file:")):
        return None
    return (folder / found["path"]).resolve()


def _existing(uri: str, folder: Path) -> Path:
    found, file = _SQLITE.fullmatch(uri), sqlite_file(uri, folder)
    if found is None or file is None or found["query"]:
        raise SourceError(
            "names no SQLite file",
            where=uri.partition("://")[0] + "://…",
            hint="Write sqlite:///PATH, with four slashes for an absolute path, and nothing behind it",
        )
    if not file.is_file():
        raise SourceError("there is no such file", where=str(file), hint="Check source.uri in the case file")
    return file


def _sqlite(file: Path) -> sqlite3.Connection:
    options = "mode=ro&immutable=1" if _quiet(file) else "mode=ro"
    return sqlite3.connect(f"{file.as_uri()}?{options}", uri=True, check_same_thread=False)


def _quiet(file: Path) -> bool:
    """Whether a database is in WAL mode and nobody has it open."""
    with file.open("rb") as opened:
        header = opened.read(20)
    return header[18:20] == _WAL and not Path(f"{file}-wal").exists()


def _parsed(uri: str, scheme: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        url = None
    # An @ that is left over is part of a password.
    if url is None or "@" in f"{url.host or ''}{url.database or ''}":
        raise SourceError(
            "is no database URL",
            where=f"{scheme}://…",
            hint="Write DIALECT://HOST:PORT/NAME, and USER:PASSWORD@ before the host; "
            "in these two an @ is %40, a : %3A, a / %2F and a % %25",
        )
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")  # what Heroku and others still call it
    for driver, module in _DRIVERS.get(url.drivername, ()):
        if find_spec(module) is not None:
            return url.set(drivername=f"{url.drivername}+{driver}")
    return url


def _engine(url: URL, scheme: str) -> Engine:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        if url.get_dialect().is_async:
            raise SourceError(
                f"{url.get_driver_name()} is an asynchronous driver, which is not used here",
                where=_name(url),
                hint=f"Write {url.get_backend_name()}:// without it, or with another one",
            )
        return create_engine(url, poolclass=NullPool, hide_parameters=True)
    except NoSuchModuleError:
        raise _unknown(scheme) from None
    except ImportError as error:
        module = (error.name or url.get_driver_name()).partition(".")[0]
        package = _PACKAGES.get(module, module)
        raise SourceError(
            f"the driver {module} is not installed",
            where=_name(url),
            hint=f"Install it: pip install '{package}'",
        ) from None
    except (ArgumentError, TypeError, ValueError):
        raise SourceError(
            "has options that its driver does not know",
            where=_name(url),
            hint="Check what stands behind the ?",
        ) from None


def _unknown(scheme: str) -> SourceError:
    return SourceError(
        f"unknown URI scheme {scheme!r}",
        where=f"{scheme}://…",
        hint="Known: a path, file://PATH, or the SQLAlchemy URL of a database (sqlite:///PATH, postgresql://HOST/NAME)",
    )


def _name(url: URL) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{url.host or ''}{port}/{url.database or ''}"


def _secrets(url: URL) -> Iterator[str]:
    options = [
        text for value in url.query.values() for text in ((value,) if isinstance(value, str) else value)
    ]
    for secret in (url.username, str(url.password or ""), *options):
        if secret:
            yield from {secret, quote(secret, safe=""), quote_plus(secret)}


def _read_only(connection: Connection) -> None:
    match connection.dialect.name:
        case "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        case "mysql" | "mariadb":
            connection.execution_options(isolation_level="REPEATABLE READ")
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.commit()  # it counts from the next transaction on
