"""How migrations really went wrong: a test for each public thread, named after what happened."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
from planted_run import investigate
from planted_world import World

from vecforensics.findings import Verdict


def kinds(diff: object) -> Counter[str]:
    return Counter(diff.table["kind"].to_pylist())  # type: ignore[attr-defined]


def test_vectors_attached_in_completion_order_rig_2345(tmp_path: Path) -> None:
    world = World.make(count=200)
    order = np.arange(200)
    for start in range(100, 160, 10):
        order[start : start + 10] = start + world.rng.permutation(10)
    for row in range(200):
        world.vector(row, world.expected[order[row]])
    diff = investigate(world, tmp_path, impact=False)
    moved = int((order != np.arange(200)).sum())
    said = {row["source_id"]: row["partner_id"] for row in diff.table.to_pylist()}
    assert said == {world.ids[n]: world.ids[order[n]] for n in range(200) if order[n] != n}
    assert sum(kinds(diff)[kind] for kind in ("swapped", "shifted")) == moved


def test_cache_hits_and_misses_permute_a_batch_llama_index_19537(tmp_path: Path) -> None:
    world = World.make(count=120)
    batch = list(range(40, 56))
    hits = [row for row in batch if row % 3 == 0]
    answered = hits + [row for row in batch if row % 3]
    for row, owner in zip(batch, answered, strict=True):
        world.vector(row, world.expected[owner])
    diff = investigate(world, tmp_path, impact=False)
    said = {row["source_id"]: row["partner_id"] for row in diff.table.to_pylist()}
    assert said == {world.ids[r]: world.ids[o] for r, o in zip(batch, answered, strict=True) if r != o}


def test_one_skipped_nan_shifts_all_later_vectors_dify_41476(tmp_path: Path) -> None:
    world = World.make(count=200)
    for row in range(77, 199):
        world.vector(row, world.expected[row + 1])
    del world.target[199]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"shifted": 122, "missing": 1}
    assert json.loads(diff.of_kind("shifted")["detail"][0].as_py())["begins_with"] == world.ids[77]


def test_identical_vectors_on_different_documents_openmetadata_29703(tmp_path: Path) -> None:
    world = World.make(count=100)
    for row in range(20, 45):
        world.vector(row, world.expected[19])
    rows = investigate(world, tmp_path, impact=False).table.to_pylist()
    assert {row["source_id"] for row in rows} == set(world.ids[20:45])
    assert {row["kind"] for row in rows} == {"broadcast"}
    assert {row["partner_id"] for row in rows} == {world.ids[19]}


def test_async_results_never_awaited_langchain_8635(tmp_path: Path) -> None:
    world = World.make(count=300)
    world.target = world.target[:263]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"missing": 37}
    assert "the last 37 rows" in diff.hot_spots[0]["sentence"]


def test_a_retry_after_a_time_out_duplicates_milvus_12512(tmp_path: Path) -> None:
    world = World.make(count=100)
    for n in range(10, 22):
        _, vector, metadata = world.target[n]
        world.target.append((str(uuid.UUID(int=n, version=4)), vector.copy(), dict(metadata)))
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"duplicate": 12}
    assert set(diff.table["source_id"].to_pylist()) == set(world.ids[10:22])


def test_integer_ids_above_2_53_are_rounded_milvus_20415_attu_542(tmp_path: Path) -> None:
    world = World.make(count=80, shape="beyond53")
    world.target = [(str(int(float(text))), *rest) for text, *rest in world.target]
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["mangled_id"] == sum(str(int(float(text))) != text for text in world.ids)
    assert diff.counts["missing"] == diff.counts["orphan"] == 0


def test_ids_through_pandas_become_nan_and_1_0(tmp_path: Path) -> None:
    world = World.make(count=60, shape="numeric")
    for row in range(30, 60):
        world.target[row] = (f"{world.ids[row]}.0", *world.target[row][1:])
    world.target[12] = ("nan", *world.target[12][1:])
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["mangled_id"] == 31
    by_content = [row for row in diff.table.to_pylist() if row["target_id"] == "nan"]
    assert by_content[0]["source_id"] == world.ids[12]
    assert json.loads(by_content[0]["detail"]) == {"by": "content", "conversion": "id lost"}


def test_leading_zeros_are_lost(tmp_path: Path) -> None:
    world = World.make(count=60, shape="padded")
    world.target = [(text.lstrip("0"), *rest) for text, *rest in world.target]
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["mangled_id"] == 60
    assert json.loads(diff.table["detail"][0].as_py())["conversion"] == "leading zeros lost"


def test_only_a_multiple_of_a_thousand_rows_is_left_chroma_2912(tmp_path: Path) -> None:
    world = World.make(count=2340, dimension=8)
    world.target = world.target[:2000]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"missing": 340}
    assert "2,000" in diff.hot_spots[0]["sentence"]


def test_200_ok_but_the_point_was_dropped_qdrant_9521(tmp_path: Path) -> None:
    world = World.make(count=400)
    gone = world.take(3, lambda row: row >= 200)
    world.target = [entry for entry in world.target if entry[0] not in {world.ids[row] for row in gone}]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"missing": 3}
    assert diff.hot_spots == ()


def test_two_concurrent_merge_inserts_duplicate_lancedb_3377(tmp_path: Path) -> None:
    world = World.make(count=100)
    world.target += [(text, vector.copy(), dict(metadata)) for text, vector, metadata in world.target[30:60]]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"duplicate": 30}
    assert json.loads(diff.table["detail"][0].as_py()) == {"form": "same id"}


def test_which_of_two_copies_is_the_further_one_does_not_hang_on_the_order_of_a_scan(tmp_path: Path) -> None:
    world = World.make(count=100)
    world.target += [(text, vector, metadata | {"plan": "?"}) for text, vector, metadata in world.target[:30]]
    seen = [investigate(world, tmp_path / str(seed), impact=False, shuffle=seed) for seed in (None, 1, 2)]
    assert seen[0].table == seen[1].table == seen[2].table
    assert kinds(seen[0])["duplicate"] == 30


def test_the_text_was_edited_and_the_old_vector_kept(tmp_path: Path) -> None:
    world = World.make(count=100)
    for row in (3, 50, 77):
        old = world.rng.normal(size=world.dimension).astype(np.float32)
        world.earlier.append((world.ids[row], old))
        world.vector(row, old)
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"stale": 3}
    assert all("version" in json.loads(text) for text in diff.table["detail"].to_pylist())


def test_metadata_retyped_int_to_float_and_true_to_boolean_vector_io(tmp_path: Path) -> None:
    world = World.make(count=60)
    for text, _, metadata in world.target:
        metadata["score"] = float(metadata["score"])
        metadata["active"] = metadata["active"] == "true"
        assert text in world.row_of
    diff = investigate(world, tmp_path / "any", impact=False)
    fields = json.loads(diff.table["detail"][0].as_py())["fields"]
    assert kinds(diff) == {"metadata_drift": 60}
    assert {name: entry["types"] for name, entry in fields.items()} == {
        "score": "int→float",
        "active": "text→bool",
    }
    pinecone = investigate(world, tmp_path / "pinecone", impact=False, store="pinecone")
    assert set(json.loads(pinecone.table["detail"][0].as_py())["fields"]) == {"active"}


def test_a_hole_that_a_resume_never_visits_qdrant_migration(tmp_path: Path) -> None:
    world = World.make(count=1000, dimension=8)
    world.target = world.target[:610] + world.target[655:]
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["missing"] == 45
    assert diff.hot_spots[0]["kind"] == "missing"
    assert diff.hot_spots[0]["rows"] == 45


def test_429_taken_for_permanent_and_the_run_completes(tmp_path: Path) -> None:
    world = World.make(count=1000, dimension=8)
    world.target = [entry for n, entry in enumerate(world.target) if n // 50 not in (7, 8, 15)]
    world.logs = [
        {
            "action": "wrote",
            "record_ids": [world.ids[n]],
            "time": f"2026-01-01T00:{n // 50:02d}:00Z",
            "fields": {"batch": str(n // 50), "collection": "things"},
            "line_number": n,
        }
        for n in range(1000)
    ]
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["missing"] == 150
    assert {row["batch"] for row in diff.of_kind("missing").to_pylist()} == {"7", "8", "15"}
    assert any("batch" in spot["sentence"] for spot in diff.hot_spots)
    assert diff.verdict is Verdict.CORRUPT
