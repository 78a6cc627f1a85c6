"""The local service under the real SDK, over a real connection: the shapes, the rules of the store, lag, and faults on demand."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from pinecone import Pinecone, ServerlessSpec
from pinecone.errors.exceptions import ApiError, NotFoundError, PineconeConnectionError, UnauthorizedError
from pinecone.index import Index

from vecforensics.pinecone_local import Fault, PineconeLocal, Refused, wire
from vecforensics.pinecone_local.state import IndexState


@pytest.fixture(autouse=True)
def straight_to_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def service() -> Iterator[PineconeLocal]:
    with PineconeLocal() as running:
        running.create_index("items", 3)
        yield running


@pytest.fixture
def index(service: PineconeLocal) -> Iterator[Index]:
    with Pinecone(api_key="local", host=service.url) as client, client.index("items") as opened:
        yield opened


def row(row_id: str, *values: float, **metadata: Any) -> dict[str, Any]:
    return {"id": row_id, "values": list(values or (1.0, 2.0, 3.0)), "metadata": metadata}


def asked(
    url: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """One request as curl would make it."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    named = {"Api-Key": "local"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    headers_there = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers_there, json.loads(text) if text else None


def listed(index: Index, **how: Any) -> list[str]:
    return [item.id or "" for page in index.list(**how) for item in page]


def test_an_index_is_made_named_described_and_removed(service: PineconeLocal) -> None:
    with Pinecone(api_key="local", host=service.url) as client:
        spec = ServerlessSpec(cloud="aws", region="eu-west-1")
        client.create_index(name="notes", dimension=8, metric="euclidean", spec=spec)
        assert sorted(client.list_indexes().names()) == ["items", "notes"]
        found = client.describe_index("notes")
        field = found.schema.fields["_values"]
        assert (field.dimension, field.metric, found.deployment.region) == (8, "euclidean", "eu-west-1")
        assert found.host == service.host("notes")
        assert found.status.ready
        with pytest.raises(ApiError, match="already exists"):
            client.create_index(name="notes", dimension=8, spec=spec)
        with client.index("notes") as open_index:
            client.delete_index("notes")
            assert not client.has_index("notes")
            with pytest.raises(PineconeConnectionError):
                open_index.fetch(ids=["a"])


def test_a_protected_index_is_not_removed(service: PineconeLocal) -> None:
    with Pinecone(api_key="local", host=service.url) as client:
        spec = ServerlessSpec(cloud="aws", region="eu-west-1")
        client.create_index(name="kept", dimension=8, spec=spec, deletion_protection="enabled")
        with pytest.raises(ApiError, match="protection"):
            client.delete_index("kept")
        assert client.has_index("kept")


@pytest.mark.parametrize("version", ["", "2025-04", "2025-10"])
def test_an_older_client_gets_and_gives_the_older_shape(service: PineconeLocal, version: str) -> None:
    headers = {"X_Pinecone_Api_Version": version} if version else {}
    asked_for = {"name": "old", "dimension": 4, "spec": {"serverless": {"cloud": "gcp", "region": "here"}}}
    status, _, made = asked(service.url, "POST", "/indexes", json.dumps(asked_for).encode(), **headers)
    assert status == 201
    _, _, found = asked(service.url, "GET", "/indexes/old", **headers)
    assert made == found
    assert (found["dimension"], found["metric"], found["vector_type"]) == (4, "cosine", "dense")
    assert found["spec"]["serverless"].items() >= {"cloud": "gcp", "region": "here"}.items()
    assert found["host"] == service.host("old")
    assert "schema" not in found
    service.index("old").upsert("", [{"id": "a", "values": [1, 1, 1, 1]}])
    _, _, stats = asked(service.host("old"), "POST", "/describe_index_stats", b"{}", **headers)
    assert list(stats["namespaces"]) == ["__default__" if version else ""]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"dimension": 4, "spec": {"serverless": {}}}, "Name"),
        ({"name": "Bad", "dimension": 4, "spec": {"serverless": {}}}, "Name"),
        ({"name": "a", "dimension": 0, "spec": {"serverless": {}}}, "Dimension"),
        ({"name": "a", "dimension": 4, "metric": "manhattan", "spec": {"serverless": {}}}, "Metric"),
        ({"name": "a", "dimension": 4, "spec": {"pod": {"environment": "x"}}}, "only serverless"),
        ({"name": "a", "dimension": 4}, "spec"),
        (
            {"name": "a", "vector_type": "sparse", "dimension": 4, "spec": {"serverless": {}}},
            "only serverless",
        ),
        ({"name": "a", "schema": {"fields": {"title": {"type": "string"}}}}, "only serverless"),
        ({"name": "a", "schema": {"fields": {"_values": {"type": "sparse_vector"}}}}, "only serverless"),
        ({"name": "a", "schema": []}, "schema"),
    ],
)
def test_an_index_that_cannot_be_served_is_refused(
    service: PineconeLocal, body: dict[str, Any], said: str
) -> None:
    status, _, answer = asked(service.url, "POST", "/indexes", json.dumps(body).encode())
    assert (status, answer["status"], answer["error"]["code"]) == (400, 400, "INVALID_ARGUMENT")
    assert said in answer["error"]["message"]
    assert list(service.plans()) == ["items"]


def test_what_was_written_comes_back_as_the_store_keeps_it(index: Index) -> None:
    metadata = {"n": 3, "big": 2**53 + 1, "yes": True, "none": None, "tags": ["a", "é"], "text": "", "no": []}
    rows = [row("a", 0.1, 1 / 3, 16777217.0, **metadata), row("empty"), row("null", none=None)]
    assert index.upsert(vectors=rows).upserted_count == 3
    found = index.fetch(ids=["a", "empty", "null", "not there"]).vectors
    assert list(found) == ["a", "empty", "null"]
    assert found["a"].values == [0.1, 0.33333334, 16777216.0]
    assert np.array_equal(np.float32(found["a"].values), np.float32([0.1, 1 / 3, 16777217.0]))
    kept = {"n": 3.0, "big": 2.0**53, "yes": True, "tags": ["a", "é"], "text": "", "no": []}
    assert found["a"].metadata == kept
    assert found["a"].metadata["yes"] is True
    assert found["empty"].metadata is None
    assert found["null"].metadata is None


def test_what_a_test_sees_in_the_state_is_what_a_client_reads(service: PineconeLocal, index: Index) -> None:
    service.index("items").upsert("n", [{"id": "a", "values": np.float32([0.1, 2, 3]), "metadata": {"k": 1}}])
    assert service.index("items").rows("n") == {
        "a": {"id": "a", "values": [0.1, 2.0, 3.0], "metadata": {"k": 1.0}}
    }
    found = index.fetch(ids=["a"], namespace="n").vectors["a"]
    assert (found.values, found.metadata) == ([0.1, 2.0, 3.0], {"k": 1.0})


def test_a_thousand_ids_and_a_namespace_are_one_fetch(service: PineconeLocal, index: Index) -> None:
    ids = [f"{number}" for number in range(1000)]
    service.index("items").upsert("some namespace", [row(one) for one in ids])
    assert list(index.fetch(ids=ids, namespace="some namespace").vectors) == ids


def test_sparse_values_only_where_they_can_be_scored(service: PineconeLocal, index: Index) -> None:
    sparse = {
        "id": "a",
        "values": [1.0, 2.0, 3.0],
        "sparse_values": {"indices": [7, 2**32 - 1], "values": [0.1, 2]},
    }
    with pytest.raises(ApiError, match="sparse"):
        index.upsert(vectors=[sparse])
    service.create_index("hybrid", 3, "dotproduct")
    with Pinecone(api_key="local", host=service.url) as client, client.index("hybrid") as hybrid:
        hybrid.upsert(vectors=[sparse])
        found = hybrid.fetch(ids=["a"]).vectors["a"].sparse_values
        assert found is not None
        assert (found.indices, found.values) == ([7, 2**32 - 1], [0.1, 2.0])


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
def test_ids_come_in_the_order_of_their_bytes_and_the_last_page_says_so(
    service: PineconeLocal, index: Index, count: int
) -> None:
    ids = [f"{'aB~ '[number % 4]}{number}" for number in range(count)]
    if count:
        service.index("items").upsert("", [row(one) for one in ids])
    assert listed(index) == sorted(ids)
    assert listed(index, prefix="B", limit=7) == sorted(one for one in ids if one.startswith("B"))
    assert service.requests.count(("GET", "/vectors/list")) >= max(1, -(-count // 100))
    page = index.list_paginated(limit=min(100, max(1, count)))
    assert (page.pagination is None) == (count <= 100)


def test_a_listing_goes_on_where_it_was_while_rows_come_and_go(service: PineconeLocal, index: Index) -> None:
    state = service.index("items")
    state.upsert("", [row(f"{number:03}") for number in range(0, 300, 2)])
    first = index.list_paginated()
    state.delete("", [first.vectors[-1].id])
    state.upsert("", [row("000x"), row("299")])
    assert first.pagination is not None
    rest = index.list_paginated(pagination_token=first.pagination.next)
    assert [item.id for item in rest.vectors] == [f"{number:03}" for number in range(200, 300, 2)] + ["299"]
    assert rest.pagination is None


GOOD = {"id": "good", "values": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([{"id": "a", "values": [1.0, 2.0]}], "dimension 2"),
        ([{"id": "a", "values": [1.0, 2.0, None]}], "list of numbers"),
        ([{"id": "a", "values": [1.0, 2.0, "3"]}], "list of numbers"),
        ([{"id": "a", "values": [1.0, 2.0, True]}], "list of numbers"),
        ([{"id": "a", "values": [1.0, 2.0, 1e39]}], "finite"),
        ([{"id": "a", "values": [0.0, 0.0, 0.0]}], "only zeros"),
        ([{"id": "a"}], "list of numbers"),
        ([{"id": "é", "values": [1.0, 2.0, 3.0]}], "ASCII"),
        ([{"id": "", "values": [1.0, 2.0, 3.0]}], "1 to 512"),
        ([{"id": 7, "values": [1.0, 2.0, 3.0]}], "1 to 512"),
        ([{"id": "a" * 513, "values": [1.0, 2.0, 3.0]}], "at most 512"),
        ([{**GOOD, "metadata": {"a": {"b": 1}}}], "list of strings"),
        ([{**GOOD, "metadata": {"a": [1, 2]}}], "list of strings"),
        ([{**GOOD, "metadata": {"$a": 1}}], "start with"),
        ([{**GOOD, "metadata": {"a": "x" * 40_960}}], "40960 bytes"),
        ([{**GOOD, "metadata": [1]}], "an object"),
        (["a"], "an object"),
        ([{"id": f"{number}", "values": [1.0, 2.0, 3.0]} for number in range(1000)], "up to 1000"),
    ],
)
def test_a_bad_row_refuses_its_whole_request(service: PineconeLocal, bad: list[Any], said: str) -> None:
    body = json.dumps({"vectors": [GOOD, *bad]}).encode()
    status, _, answer = asked(service.host("items"), "POST", "/vectors/upsert", body)
    assert (status, answer["code"], answer["details"]) == (400, 3, [])
    assert said in answer["message"]
    assert service.index("items").rows("") == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/vectors/upsert", {"vectors": []}),
        ("POST", "/vectors/upsert", {"vectors": {}}),
        ("POST", "/vectors/upsert", []),
        ("POST", "/vectors/upsert", {"vectors": [GOOD], "namespace": "é"}),
        ("POST", "/vectors/delete", {}),
        ("POST", "/vectors/delete", {"filter": {"a": 1}}),
        ("POST", "/vectors/delete", {"deleteAll": True, "filter": {}}),
        ("POST", "/vectors/delete", {"deleteAll": True, "ids": ["a"]}),
        ("POST", "/vectors/update", {"values": [1.0, 2.0, 3.0]}),
        ("POST", "/vectors/update", {"filter": {"a": 1}, "setMetadata": {"b": 1}}),
        ("POST", "/query", {"vector": [1.0, 2.0, 3.0], "topK": 0}),
        ("POST", "/query", {"topK": 1}),
        ("POST", "/query", {"id": "a", "vector": [1.0, 2.0, 3.0], "topK": 1}),
        ("POST", "/query", {"vector": [1.0, 2.0, 3.0], "topK": 1, "filter": {"a": 1}}),
        ("POST", "/query", {"sparseVector": {"indices": [1], "values": [1.0]}, "topK": 1}),
        ("POST", "/describe_index_stats", {"filter": {"a": 1}}),
        ("GET", "/vectors/fetch", None),
        ("GET", "/vectors/fetch?" + "&".join(f"ids={number}" for number in range(1001)), None),
        ("GET", "/vectors/list?limit=101", None),
        ("GET", "/vectors/list?limit=0", None),
        ("GET", "/vectors/list?limit=-1", None),
        ("GET", "/vectors/list?paginationToken=nonsense", None),
        ("GET", "/vectors/fetch?ids=%ff", None),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_and_changes_nothing(
    service: PineconeLocal, method: str, path: str, body: object
) -> None:
    service.index("items").upsert("", [row("a", a=1)])
    text = None if body is None else json.dumps(body).encode()
    status, _, answer = asked(service.host("items"), method, path, text)
    assert (status, answer["code"]) == (400, 3), answer
    assert service.index("items").rows("") == {"a": row("a", a=1.0)}


def test_what_is_no_json_is_refused(service: PineconeLocal) -> None:
    body = b'{"vectors": [{"id": "a", "values": [1.0, NaN, 3.0]}]}'
    status, _, answer = asked(service.host("items"), "POST", "/vectors/upsert", body)
    assert (status, answer["code"]) == (400, 3)


def test_nan_in_values_is_refused_as_the_sdk_sends_it(index: Index) -> None:
    with pytest.raises(ApiError, match="list of numbers"):
        index.upsert(vectors=[("a", [1.0, float("nan"), 3.0])])


def test_too_much_at_once_is_refused_by_its_size(service: PineconeLocal) -> None:
    rows = [row(f"{number}", text="x" * 30_000) for number in range(100)]
    status, _, answer = asked(
        service.host("items"), "POST", "/vectors/upsert", json.dumps({"vectors": rows}).encode()
    )
    assert (status, answer["code"]) == (413, 11)
    assert asked(service.host("items"), "GET", "/vectors/list?prefix=" + "x" * 70_000)[0] == 414


def test_what_is_not_served_says_so(service: PineconeLocal) -> None:
    status, _, answer = asked(service.host("items"), "POST", "/vectors/fetch_by_metadata", b"{}")
    assert (status, answer["code"]) == (501, 12)
    status, _, answer = asked(service.url, "PATCH", "/indexes/items", b"{}")
    assert (status, answer["error"]["code"]) == (501, "UNIMPLEMENTED")
    assert asked(service.host("items"), "GET", "/namespacesome")[0] == 501
    assert asked(service.host("items"), "PUT", "/namespaces/a")[0] == 501


def test_a_wrong_key_opens_nothing(service: PineconeLocal) -> None:
    with Pinecone(api_key="wrong", host=service.url) as client:
        with pytest.raises(UnauthorizedError):
            client.list_indexes()
        with client.index(host=service.host("items")) as index, pytest.raises(UnauthorizedError):
            index.upsert(vectors=[GOOD])
    assert service.index("items").rows("") == {}
    assert asked(service.url, "GET", "/indexes", Api_Key="")[2]["error"]["code"] == "UNAUTHENTICATED"
    assert asked(service.host("items"), "GET", "/vectors/list", Api_Key="wrong")[2]["code"] == 16


def test_an_update_changes_what_it_names_and_makes_no_row(service: PineconeLocal, index: Index) -> None:
    index.upsert(vectors=[row("a", 1.0, 2.0, 3.0, kept="x", changed=1)])
    index.update(id="a", set_metadata={"changed": 2, "added": True, "kept": None})
    index.update(id="a", values=[4.0, 5.0, 6.0])
    index.update(id="absent", values=[4.0, 5.0, 6.0])
    assert service.index("items").rows("") == {
        "a": row("a", 4.0, 5.0, 6.0, kept="x", changed=2.0, added=True)
    }
    with pytest.raises(ApiError, match="dimension 1"):
        index.update(id="a", values=[4.0])


def test_rows_namespaces_and_all_rows_are_deleted(index: Index) -> None:
    index.upsert(vectors=[row("a"), row("b")], namespace="n")
    index.delete(ids=["a", "absent"], namespace="n")
    assert listed(index, namespace="n") == ["b"]
    index.delete(delete_all=True, namespace="n")
    assert listed(index, namespace="n") == []
    assert index.describe_index_stats().namespaces["n"].vector_count == 0
    index.delete_namespace(name="n")
    assert "n" not in index.describe_index_stats().namespaces
    for refused in (
        lambda: index.delete(ids=["a"], namespace="n"),
        lambda: index.delete_namespace(name="n"),
        lambda: index.describe_namespace(name="n"),
    ):
        with pytest.raises(NotFoundError, match="Namespace not found"):
            refused()
    assert index.fetch(ids=["a"], namespace="n").vectors == {}
    assert index.query(id="a", top_k=1, namespace="n").matches == []
    index.delete(ids=["a"])  # the default namespace is always there


def test_the_default_namespace_has_two_names_and_is_one(service: PineconeLocal, index: Index) -> None:
    index.upsert(vectors=[row("a")])
    index.upsert(vectors=[row("b")], namespace="__default__")
    assert listed(index) == listed(index, namespace="__default__") == ["a", "b"]
    assert (
        list(service.index("items").rows("__default__"))
        == list(service.index("items").rows(""))
        == ["a", "b"]
    )
    assert index.fetch(ids=["a"], namespace="__default__").namespace == ""
    assert index.describe_namespace(name="__default__").record_count == 2
    assert {name: one.vector_count for name, one in index.describe_index_stats().namespaces.items()} == {
        "__default__": 2
    }


def test_namespaces_are_listed_in_pages(service: PineconeLocal, index: Index) -> None:
    for number in range(5):
        service.index("items").upsert(f"n{number}", [row("a"), row("b")])
    index.create_namespace(name="made")
    with pytest.raises(ApiError, match="exists"):
        index.create_namespace(name="made")
    names = [one.name for page in index.list_namespaces(limit=2) for one in page]
    assert names == ["made", "n0", "n1", "n2", "n3", "n4"]
    found = index.list_namespaces_paginated(prefix="n")
    assert (found.total_count, [one.record_count for one in found]) == (5, [2] * 5)
    stats = index.describe_index_stats()
    assert (stats.total_vector_count, stats.dimension, stats.metric, stats.vector_type) == (
        10,
        3,
        "cosine",
        "dense",
    )
    assert asked(service.host("items"), "GET", "/describe_index_stats")[2]["totalVectorCount"] == 10


def exact(metric: str, stored: np.ndarray[Any, Any], probe: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if metric == "euclidean":
        return -np.square(stored - probe).sum(axis=1)
    products = stored @ probe
    return (
        products
        if metric == "dotproduct"
        else products / (np.linalg.norm(stored, axis=1) * np.linalg.norm(probe))
    )


@pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
def test_a_query_is_exact(service: PineconeLocal, metric: str) -> None:
    numbers = np.random.default_rng(7).standard_normal((60, 16))
    state = service.create_index("q", 16, metric)
    state.upsert(
        "n", [{"id": f"{at:02}", "values": v, "metadata": {"at": at}} for at, v in enumerate(numbers)]
    )
    right = np.argsort(-exact(metric, numbers, numbers[3]))[:5]
    with Pinecone(api_key="local", host=service.url) as client, client.index("q") as index:
        by_vector = index.query(vector=numbers[3].tolist(), top_k=5, namespace="n", include_metadata=True)
        by_id = index.query(id="03", top_k=5, namespace="n", include_values=True)
        assert [match.id for match in by_vector.matches] == [f"{at:02}" for at in right]
        assert [match.id for match in by_id.matches] == [f"{at:02}" for at in right]
        assert [match.metadata for match in by_vector.matches] == [{"at": float(at)} for at in right]
        assert [match.values for match in by_vector.matches] == [[]] * 5
        assert np.array_equal(np.float32(by_id.matches[0].values), np.float32(numbers[right[0]]))
        scores = [abs(match.score) for match in by_vector.matches]
        assert np.allclose(scores, np.abs(exact(metric, numbers[right], numbers[3])), atol=1e-5)
        nowhere = index.query(vector=[0.0] * 16, top_k=2, namespace="n").matches
        assert metric == "euclidean" or [(match.id, match.score) for match in nowhere] == [
            ("00", 0.0),
            ("01", 0.0),
        ]
        state.delete("n", ["03"])
        assert index.query(id="03", top_k=5, namespace="n").matches == []
        assert len(index.query(vector=numbers[3].tolist(), top_k=100, namespace="n").matches) == 59


def test_a_write_is_acknowledged_before_it_is_visible() -> None:
    with PineconeLocal(lag_s=3_600) as service:
        state = service.create_index("items", 3)
        with Pinecone(api_key="local", host=service.url) as client, client.index("items") as index:
            written = index.upsert(vectors=[row("a"), row("b")]).response_info
            assert written is not None
            assert written.lsn_committed == 1
            assert list(state.rows("")) == ["a", "b"]

            def seen() -> tuple[object, ...]:
                fetched = index.fetch(ids=["a", "b"])
                matches = index.query(vector=[1.0, 2.0, 3.0], top_k=5).matches
                total = index.describe_index_stats().total_vector_count
                assert fetched.response_info is not None
                lsn = fetched.response_info.lsn_reconciled
                return list(fetched.vectors), listed(index), len(matches), total, lsn

            assert seen() == ([], [], 0, 0, 0)
            state.catch_up()
            assert seen() == (["a", "b"], ["a", "b"], 2, 2, 1)
            index.delete(ids=["a"])
            index.update(id="b", set_metadata={"k": 1})
            assert seen() == (["a", "b"], ["a", "b"], 2, 2, 1)
            assert state.rows("") == {"b": row("b", k=1.0)}
            state.catch_up()
            assert seen() == (["b"], ["b"], 1, 1, 3)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_visible_is_always_what_was_acknowledged_once_and_never_goes_back(seed: int) -> None:
    """Random writes under a lag that changes: per namespace, the visible state is the acknowledged one at the LSN it names."""
    chance, now = random.Random(seed), [0.0]
    state = IndexState("i", 1, lag_s=5.0, clock=lambda: now[0])
    history: dict[str, list[dict[str, Any]]] = {"": [{}], "n": [{}]}
    reached = {"": 0, "n": 0}
    for _ in range(400):
        now[0] += chance.random()
        state.lag_s = chance.choice([0.0, 1.0, 5.0])
        space, ids = chance.choice(["", "n"]), [str(chance.randrange(6)) for _ in range(2)]
        value = [float(chance.randrange(1, 100))]
        writes: list[Callable[[], int]] = [
            lambda space=space, ids=ids, value=value: state.upsert(  # type: ignore[misc]
                space, [{"id": one, "values": value} for one in ids]
            ),
            lambda space=space, ids=ids: state.delete(space, ids),  # type: ignore[misc]
            lambda space=space, ids=ids, value=value: state.update(  # type: ignore[misc]
                space, {"id": ids[0], "values": value}
            ),
            lambda space=space: state.drop(space),  # type: ignore[misc]
            lambda space=space: state.clear(space),  # type: ignore[misc]
        ]
        with contextlib.suppress(Refused):  # nothing to delete in a namespace that is not there
            assert chance.choices(writes, [8, 4, 4, 1, 1])[0]() == len(history[space])
            history[space].append(state.rows(space))
        for name, states in history.items():
            found, lsn = state.fetch(name, [str(one) for one in range(6)])
            assert {record.id: record.sent()["values"].tolist() for record in found} == {
                one: kept["values"] for one, kept in states[lsn].items()
            }
            assert state.page(name, "", 100, "") == (sorted(states[lsn]), False, lsn)
            assert lsn >= reached[name]
            reached[name] = lsn
    now[0] += 5.0
    assert state.fetch("n", ["0"])[1] == len(history["n"]) - 1


def test_a_throttled_request_is_retried_by_the_sdk(service: PineconeLocal, index: Index) -> None:
    service.faults.append(Fault("POST /vectors/upsert", status=429, retry_after_s=0.01))
    assert index.upsert(vectors=[GOOD]).upserted_count == 1
    assert service.requests.count(("POST", "/vectors/upsert")) == 2
    assert service.faults == []


def test_a_fault_answers_in_the_shape_of_its_plane_with_its_header(service: PineconeLocal) -> None:
    service.faults += [Fault("GET /*", status=429, retry_after_s=0.25, times=2)]
    status, headers, answer = asked(service.url, "GET", "/indexes")
    assert (status, headers["retry-after"], answer["error"]["code"]) == (429, "0.25", "RESOURCE_EXHAUSTED")
    status, headers, answer = asked(service.host("items"), "GET", "/vectors/list")
    assert (status, headers["retry-after"], answer["code"]) == (429, "0.25", 8)
    assert asked(service.url, "GET", "/indexes")[0] == 200


@pytest.mark.parametrize("effect", [True, False])
def test_an_error_may_have_had_its_effect(service: PineconeLocal, index: Index, effect: bool) -> None:
    service.faults.append(Fault("POST /vectors/upsert", status=400, effect=effect))
    with pytest.raises(ApiError):
        index.upsert(vectors=[GOOD])
    assert list(service.index("items").rows("")) == (["good"] if effect else [])


def test_a_connection_that_breaks_after_the_write_has_the_sdk_write_twice(
    service: PineconeLocal, index: Index
) -> None:
    service.faults.append(Fault("POST /vectors/upsert", status=0, effect=True))
    written = index.upsert(vectors=[GOOD]).response_info
    assert written is not None
    assert written.lsn_committed == 2


def test_a_connection_closed_without_an_answer(service: PineconeLocal) -> None:
    service.faults.append(Fault("GET /indexes", status=0))
    with pytest.raises(http.client.RemoteDisconnected):
        asked(service.url, "GET", "/indexes")
    assert asked(service.url, "GET", "/indexes")[0] == 200


def test_a_fault_that_would_be_a_success_is_refused() -> None:
    with pytest.raises(ValueError, match="status"):
        Fault("GET /indexes", status=200)


def test_many_clients_at_once_lose_nothing(service: PineconeLocal) -> None:
    def write(who: int) -> None:
        with Pinecone(api_key="local") as client, client.index(host=service.host("items")) as index:
            for number in range(10):
                index.upsert(vectors=[row(f"{who}-{number}"), row("shared", float(who + 1), 1.0, 1.0)])

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.index("items").rows("")) == 41
    assert service.index("items").fetch("", ["shared"])[1] == 40


def test_the_service_ends_with_its_block_and_leaves_its_state_to_read() -> None:
    with PineconeLocal() as service:
        state = service.create_index("items", 3)
        addresses = [urlsplit(url) for url in (service.url, service.host("items"))]
        # A connection that is still open must not keep the service from ending.
        with socket.create_connection((addresses[0].hostname, addresses[0].port)):
            state.upsert("", [row("a")])
    assert not [thread for thread in threading.enumerate() if thread.name == "pinecone-local"]
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port))
    assert list(state.rows("")) == ["a"]
    with pytest.raises(RuntimeError, match="not running"):
        service.create_index("more", 3)


def test_only_this_machine_is_served(service: PineconeLocal) -> None:
    assert {urlsplit(url).hostname for url in (service.url, service.host("items"))} == {"127.0.0.1"}


def test_without_orjson_the_same_is_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("orjson")
    values = np.random.default_rng(3).standard_normal(200).astype(np.float32) * np.float32(1e-7)
    value = {
        "values": values,
        "indices": np.uint32([1, 2**32 - 1]),
        "text": "é",
        "number": 0.1,
        "n": [3.0, True],
    }
    fast = wire.loads(wire.dumps(value))
    monkeypatch.setattr(wire, "orjson", None)
    assert wire.loads(wire.dumps(value)) == fast
    with pytest.raises(ValueError, match="NaN"):
        wire.loads(b"[NaN]")


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "vecforensics.pinecone_local",
        "--port",
        "0",
        "--api-key",
        "k",
    ]
    command += ["--index", "items:3", "--index", "notes:4:euclidean"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stdout is not None
        said = [running.stdout.readline() for _ in range(5)]
        found = re.search(r"PINECONE_CONTROLLER_HOST=(\S+)", "".join(said))
        assert found is not None
        assert "export PINECONE_API_KEY=k\n" in said
        with Pinecone(api_key="k", host=found[1]) as client:
            assert sorted(client.list_indexes().names()) == ["items", "notes"]
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=60)
    assert (running.returncode, rest, errors) == (0, "stopped\n", "")


@pytest.mark.parametrize("said", ["items", "items:x", "items:0", "Items:3", "items:3:manhattan"])
def test_an_index_that_cannot_be_meant_is_a_usage_error(said: str) -> None:
    command = [sys.executable, "-m", "vecforensics.pinecone_local", "--port", "0", "--index", said]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_port_that_is_taken_is_said(service: PineconeLocal) -> None:
    port = str(urlsplit(service.url).port)
    command = [sys.executable, "-m", "vecforensics.pinecone_local", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
