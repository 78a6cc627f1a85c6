"""Prose says what the trace bears out, points at lines that exist, and never more than that."""

from __future__ import annotations

import asyncio
import linecache
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import view_scenes as scenes

from vecforensics.findings import Kind
from vecforensics.race.catalogue import NAMES
from vecforensics.race.explore import explore
from vecforensics.race.model import Damage, EventKind, Moment, OperationKind, Verdict, Witness
from vecforensics.race.views.prose import explain, explain_verdict
from vecforensics.race.views.swimlanes import swimlanes
from vecforensics.race.views.text import lanes_text
from vecforensics.records import Record

RECORDS_OF_ONE_KIND = tuple(
    Record(f"{number:06d}", f"product {number}", collection="products") for number in range(1, 13)
)
ROLES = ("trigger", "mechanism", "unnoticed", "consequence")


@pytest.mark.parametrize("name", NAMES)
def test_catalogue_entry_is_told_in_four_sentences_at_lines_of_its_file(name: str) -> None:
    witness = scenes.witness_of(name)
    prose = explain(witness)
    assert tuple(sentence.role for sentence in prose.sentences) == ROLES
    for sentence in prose.sentences:
        assert sentence.text.endswith(".")
        assert sentence.text[0].isupper()
        assert len(sentence.text) < 500
    assert prose.places
    for place in prose.places:
        assert Path(place.file).name == f"{name}.py"
        assert linecache.getline(place.file, place.lineno).strip() == place.text


@pytest.mark.parametrize("name", NAMES)
def test_consequence_names_every_kind_of_the_witness(name: str) -> None:
    witness = scenes.witness_of(name)
    text = explain(witness).sentences[-1].text
    words = {
        "lost_error": "error",
        "task_left_behind": "left running",
        "crash": "ends with",
        "deadlock": "for ever",
    }
    for kind in witness.kinds:
        assert words.get(kind, kind) in text, (kind, text)


@pytest.mark.parametrize("name", NAMES)
def test_records_that_are_named_are_records_of_the_witness_or_ids_of_the_run(name: str) -> None:
    witness = scenes.witness_of(name)
    known = {record.id for record in witness.records} | {item.key for item in witness.trace.operations}
    text = explain(witness).plain()
    for noun in ("user", "post"):
        for word in text.split(f"{noun} ")[1:]:
            key = word.split(" ")[0].strip(".,;:)")
            assert key in known, (key, text)


def test_post_looks_its_user_up_before_the_user_was_written() -> None:
    prose = explain(scenes.lookup_too_early())
    trigger, mechanism, unnoticed, consequence = prose.sentences
    assert trigger.text == "The post p-10001-1 looked its user 10001 up before the user was written."
    assert [place.lineno for place in trigger.places] == [21, 13]
    assert "had not even been started" in mechanism.text
    assert unnoticed.text.startswith("It hides: when answers come in the order of the questions")
    assert consequence.text == "As a result, post p-10001-1 is missing."


def test_a_task_whose_parent_is_another_record_does_not_call_it_its_own() -> None:
    witness = scenes.lookup_too_early()
    stranger = replace(witness, records=tuple(replace(record, depends_on=()) for record in witness.records))
    assert (
        explain(stranger).headline == "The post p-10001-1 looked user 10001 up before the user was written."
    )


def test_late_write_is_said_to_be_late_and_not_lost() -> None:
    prose = explain(scenes.crowd(3))
    trigger, mechanism, unnoticed, consequence = prose.sentences
    assert trigger.text == "The migration returned before user 10000 was written."
    assert "had been asked for but not answered" in mechanism.text
    assert "still running, and nothing awaited it" in mechanism.text
    assert unnoticed.text.startswith("It hides from whoever looks a moment later")
    assert "when the function has returned" in consequence.text


def test_no_claim_of_hiding_where_no_passing_run_is_known() -> None:
    witness = scenes.lookup_too_early()
    alone = replace(witness, passing=None)
    assert explain(alone).sentences[2].text.startswith("It does not hide")


def test_passing_run_out_of_turn_is_not_called_first_in_first_out() -> None:
    witness = scenes.lookup_too_early()
    assert witness.passing is not None
    begins = [event for event in witness.passing.events if event.kind is EventKind.BEGIN]
    others = [event for event in witness.passing.events if event.kind is not EventKind.BEGIN]
    turned = replace(witness.passing, events=(*reversed(begins), *others))
    turned = replace(turned, events=tuple(replace(event, seq=n) for n, event in enumerate(turned.events)))
    text = explain(replace(witness, passing=turned)).sentences[2].text
    assert text == "It hides: there are other orders in which the same 2 records come out right."


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_damage_has_words(kind: Kind) -> None:
    witness = scenes.lookup_too_early()
    for count in (1, 2):
        damage = tuple(
            Damage(kind, record.id, record.id, other.id, "", Moment.QUIESCENCE)
            for record, other in list(zip(witness.records, reversed(witness.records), strict=True))[:count]
        )
        trace = replace(witness.trace, outcome=replace(witness.trace.outcome, damage=damage))
        text = explain(replace(witness, trace=trace, kinds=trace.outcome.kinds)).sentences[-1].text
        assert kind.value in text
        assert "10001" in text


def test_hostile_ids_are_printable_in_prose_and_markdown() -> None:
    prose = explain(scenes.lookup_too_early(user="\x1b[31m\u202e*x*", post="`<b>`|"))
    for text in (prose.plain(), prose.markdown()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "\\*x\\*" in prose.markdown()
    outside = [
        line for line in prose.markdown().splitlines() if not line.startswith("    ")
    ]  # four spaces: code
    assert not any(re.search(r"(?<!\\)[<`|]", line) for line in outside)


def test_javascript_is_told_with_javascript_lines(tmp_path: Path) -> None:
    pytest.importorskip("quickjs")
    (tmp_path / "migration.js").write_text(
        "const ids = {};\n"
        "async function migrateDataToVectorDB(users) {\n"
        "  users.forEach(async (user) => {\n"
        "    const vector = await generateVector(user);\n"
        "    const owner = user.dependsOn[0];\n"
        "    const id = owner === undefined ? user.id : Number(ids[owner]) && user.id;\n"
        "    await vectorDB.insert(id, vector);\n"
        "    ids[user.id] = 1;\n"
        "  });\n"
        "}\n"
    )
    found = explore(
        "migration.js", records=3, folder=tmp_path, prefer=("mangled_id",), schedules=60, survey=10
    )
    assert found.witness is not None
    prose = explain(found.witness)
    assert "was ready before" in prose.headline
    assert '"NaN"' in prose.sentences[1].text
    assert {place.text for place in prose.places} == {
        "const vector = await generateVector(user);",
        "await vectorDB.insert(id, vector);",
    }


def test_verdicts_are_three_sentences() -> None:
    said = {verdict: explain_verdict(scenes.exploration(None, verdict)) for verdict in Verdict}
    assert "goes wrong" in said[Verdict.FAILING]
    assert said[Verdict.PROVED].startswith("No failing order exists with these 2 records")
    assert said[Verdict.SAMPLED].endswith("a sample, not a proof.")


def test_fault_is_told_with_what_the_code_did_next() -> None:
    prose = explain(scenes.witness_of("blind_retry"))
    assert prose.headline.startswith("One fault is enough, at the write of ")
    assert "went on with upsert(" in prose.sentences[1].text


def test_nothing_said_of_an_operation_that_never_began() -> None:
    witness = scenes.crowd(2)
    gone = tuple(item for item in witness.trace.operations if item.kind is not OperationKind.UPSERT)
    kept = {item.id for item in gone}
    events = tuple(e for e in witness.trace.events if not e.operation or e.operation in kept)
    bare: Witness = replace(
        witness, trace=replace(witness.trace, operations=gone, events=events), constraints=()
    )
    mechanism = explain(bare).sentences[1].text
    assert "never asked to write user 10000" in mechanism


async def one_dictionary_for_all(records: Any, embed: Any, store: Any) -> None:
    metadata: dict[str, Any] = {}

    async def one(record: Any) -> None:
        metadata.clear()
        metadata.update(record.metadata)
        await store.upsert(record.id, await embed(record), metadata)

    await asyncio.gather(*(one(record) for record in records[:1]))
    await asyncio.gather(*(one(record) for record in records[1:]))


async def nothing_but_zeros(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record) * 0, record.metadata)


@pytest.mark.parametrize(
    ("migrate", "said"), [(one_dictionary_for_all, r"field \w+ is .+, was "), (nothing_but_zeros, "all zero")]
)
def test_damage_that_a_write_carried_is_told_with_its_line(migrate: Any, said: str) -> None:
    found = explore(migrate, records=4, schedules=60)
    assert found.witness is not None
    mechanism = explain(found.witness).sentences[1]
    assert re.search(f"The write of .* carried it so: {said}", mechanism.text), mechanism.text
    assert "store.upsert" in mechanism.places[0].text


async def one_slot_for_all(records: Any, embed: Any, store: Any) -> None:
    last: dict[str, Any] = {}

    async def one(record: Any) -> None:
        last["vector"] = await embed(record)
        await asyncio.sleep(0)
        await store.upsert(record.id, last["vector"], record.metadata)

    await asyncio.gather(*(one(record) for record in records))


def test_answers_that_met_in_one_round_are_told_as_a_meeting_and_not_as_an_order() -> None:
    found = explore(one_slot_for_all, records=RECORDS_OF_ONE_KIND, prefer=("swapped",))
    witness = found.witness
    assert witness is not None
    assert witness.granularity == "fine"
    trigger, mechanism, unnoticed, _ = explain(witness).sentences
    assert (
        trigger.text
        == "The vectors of product 000001 and product 000002 arrived in the same round of the event loop."
    )
    assert "nothing in the code makes the one wait until the other is through" in mechanism.text
    assert "carried the vector of product 000002" in mechanism.text
    assert unnoticed.text.startswith("It hides: when answers arrive one at a time")
    picture = " ".join((lanes_text(witness), swimlanes(witness))).lower()
    assert "missing:" not in picture
    assert (
        "together: 1 embed(product 000001) and 2 embed(product 000002), in the same round of the event loop"
        in picture
    )
    assert "another order" not in picture


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_the_program_is_shown_under_two_sentences(name: str) -> None:
    shown = [place for sentence in explain(scenes.witness_of(name)).sentences for place in sentence.places]
    assert len(shown) == len(set(shown))


def test_the_verdict_says_which_schedule_was_the_first_to_fail_and_that_records_were_generated() -> None:
    found = explore(one_slot_for_all, records=4)
    assert f"the first failing one was schedule {found.schedules_to_first_failure}." in explain_verdict(found)
    assert "of 4 generated records were tried" in explain_verdict(found)
    given = explore(one_slot_for_all, records=RECORDS_OF_ONE_KIND)
    assert "of 12 records were tried" in explain_verdict(given)
