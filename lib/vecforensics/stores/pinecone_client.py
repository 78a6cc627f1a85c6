"""One Pinecone index through the vendor's client: pages of ids, rows by id, writes; and every failure of it as an error of ours.

The client changed its shapes from version to version (7.3 to 10 are meant), so what it gives is taken for what it looks like:
a page yields texts or objects with an `id`, a failure has a `status` or a `status_code`. What a failure means is told by
`_failed`, once for all calls. An outage keeps its cause in the chain, by which `retry.is_transient` knows it. No message holds
the key, which some versions of the client put into theirs.
"""

from __future__ import annotations

import contextlib
import json
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

from vecforensics.errors import TargetError, TargetNotThere

__all__ = ["DEFAULT", "PineconeIndex", "groups"]

_Result = TypeVar("_Result")

DEFAULT: Final = "__default__"
"""What a case calls the namespace without a name."""

_ID_CHARACTERS: Final = 512
# The client puts ids into the address. It stops at 65,536 characters, and proxies cut off earlier: nginx at 8,192.
_ADDRESS: Final = 6_000
_FETCHED_IDS: Final = 100
_STATUS: Final = {
    401: ("the key is refused", "Check the key, and that it is of the project that holds the index"),
    402: ("the project has to be paid for", "Settle it with the vendor"),
    403: ("the key may not do that", "Ask for a key whose role may"),
}
_OF_THE_CLIENT: Final = (ValueError, TypeError)
# A key that a client sends goes to whoever is named, and a case file may come from anybody. Without https whoever is on the way
# reads it too.
_OWN_HOSTS: Final = re.compile(
    r"(?:(?:https://)?(?:[a-z0-9-]+\.)*pinecone\.io|(?:https?://)?(?:localhost|127\.0\.0\.1))(?::\d+)?/?",
    re.IGNORECASE,
)


class PineconeIndex:
    """One index. `place`: its name, or the address of its data plane; `uri` and `section` (of the case file) go into errors.

    An address of another domain than the vendor's has to come from the person's own environment, and not out of the case file.
    Thread-safe, as the client is.
    """

    def __init__(self, place: str, key: str, *, uri: str, section: str = "target") -> None:
        import pinecone

        self.uri, self._section, self._key = uri, section, key
        if not key.isascii() or not key.isprintable() or not key or key != key.strip():
            raise TargetError(
                "what the environment gives as the key is none: it is empty, or holds spaces or other characters that no key has",
                where=uri,
                hint="Export it again; a line break at its end is often read from a file",
            )
        if ("." in place or "://" in place) and uri.endswith(place) and not _OWN_HOSTS.fullmatch(place):
            raise TargetError(
                "the key would be sent to a host that only the case file names",
                where=uri,
                hint="Where it is right, keep the address in an environment variable and write pinecone:env:NAME",
            )
        client = self._asked(lambda: pinecone.Pinecone(api_key=key))
        self._close_with_me(client)
        address = place if "." in place or "://" in place else self._address(client, place)
        self._index: Any = self._asked(lambda: client.Index(host=address))
        self._close_with_me(self._index)

    def _close_with_me(self, one: Any) -> None:
        """Nobody closes a reader, and a socket left open is a warning."""
        if hasattr(one, "close"):
            weakref.finalize(self, _closed, one)

    def _address(self, client: Any, name: str) -> str:
        known = self._asked(lambda: client.describe_index(name))
        deployment = getattr(known, "deployment", None) or known.spec
        if "Pod" in type(deployment).__name__ or getattr(deployment, "pod", None) is not None:
            raise TargetError(
                "a pod-based index cannot list its ids, so what nobody asks for by name would go unseen",
                where=self.uri,
                hint="Migrate it to a serverless index, or export it to Parquet from the source's ids (docs/export.md)",
            )
        return str(known.host)

    def counts(self) -> tuple[int, dict[str, int]]:
        """Dimension, 0 for a sparse index, and namespace → number of vectors, by the index's own count, which lags behind.

        The namespace without a name is "", which from API 2025-04 on the store calls `__default__` here.
        """
        stats = self._asked(self._index.describe_index_stats)
        counted = {name: int(one.vector_count) for name, one in dict(stats.namespaces or {}).items()}
        return int(stats.dimension or 0), {
            "" if name == DEFAULT else name: count for name, count in counted.items()
        }

    def page(
        self, namespace: str, prefix: str = "", token: str | None = None
    ) -> tuple[list[str], str | None]:
        """The ids of one page under `prefix`, and the token of the next page, None after the last."""
        asked = {"prefix": prefix or None, "pagination_token": token, "namespace": namespace}
        page = self._asked(lambda: self._index.list_paginated(**asked))
        following = getattr(page, "pagination", None)
        return [one if isinstance(one, str) else str(one.id) for one in page.vectors or ()], (
            following.next or None if following is not None else None
        )

    def fetch(self, namespace: str, ids: Sequence[str]) -> list[Any]:
        """The vectors that stand under `ids` (at most one group of `groups`), in that order; absent ids are left out."""
        found = self._asked(lambda: self._index.fetch(ids=list(ids), namespace=namespace)).vectors
        return [found[one] for one in ids if one in found]

    def upsert(self, namespace: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """One request. Raises TargetError unless the store says that it took every row."""
        done = self._asked(lambda: self._index.upsert(vectors=list(rows), namespace=namespace))
        if done.upserted_count != len(rows):
            raise TargetError(
                f"took {done.upserted_count} of {len(rows)} rows",
                where=self.uri,
                hint="Run the same command again",
            )

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """One request for at most 1,000 ids; an absent one is no error, nor is an absent namespace, which the store refuses."""
        with contextlib.suppress(TargetNotThere):
            self._asked(lambda: self._index.delete(ids=list(ids), namespace=namespace))

    def _asked(self, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except Exception as error:
            raise self._failed(error) from _cause(error)

    def _failed(self, error: Exception) -> TargetError:
        status = _status(error)
        if status == 404:
            return TargetNotThere(
                "there is no such index, or no such namespace in it",
                where=self.uri,
                hint=f"Check {self._section}.uri in the case file",
            )
        said = _said(error).replace(self._key, "…")
        if status in _STATUS:
            what, hint = _STATUS[status]
        elif status is not None:
            again = (
                "Try again later" if status >= 500 or status == 429 else "Nothing was changed by that request"
            )
            what, hint = f"the store answers {status}: {said}", again
        elif isinstance(error, _OF_THE_CLIENT):
            what, hint = f"the client refuses it: {said}", "Check what is to be sent, and the case file"
        else:
            what, hint = (
                f"the store does not answer: {said}",
                "Check the address, and try again when it answers",
            )
        return TargetError(what, where=self.uri, hint=hint)


def groups(ids: Sequence[str]) -> Iterator[list[str]]:
    """`ids` in groups that one request can name; those that the store cannot hold under any circumstances are left out."""
    group: list[str] = []
    length = 0
    for one in ids:
        if not one or not one.isascii() or "\0" in one or len(one) > _ID_CHARACTERS:
            continue
        size = len("&ids=") + len(quote(one, safe=""))
        if group and (length + size > _ADDRESS or len(group) == _FETCHED_IDS):
            yield group
            group, length = [], 0
        group.append(one)
        length += size
    if group:
        yield group


def _status(error: Exception) -> int | None:
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _cause(error: Exception) -> Exception:
    """What `retry.is_transient` is to see: the client wraps a broken connection in an error of its own that does not say so."""
    if _status(error) is not None or isinstance(error, (*_OF_THE_CLIENT, TimeoutError)):
        return error
    broken = ConnectionError(_said(error))
    broken.__cause__ = error
    return broken


def _said(error: Exception) -> str:
    """The sentence of an error. Version 7 of the client has it in the body that the store sent, and says headers besides."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        body = json.loads(error.body)  # type: ignore[attr-defined]
        return str(body.get("message") or body["error"]["message"])
    return str(getattr(error, "message", None) or error) or type(error).__name__


def _closed(one: Any) -> None:
    with contextlib.suppress(Exception):
        one.close()
