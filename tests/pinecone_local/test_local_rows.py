"""The data plane of the local service under the real SDK, over a real connection: rows, listings, queries, refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from local_calls import GOOD, asked, listed, row
from pinecone import Pinecone
from pinecone.errors.exceptions import ApiError, NotFoundError, UnauthorizedError
from pinecone.index import Index

from vecforensics.pinecone_local import PineconeLocal


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
