"""The local service under the real SDK, over a real connection: indexes, late writes, faults on demand, its beginning and end."""

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
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from local_calls import GOOD, asked, listed, row
from pinecone import Pinecone, ServerlessSpec
from pinecone.errors.exceptions import ApiError, PineconeConnectionError
from pinecone.index import Index

from vecforensics.pinecone_local import Fault, PineconeLocal, Refused, wire
from vecforensics.pinecone_local.state import IndexState


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
            partial(state.upsert, space, [{"id": one, "values": value} for one in ids]),
            partial(state.delete, space, ids),
            partial(state.update, space, {"id": ids[0], "values": value}),
            partial(state.drop, space),
            partial(state.clear, space),
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
