"""The data plane of one index: which request means what, and the shapes of the answers.

Writes answer with x-pinecone-request-lsn, reads with x-pinecone-max-indexed-lsn, both counted per namespace; a write is visible
to a read whose number is not smaller. The vendor sends these headers but does not document them.

The default namespace is "" in every answer about rows. Where namespaces are named (statistics, /namespaces) it is `__default__`
from API version 2025-04 on, and "" before.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from vecforensics.pinecone_local.rows import DEFAULT, canonical
from vecforensics.pinecone_local.state import IndexState
from vecforensics.pinecone_local.wire import MAX_BODY_BYTES, Answer, Refused, Request, dumps, loads, refusal

__all__ = ["answer"]

_PAGE_IDS = 100
_NAMESPACES = "/namespaces"
_NO_FILTERS = "metadata filters are not supported by the local service"


def answer(index: IndexState, request: Request) -> Answer:
    """Carry out one request on `index`, or refuse it in the data plane's shape."""
    try:
        if len(request.body) > MAX_BODY_BYTES:
            raise Refused(
                413,
                f"Error, message length too large: found {len(request.body)} bytes, the limit is: {MAX_BODY_BYTES} bytes",
            )
        if request.path == _NAMESPACES or request.path.startswith(_NAMESPACES + "/"):
            return _namespaces(index, request)
        route = _ROUTES.get((request.method, request.path))
        if route is None:
            raise Refused(501, f"{request.method} {request.path} is not supported by the local service")
        return route(index, request)
    except Refused as error:
        return refusal(error.status, error.message, control=False)


def _upsert(index: IndexState, request: Request) -> Answer:
    body = request.json()
    rows = _list(body, "vectors")
    return _written({"upsertedCount": len(rows)}, index.upsert(_namespace(body), rows))


def _update(index: IndexState, request: Request) -> Answer:
    body = request.json()
    _without_filter(body)
    return _written({}, index.update(_namespace(body), body))


def _delete(index: IndexState, request: Request) -> Answer:
    body = request.json()
    _without_filter(body)
    if body.get("deleteAll"):
        if body.get("ids"):
            raise Refused(400, "No explicit IDs allowed when delete_all=true")
        return _written({}, index.clear(_namespace(body)))
    return _written({}, index.delete(_namespace(body), _list(body, "ids")))


def _fetch(index: IndexState, request: Request) -> Answer:
    namespace = canonical(request.text("namespace"))
    records, lsn = index.fetch(namespace, request.query.get("ids", []))
    vectors = {record.id: record.sent() for record in records}
    return _read({"vectors": vectors, "namespace": namespace, "usage": {"readUnits": 1}}, lsn)


def _list_ids(index: IndexState, request: Request) -> Answer:
    namespace, prefix = canonical(request.text("namespace")), request.text("prefix")
    ids, more, lsn = index.page(
        namespace, prefix, request.number("limit", _PAGE_IDS), _id_of_token(request.text("paginationToken"))
    )
    value: dict[str, Any] = {"vectors": [{"id": one} for one in ids]}
    if more:
        value["pagination"] = {"next": _token(ids[-1])}
    return _read({**value, "namespace": namespace, "usage": {"readUnits": 1}}, lsn)


def _query(index: IndexState, request: Request) -> Answer:
    body = request.json()
    _without_filter(body)
    if body.get("sparseVector"):
        raise Refused(400, "sparse queries are not supported by the local service")
    namespace = canonical(body.get("namespace"))
    found, lsn = index.search(namespace, body.get("vector"), body.get("id") or None, body.get("topK"))
    values, metadata = bool(body.get("includeValues")), bool(body.get("includeMetadata"))
    matches = [
        {"values": [], **record.sent(values=values, metadata=metadata), "score": score}
        for record, score in found
    ]
    return _read({"results": [], "matches": matches, "namespace": namespace, "usage": {"readUnits": 1}}, lsn)


def _stats(index: IndexState, request: Request) -> Answer:
    if request.json().get("filter"):
        raise Refused(
            400,
            "Serverless and Starter indexes do not support describing index stats with metadata filtering",
        )
    counts = index.counts()
    return Answer(
        {
            "namespaces": {_named(name, request): {"vectorCount": count} for name, count in counts.items()},
            "dimension": index.dimension,
            "indexFullness": 0.0,
            "totalVectorCount": sum(counts.values()),
            "metric": index.metric,
            "vectorType": "dense",
            "memoryFullness": 0.0,
            "storageFullness": 0.0,
        }
    )


def _namespaces(index: IndexState, request: Request) -> Answer:
    """/namespaces and what lies under it."""
    if request.path == _NAMESPACES and request.method == "GET":
        return _list_namespaces(index, request)
    if request.path == _NAMESPACES and request.method == "POST":
        name = canonical(request.json().get("name"))
        return _written({"name": name, "record_count": 0}, index.create_namespace(name))
    name = canonical(unquote(request.path.removeprefix(_NAMESPACES + "/")))
    if request.method == "DELETE":
        return _written({}, index.drop(name))
    if request.method == "GET":
        count = index.counts().get(name, None if name else 0)
        if count is None:
            raise Refused(404, "Namespace not found")
        return Answer({"name": _named(name, request), "record_count": count})
    raise Refused(501, f"{request.method} {request.path} is not supported by the local service")


def _list_namespaces(index: IndexState, request: Request) -> Answer:
    counts = {_named(name, request): count for name, count in index.counts().items()}
    prefix, after = request.text("prefix"), _id_of_token(request.text("paginationToken"))
    names = sorted(name for name in counts if name.startswith(prefix))
    rest = [name for name in names if name > after] if after else names
    page = rest[: request.number("limit", _PAGE_IDS)]
    value: dict[str, Any] = {
        "namespaces": [{"name": name, "record_count": counts[name]} for name in page],
        "total_count": len(names),
    }
    if len(rest) > len(page):
        value["pagination"] = {"next": _token(page[-1])}
    return Answer(value)


def _written(value: dict[str, Any], lsn: int) -> Answer:
    return Answer(value, headers={"x-pinecone-request-lsn": str(lsn)})


def _read(value: dict[str, Any], lsn: int) -> Answer:
    return Answer(value, headers={"x-pinecone-max-indexed-lsn": str(lsn)})


def _namespace(body: dict[str, Any]) -> str:
    return canonical(body.get("namespace"))


def _list(body: dict[str, Any], name: str) -> list[object]:
    found = body.get(name, [])
    if not isinstance(found, list):
        raise Refused(400, f"{name} must be a list")
    return found


def _without_filter(body: dict[str, Any]) -> None:
    # Better no answer than one that took no notice of the filter: a delete by filter would be a delete of everything.
    if "filter" in body or body.get("dryRun"):
        raise Refused(400, _NO_FILTERS)


def _named(namespace: str, request: Request) -> str:
    return DEFAULT if not namespace and request.version >= "2025-04" else namespace


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(dumps({"skip_past": last})).decode()


def _id_of_token(token: str) -> str:
    if not token:
        return ""
    try:
        return str(loads(base64.urlsafe_b64decode(token))["skip_past"])
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "the pagination token was not made by this service") from None


_ROUTES: Final[dict[tuple[str, str], Callable[[IndexState, Request], Answer]]] = {
    ("POST", "/vectors/upsert"): _upsert,
    ("POST", "/vectors/update"): _update,
    ("POST", "/vectors/delete"): _delete,
    ("GET", "/vectors/fetch"): _fetch,
    ("GET", "/vectors/list"): _list_ids,
    ("POST", "/query"): _query,
    ("POST", "/describe_index_stats"): _stats,
    ("GET", "/describe_index_stats"): _stats,
}
