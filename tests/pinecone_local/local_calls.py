"""Rows, requests as curl would make them, and listings, for the tests of the local service."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from pinecone.index import Index

__all__ = ["GOOD", "asked", "listed", "row"]

GOOD = {"id": "good", "values": [1.0, 2.0, 3.0]}


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
