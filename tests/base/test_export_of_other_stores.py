"""Stores that are read through an export: the code that docs/export.md gives for Pinecone, run as it stands (the real client, and
a stand-in for its server), and what the case file says of the store that an export comes from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Target, load_case
from vecforensics.errors import CaseError
from vecforensics.investigation import investigate
from vecforensics.stores import open_reader

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"
PAGE = 100
STORED: dict[str, dict[str, Any]] = {
    f"{n:03d}": {"id": f"{n:03d}", "values": [n / 2, 1.0], "metadata": {"n": float(n), "plan": "é"}}
    for n in range(250)
} | {"nan": {"id": "nan", "values": [0.5, 0.25]}}


class Server(BaseHTTPRequestHandler):
    """`list` a page at a time, and `fetch`, as Pinecone's data plane answers them."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = parse_qs(address.query)
        if address.path == "/vectors/list":
            start = int(asked.get("paginationToken", ["0"])[0])
            answer: dict[str, Any] = {"vectors": [{"id": one} for one in list(STORED)[start : start + PAGE]]}
            if start + PAGE < len(STORED):
                answer["pagination"] = {"next": str(start + PAGE)}
        else:
            assert address.path == "/vectors/fetch"
            answer = {"vectors": {one: STORED[one] for one in asked["ids"]}}
        body = json.dumps({**answer, "namespace": "", "usage": {"readUnits": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """The test's output is no place for it."""


@pytest.fixture
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_pinecone_holds_comes_out_as_a_target_that_is_read(tmp_path: Path, host: str) -> None:
    found = re.search(r"## Pinecone\n.*?```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-c", found[1]],
        cwd=tmp_path,
        env={**os.environ, "PINECONE_API_KEY": "none", "PINECONE_HOST": host, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reader = open_reader(Target(uri="parquet:export", collection="items"), tmp_path)
    rows = {row["id"]: row for batch in reader.scan("items") for row in batch.to_pylist()}
    assert rows.keys() == STORED.keys()
    assert rows["007"]["vector"] == [3.5, 1.0]
    assert json.loads(rows["007"]["metadata"]) == {"n": 7.0, "plan": "é"}
    assert json.loads(rows["nan"]["metadata"]) == {}


CASE = """\
case: exported
collections:
  items:
    source: {uri: items.jsonl, id: id, text: [body], metadata: [count, plan]}
    target: {uri: "parquet:export", collection: items%s}
    expected: {column: embedding}
"""


def exported_case(folder: Path, said: str) -> Path:
    """A record whose plan is null and whose count is whole, as Pinecone gives it back."""
    row = {"id": "a", "body": "text", "count": 3, "plan": None, "embedding": [1.0, 0.5]}
    (folder / "items.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "export").mkdir(exist_ok=True)
    held = {"id": ["a"], "vector": [[1.0, 0.5]], "metadata": [json.dumps({"count": 3.0})]}
    pq.write_table(pa.table(held), folder / "export" / "items.parquet")
    (folder / "case.yaml").write_text(CASE % said)
    return folder / "case.yaml"


@pytest.mark.parametrize(
    ("said", "drifted"),
    [("", 1), (", exported_from: pinecone", 0), (", exported_from: chroma", 1)],  # Chroma keeps whole numbers
)
def test_what_the_exported_store_does_by_nature_is_no_finding_where_the_case_names_it(
    tmp_path: Path, said: str, drifted: int
) -> None:
    inv = investigate(exported_case(tmp_path, said), tmp_path / "reports")
    assert inv.diff().counts["metadata_drift"] == drifted


def test_a_store_that_is_no_export_cannot_come_from_another(tmp_path: Path) -> None:
    file = exported_case(tmp_path, ", exported_from: pinecone")
    file.write_text(file.read_text().replace("parquet:", "lancedb:"))
    with pytest.raises(CaseError, match=r"case.yaml:5.*exported_from is for an export, parquet:PATH"):
        load_case(file)


def test_a_store_without_habits_of_its_own_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="'chroma', 'milvus' or 'pinecone'"):
        load_case(exported_case(tmp_path, ", exported_from: pincone"))
