from __future__ import annotations

from collections.abc import Iterator

import pytest
from pinecone_scene import KEY

from vecforensics.pinecone_local import PineconeLocal


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[PineconeLocal]:
    """The local service, and an environment in which the vendor's client finds it."""
    with PineconeLocal(api_key=KEY) as running:
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", running.url)
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running
