"""A case whose target is a Pinecone index: the vendor's client over a real connection, and behind it the local service.

Records are items with parents among themselves; vectors come from the source's own column, so that a test knows them all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vecforensics.pinecone_local import PineconeLocal

__all__ = ["DIMENSION", "KEY", "PineconeScene"]

DIMENSION = 8
KEY = "pcsk_secret-of-the-test"

CASE = """\
case: PINE-1
collections:
  items:
    source: {uri: items.jsonl, id: id, text: [body], metadata: [plan, rank, tags], depends_on: {items: parent}}
    target: {uri: "pinecone:items", collection: %s}
    expected: {column: embedding}
settle_s: 0
"""


@dataclass
class PineconeScene:
    """`folder` holds the case, `service` the index `items`; `namespace` is the collection as the case names it."""

    folder: Path
    service: PineconeLocal
    records: list[dict[str, Any]]
    namespace: str = "people"

    @classmethod
    def make(
        cls, folder: Path, service: PineconeLocal, count: int = 250, namespace: str = "people"
    ) -> PineconeScene:
        rng = np.random.default_rng(57)
        vectors = rng.standard_normal((count, DIMENSION)).astype(np.float32)
        records = [
            {
                "id": f"u{n}",
                "body": f"text of {n}",
                "plan": None if n % 7 == 0 else f"plan {n % 3}",
                "rank": n,
                "tags": ["a", "b"] if n % 2 else [],
                "parent": None if n < 5 else f"u{n % 5}",
                "embedding": vectors[n].tolist(),
            }
            for n in range(count)
        ]
        (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
        (folder / "case.yaml").write_text(CASE % namespace)
        service.create_index("items", dimension=DIMENSION, metric="dotproduct")
        return cls(folder, service, records, namespace)

    @property
    def case(self) -> Path:
        return self.folder / "case.yaml"

    @property
    def canonical(self) -> str:
        return "" if self.namespace == "__default__" else self.namespace

    def row(self, n: int, **other: Any) -> dict[str, Any]:
        """Record `n` as a right migration writes it; `other` replaces parts of it."""
        record = self.records[n]
        metadata = {name: record[name] for name in ("plan", "rank", "tags") if record[name] is not None}
        return {"id": record["id"], "values": record["embedding"], "metadata": metadata} | other

    def put(self, rows: Sequence[dict[str, Any]]) -> None:
        """Straight into the index."""
        for start in range(0, len(rows), 500):
            self.service.index("items").upsert(self.canonical, list(rows[start : start + 500]))

    def right(self, *without: int) -> None:
        """Every record as it should be, but those."""
        self.put([self.row(n) for n in range(len(self.records)) if n not in without])

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the index holds, by id."""
        return dict(self.service.index("items").rows(self.canonical))

    def requests(self, method: str, path: str) -> int:
        return sum((one[0], one[1]) == (method, path) for one in self.service.requests)
