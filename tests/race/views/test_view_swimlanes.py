"""The picture of every catalogue entry and of hand-made traces: strict XML, nothing active, no text on another, arrows where
the trace says."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET
from itertools import combinations
from typing import Any

import pytest
import view_scenes as scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from vecforensics.errors import printable
from vecforensics.race.catalogue import NAMES
from vecforensics.race.explore import explore
from vecforensics.race.model import EventKind, OperationKind, Trace, Witness
from vecforensics.race.views.edges import RETURN, missing_edges
from vecforensics.race.views.story import took_effect
from vecforensics.race.views.swimlanes import Drawing, draw, swimlanes

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {
    f"{SVG}{name}"
    for name in ("svg", "g", "title", "desc", "rect", "line", "path", "polygon", "circle", "text")
}
FORBIDDEN = re.compile(r"^(on.*|style|class|id|.*href)$")


def parsed(svg: str) -> ET.Element:
    """The tree, after the checks that hold for every picture."""
    tree = ET.fromstring(svg)
    for element in tree.iter():
        assert element.tag in ELEMENTS
        for name, value in element.attrib.items():
            assert not FORBIDDEN.match(name.rpartition("}")[2])
            assert "url(" not in value
            assert "javascript:" not in value
    assert tree.find(f"{SVG}title") is not None
    assert tree.find(f"{SVG}desc") is not None
    return tree


def assert_tidy(drawing: Drawing) -> None:
    """No text stands on another or leaves the sheet."""
    for one, other in combinations(drawing.boxes, 2):
        assert not one.overlaps(other), (one, other)
    for box in drawing.boxes:
        assert box.left >= 0
        assert box.right <= 900
        assert box.top >= 0
        assert box.bottom <= drawing.height


def assert_arrows(drawing: Drawing, witness: Witness, beside: Trace | None) -> None:
    """Each write ends at the lane of its key, each read begins there, and their heights follow the order of completion."""
    panels = [(witness.trace, 0.0, 450.0 if beside else 900.0)]
    if beside is not None:
        panels.append((beside, 450.0, 900.0))
    for trace, left, right in panels:
        order = {e.operation: e.seq for e in trace.events if e.kind in (EventKind.COMPLETE, EventKind.FAULT)}
        mine = [
            arrow
            for arrow in drawing.arrows
            if left <= arrow.x1 < right and arrow.meaning in ("write", "read")
        ]
        for arrow in mine:
            operation = trace.operation(arrow.name)
            assert operation is not None
            assert (operation.kind is OperationKind.FETCH) == (arrow.meaning == "read")
            key_end = arrow.x1 if arrow.meaning == "read" else arrow.x2
            heads = [box for box in drawing.boxes if left <= box.left < right and box.top < 260]
            lanes = [box.left for box in heads if _same(box.text, operation.key)]
            assert any(0 <= key_end - lane <= 22 for lane in lanes), (operation, key_end, lanes)
        heights = sorted(mine, key=lambda arrow: order[arrow.name])
        assert [arrow.y1 for arrow in heights] == sorted(arrow.y1 for arrow in mine)


def _same(shown: str, key: str) -> bool:
    head, cut, tail = shown.partition("…")
    whole = printable(key, 4000)
    return whole.startswith(head) and whole.endswith(tail) if cut else shown == whole


def assert_edges(drawing: Drawing, witness: Witness) -> None:
    """Every missing edge that has its operations on the sheet is drawn, and against the direction of time."""
    drawn = {arrow.name: arrow for arrow in drawing.arrows if arrow.meaning == "missing"}
    for edge in missing_edges(witness):
        arrow = drawn[f"{edge.before}>{edge.after}"]
        assert arrow.y1 > arrow.y2
    titles = " ".join(box.text for box in drawing.boxes)
    assert titles.count("Missing: ") == len(missing_edges(witness))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", ["passing", "corrected"])
def test_picture_of_a_catalogue_entry(name: str, other: str) -> None:
    witness = scenes.witness_of(name)
    beside = scenes.corrected(name) if other == "corrected" else None
    drawing = draw(witness, beside=beside)
    tree = parsed(drawing.svg)
    assert_tidy(drawing)
    assert_arrows(drawing, witness, beside or witness.passing)
    assert_edges(drawing, witness)
    tips = " ".join(title.text or "" for title in tree.iter(f"{SVG}title"))
    for constraint in witness.constraints:
        for operation in (
            witness.trace.operation(constraint.first),
            witness.trace.operation(constraint.then),
        ):
            assert operation is None or operation.label in tips


def test_read_is_joined_to_the_write_that_it_saw() -> None:
    witness = scenes.lookup_too_early()
    drawing = draw(witness)
    joined = [arrow for arrow in drawing.arrows if arrow.meaning == "read-from"]
    assert [arrow.name for arrow in joined] == ["main.1#2>main.2#2"]
    assert joined[0].x1 == joined[0].x2 > 450  # along the key's line, in the passing run
    assert joined[0].y1 < joined[0].y2
    texts = [box.text for box in drawing.boxes]
    assert "empty" in texts
    assert "found" in texts
    assert_edges(drawing, witness)
    assert_tidy(drawing)


def test_work_after_the_return_is_marked_and_the_edge_goes_to_the_return() -> None:
    witness = scenes.crowd(3)
    drawing = draw(witness)
    assert "the migration returns, 1 still under way" in [box.text for box in drawing.boxes]
    edge = next(arrow for arrow in drawing.arrows if arrow.meaning == "missing")
    assert edge.name == f"main.1#2>{RETURN}"
    assert edge.x1 == edge.x2
    assert "too late" in [box.text for box in drawing.boxes]


def test_long_run_folds_its_quiet_part_and_says_how_much() -> None:
    witness = scenes.crowd(200, damaged=57)
    drawing = draw(witness)
    parsed(drawing.svg)
    assert_tidy(drawing)
    texts = [box.text for box in drawing.boxes]
    folded = [int(text) for text in texts if re.fullmatch(r"\+\d+", text) and text != "+2"]
    shown = sum(1 for text in texts if re.fullmatch(r"\d{1,3}", text)) - 1  # less the sample in the legend
    assert sum(folded) + shown == 400
    assert any("398 operations of the run are not drawn" in text for text in texts)
    assert "10057" in texts
    assert "10056" not in texts
    assert drawing.height < 500


def test_all_operations_in_one_lane_stand_side_by_side() -> None:
    """One task with many requests under way, as a JavaScript main function or `async_req` has."""
    records = scenes.crowd(4).records
    script = scenes.Script(records)
    for record in records:
        script.begin(f"main#{record.id}", OperationKind.UPSERT, record.id, "main", 3, record=record.id)
    for record in reversed(records):
        script.done(f"main#{record.id}")
    script.event(EventKind.RETURN)
    trace = script.trace()
    drawing = draw(Witness(records, (), (), "vf1", trace, ("missing",)))
    assert_tidy(drawing)
    starts = {round(arrow.x1) for arrow in drawing.arrows if arrow.meaning == "write"}
    assert len(starts) == 4


def test_same_witness_gives_the_same_bytes() -> None:
    witness = scenes.lookup_too_early()
    assert swimlanes(witness) == swimlanes(witness)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "\u202eevil\u202c",
    "a\nb\tc\x1b[31m\x00",
    "x" * 400,
    "ملف",
    "用户一二三四五六七八九十",
    "&amp;<!--]]>",
    "\ud800",
    " ",
    "",
    "\ufffe\U0001f600",
]


@pytest.mark.parametrize("bad", HOSTILE)
def test_hostile_id_stays_text(bad: str) -> None:
    witness = scenes.lookup_too_early(user=bad, post=f"p-{bad}")
    drawing = draw(witness)
    parsed(drawing.svg)
    assert_tidy(drawing)
    assert "<script" not in drawing.svg
    for ch in "\u202e\u202c\x1b\x00":
        assert ch not in drawing.svg


@settings(max_examples=60, deadline=None)
@given(user=st.text(max_size=60), post=st.text(max_size=60))
def test_any_two_ids_give_a_tidy_picture(user: str, post: str) -> None:
    if user == post or "NaN" in (user, post):
        return
    drawing = draw(scenes.lookup_too_early(user=user, post=post))
    parsed(drawing.svg)
    assert_tidy(drawing)


def test_a_fault_that_was_committed_counts_as_written() -> None:
    trace = scenes.witness_of("blind_retry").trace
    faults = [event for event in trace.events if event.kind is EventKind.FAULT]
    assert faults
    assert [took_effect(event) for event in faults] == ["but was committed" in event.text for event in faults]


async def reads_its_own_write(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record), dict(record.metadata))
        if await store.fetch(record.id) is None:
            await store.delete(record.id)


async def locks_crosswise(records: Any, embed: Any, store: Any) -> None:
    locks = [asyncio.Lock(), asyncio.Lock()]

    async def one(record: Any, first: int) -> None:
        async with locks[first]:
            vector = await embed(record)
            async with locks[1 - first]:
                await store.upsert(record.id, vector, dict(record.metadata))

    await asyncio.gather(*(one(record, n % 2) for n, record in enumerate(records)))


def test_late_write_shows_when_it_becomes_visible() -> None:
    witness = explore(reads_its_own_write, records=2, faults=("late",), schedules=200, survey=5).witness
    assert witness is not None
    drawing = draw(witness)
    parsed(drawing.svg)
    assert_tidy(drawing)
    assert_edges(drawing, witness)
    shown = next(arrow for arrow in drawing.arrows if arrow.meaning == "shows")
    read = next(arrow for arrow in drawing.arrows if arrow.meaning == "read")
    assert read.y1 < shown.y1
    assert {"empty", "visible"} <= {box.text for box in drawing.boxes}
    assert "looked up before it became visible" in " ".join(box.text for box in drawing.boxes)


def test_deadlock_marks_the_tasks_that_wait() -> None:
    witness = explore(locks_crosswise, records=2, schedules=200, survey=5).witness
    assert witness is not None
    drawing = draw(witness)
    assert_tidy(drawing)
    texts = [box.text for box in drawing.boxes]
    assert texts.count("waits") == 2
    assert "the migration returns" not in texts
    assert any(text.startswith("The migration waits for ever") for text in texts)


def test_run_without_any_operation_is_still_a_picture() -> None:
    script = scenes.Script(())
    script.event(EventKind.RETURN)
    trace = script.trace(crashed="RuntimeError: at once <b>")
    drawing = draw(Witness((), (), (), "vf1", trace, trace.outcome.kinds))
    parsed(drawing.svg)
    assert_tidy(drawing)
    assert "The run ends with RuntimeError: at once <b>" in " ".join(box.text for box in drawing.boxes)
