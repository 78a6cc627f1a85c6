"""A small case on disk: users, posts that depend on users, and a target in whatever state a test wants.

    scene = Scene.make(tmp_path)          evidence collected, the target empty
    scene.right()                         every row right, written straight into the store
    scene.migrate("apply")                through the public function

Ids overlap on purpose (user 1, post 1), as they do between the tables of most databases.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Case, load_case
from vecforensics.collect import collect
from vecforensics.embedding import open_embedder
from vecforensics.findings import FINDINGS_SCHEMA, SEVERITY, Kind
from vecforensics.migrate import MigrationRun, migrate
from vecforensics.records import canonical_json
from vecforensics.run_folder import RunFolder
from vecforensics.stores import VectorWriter, open_reader, open_writer

DIMENSION = 16

CASE = """\
case: SCENE-1
collections:
  posts:
    source: {{uri: posts.jsonl, id: id, text: [body], metadata: [likes, pinned], depends_on: {{users: author}}}}
    target: {{uri: "{store}:target", collection: posts}}
    expected: {{embedder: "{embedder}"}}
  users:
    source: {{uri: users.jsonl, id: id, text: [bio], metadata: [plan], depends_on: {{users: boss}}}}
    target: {{uri: "{store}:target", collection: users}}
    expected: {{embedder: "{embedder}"}}
"""


def user(number: int, boss: int | None = None) -> dict[str, Any]:
    return {
        "id": str(number),
        "bio": f"user {number} bakes bread",
        "plan": "free",
        "boss": boss and str(boss),
    }


def post(number: int, author: int | str) -> dict[str, Any]:
    body = f"post {number} about the spring menu"
    return {
        "id": str(number),
        "body": body,
        "likes": number,
        "pinned": number % 2 == 0,
        "author": str(author),
    }


USERS = [user(1), user(2, boss=3), user(3), user(4, boss=2)]
POSTS = [post(1, 4), post(2, 1), post(3, 2), post(4, 2), post(5, 3), post(6, 1)]

Row = tuple[str, np.ndarray[Any, Any] | None, str | None]


@dataclass
class Scene:
    """A case, its run folder and its target."""

    folder: Path
    case: Case
    run: RunFolder

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        store: str = "parquet",
        users: Iterable[Mapping[str, Any]] = USERS,
        posts: Iterable[Mapping[str, Any]] = POSTS,
        embedder: str = f"hashing-{DIMENSION}",
        case: str = CASE,
    ) -> Scene:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("users", users), ("posts", posts)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "case.yaml").write_text(case.format(store=store, embedder=embedder))
        loaded = load_case(folder / "case.yaml")
        scene = cls(folder, loaded, RunFolder.begin(folder / "case.yaml", loaded, folder / "reports"))
        collect(loaded, scene.run, empty_target=True)
        return scene

    def collect_again(self) -> None:
        """A new run, with what stands in the target now as evidence."""
        self.run = RunFolder.begin(self.folder / "case.yaml", self.case, self.folder / "reports")
        collect(self.case, self.run, empty_target=True)

    def copy(self, folder: Path) -> Scene:
        """The same scene at another place, to be broken there."""
        shutil.copytree(self.folder, folder)
        return Scene(
            folder,
            load_case(folder / "case.yaml"),
            RunFolder(folder / self.run.path.relative_to(self.folder)),
        )

    def migrate(self, mode: str = "apply", **settings: Any) -> MigrationRun:
        return migrate(self.case, self.run, mode=mode, **settings)

    def writer(self, collection: str = "users") -> VectorWriter:
        return open_writer(self.case.collections[collection].target, self.folder)

    def source(self, collection: str) -> list[dict[str, Any]]:
        lines = (self.folder / f"{collection}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def right_rows(self, collection: str) -> list[tuple[str, np.ndarray[Any, Any], str]]:
        """(id, vector, metadata) of each record as it should stand."""
        one = self.case.collections[collection]
        embedder = open_embedder(f"hashing-{DIMENSION}", self.folder)
        rows = self.source(collection)
        vectors = embedder.embed([" ".join(str(row[column]) for column in one.source.text) for row in rows])
        return [
            (row["id"], vectors[at], canonical_json({name: row[name] for name in one.source.metadata}))
            for at, row in enumerate(rows)
        ]

    def put(self, collection: str, rows: Iterable[tuple[str, Any, str | None]]) -> None:
        """Add rows straight to the store, duplicates too."""
        rows = list(rows)
        writer = self.writer(collection)
        writer.create(collection, DIMENSION)
        batch = pa.table(
            {
                "id": [row[0] for row in rows],
                "vector": fixed_vectors(np.stack([row[1] for row in rows])),
                "metadata": pa.array([row[2] for row in rows], pa.string()),
            }
        )
        here = writer.preimage(collection, writer_ids(writer, collection))
        names = here.schema.names
        added = batch.select([name for name in ("id", "vector", "metadata") if name in names]).cast(
            pa.schema([here.schema.field(name) for name in ("id", "vector", "metadata") if name in names])
        )
        everything = pa.concat_tables([here, added.select(names)])
        writer.restore(
            collection, sorted({*here.column("id").to_pylist(), *batch.column("id").to_pylist()}), everything
        )

    def right(self) -> None:
        """Make every row right."""
        for collection in self.case.collections:
            self.put(collection, self.right_rows(collection))

    def findings(self, rows: Iterable[tuple[str, Kind, str | None, str | None]]) -> None:
        """Write findings.parquet: (collection, kind, source id, target id)."""
        table = [
            {
                "collection": collection,
                "source_id": source,
                "target_id": target,
                "kind": kind.value,
                "severity": SEVERITY[kind].value,
                "detail": "{}",
            }
            for collection, kind, source, target in rows
        ]
        pq.write_table(pa.Table.from_pylist(table, schema=FINDINGS_SCHEMA), self.run.findings_parquet)

    def dump(self) -> dict[str, list[tuple[str, str]]]:
        """Collection → every row as (id, digest of all its columns), sorted: equal dumps are equal to the last bit."""
        found: dict[str, list[tuple[str, str]]] = {}
        for collection in self.case.collections:
            if not (self.folder / "target").exists():
                found[collection] = []
                continue
            writer = self.writer(collection)
            if collection not in writer.collections():
                found[collection] = []
                continue
            rows = writer.preimage(collection, writer_ids(writer, collection))
            found[collection] = sorted(
                (row["id"], hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest())
                for row in rows.to_pylist()
            )
        return found

    def stands_right(self) -> bool:
        """Whether exactly the right rows stand, to the last bit; by a reader of its own, without the package's verification."""
        for collection, one in self.case.collections.items():
            reader = open_reader(one.target, self.folder)
            there = [
                (row["id"], np.array(row["vector"], np.float32).tobytes(), row["metadata"])
                for batch in reader.scan(collection)
                for row in batch.to_pylist()
            ]
            if sorted(there) != sorted((i, v.tobytes(), m) for i, v, m in self.right_rows(collection)):
                return False
        return True


def writer_ids(writer: VectorWriter, collection: str) -> list[str]:
    return sorted({one for batch in writer.scan(collection) for one in batch.column("id").to_pylist()})
