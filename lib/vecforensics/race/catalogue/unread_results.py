"""`async_req` results never read: requests are sent from a pool of threads and nobody asks how they ended.

With `async_req=True` an upsert returns at once with a handle; the request itself runs on a thread of the client. The
handle's `get()` is the only place where its end can be waited for and its error can be seen. A loop that drops the
handles is fast, raises nothing, and returns while requests are under way: some records are not there yet, a refused one
never will be, and a child can arrive before its parent.

The repair keeps the handles and reads every one of them, level by level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import BlockingStore, Pattern, Thread, Vector
from vecforensics.race.model import Trouble
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="unread_results",
    title="Results of async_req never read",
    mechanism="Every upsert is sent with async_req=True and its handle is dropped, so nothing waits for the requests and "
    "nobody hears of one that failed.",
    causes=(Kind.MISSING, Kind.PREMATURE, Trouble.LEFT_BEHIND),
    known_from=(
        Thread(
            "https://github.com/langchain-ai/langchain/issues/8635",
            "A wrapper sent its upserts with async_req=True and returned the ids instead of the handles, so that no caller "
            "could wait for the requests or see them fail.",
        ),
    ),
)


def broken(records: Sequence[Record], embed: Callable[[Record], Vector], store: BlockingStore) -> None:
    for record in records:
        store.upsert(record.id, embed(record), dict(record.metadata), async_req=True)


def fixed(records: Sequence[Record], embed: Callable[[Record], Vector], store: BlockingStore) -> None:
    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        requests = [
            store.upsert(record.id, embed(record), dict(record.metadata), async_req=True) for record in level
        ]
        for request in requests:
            request.get()
