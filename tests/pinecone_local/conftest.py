from __future__ import annotations

from collections.abc import Iterator

import pytest
from pinecone import Pinecone
from pinecone.index import Index

from vecforensics.pinecone_local import PineconeLocal


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
