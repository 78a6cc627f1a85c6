"""A stateful Pinecone-compatible service on this machine, to rehearse a read or a repair without touching an index.

The vendor's own emulator came to its end of life. This one speaks the REST API over a real connection, so that the real SDK
(7.3 to 10.2) can be pointed at it unpatched: `Pinecone(api_key="local", host=service.url)`. It keeps what the store does by
nature: float32 values, whole numbers that become doubles, writes that are acknowledged before they are visible.

    service.py        the thread, the servers, faults on demand
    control_plane.py  indexes, in the shapes of each API version
    data_plane.py     vectors and namespaces
    state.py          what is acknowledged and what is visible
    rows.py           what may be a row, and what becomes of it
    wire.py           JSON, requests, answers, refusals

What it does not do: gRPC; TLS; persistence (the state is in memory and gone with the process); pods, sparse indexes, document
indexes, integrated embedding, inference; metadata filters (refused with 400, never ignored) and sparse queries; imports, backups,
collections, configuring an index; quotas and rate limits, other than faults that are asked for. All of that is answered with an
error, 501 where there is no such path. And a query is exact: it does not show what the real index would overlook.
"""

from __future__ import annotations

from vecforensics.pinecone_local.service import Fault, PineconeLocal
from vecforensics.pinecone_local.wire import Refused

__all__ = ["Fault", "PineconeLocal", "Refused"]
