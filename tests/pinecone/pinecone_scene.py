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
import pytest

from vecforensics.case import Target
from vecforensics.cli import main
from vecforensics.investigation import investigate
from vecforensics.pinecone_local import PineconeLocal
from vecforensics.run_folder import RunFolder
from vecforensics.stores import open_reader
from vecforensics.stores.pinecone_client import PineconeIndex

__all__ = [
    "DIMENSION",
    "KEY",
    "PineconeScene",
    "counting",
    "damaged",
    "frozen_and_diffed",
    "refused",
    "repaired",
    "scanned",
    "target",
]

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


def target(**other: Any) -> Target:
    return Target(uri="pinecone:items", collection=other.pop("collection", "people"), **other)


def scanned(tmp_path: Path, **other: Any) -> list[dict[str, Any]]:
    one = target(**other)
    reader = open_reader(one, tmp_path)
    return [row for batch in reader.scan(one.collection) for row in batch.to_pylist()]


def frozen_and_diffed(scene: PineconeScene) -> tuple[RunFolder, Any]:
    inv = investigate(scene.case, scene.folder / "reports")
    return inv.run, inv.diff()


def refused(scene: PineconeScene, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["diff", str(scene.case), "--out", str(scene.folder / "reports")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert KEY not in err
    return err


def counting(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """The index counts so many rows more than it lists, as one does that shows writes late."""
    real = PineconeIndex.counts

    def counts(self: PineconeIndex) -> tuple[int, dict[str, int]]:
        dimension, counted = real(self)
        return dimension, {name: count + more for name, count in counted.items()}

    monkeypatch.setattr(PineconeIndex, "counts", counts)
    monkeypatch.setattr("vecforensics.stores.pinecone._COUNTED_S", 0.2)


def repaired(scene: PineconeScene, run: RunFolder, *flags: str) -> int:
    return main(["migrate", str(run.path), "--repair", *flags])


def damaged(scene: PineconeScene) -> dict[str, dict[str, Any]]:
    """Some rows wrong, one missing, one mangled; and what the case does not name: a tag of the owner's and a sparse vector."""
    scene.right(10, 11)
    scene.put([scene.row(10, id="NaN")])
    sparse = {"indices": [1, 7], "values": [0.5, 0.25]}
    owned = {"metadata": scene.row(20)["metadata"] | {"owner": "sales"}, "sparseValues": sparse}
    scene.put([scene.row(20, values=scene.records[21]["embedding"], **owned)])
    return scene.rows()
