"""JavaScript migrations explored: the incident's forEach fails, the sequential loop is proved, and what lies between."""

from __future__ import annotations

from pathlib import Path

import pytest
from js_runs import body, first, last, program, run

from vecforensics.race import Verdict, explore, generate_records, load_suspect

INCIDENT = """\
const { generateVector, vectorDB } = require("./clients");

async function migrateDataToVectorDB(users) {
  users.forEach(async (user) => {
    const vector = await generateVector(user);
    for (const parentId of user.dependsOn) {
      const parent = await vectorDB.fetch(parentId);
      const vectorId = Number(parent?.vectorId);
      if (Number.isNaN(vectorId)) {
        throw new Error(`Key Not Found - UserId: ${parentId}, Vector ID: ${vectorId}`);
      }
    }
    await vectorDB.insert(user.id, vector, user.metadata);
  });
}

module.exports = { migrateDataToVectorDB };
"""

REFERENCED = body(
    """
    users.forEach(async (user) => {
      const vector = await generateVector(user);
      const parent = user.dependsOn.length ? await vectorDB.get(user.dependsOn[0]) : { vectorId: 0 };
      const key = Number.isNaN(Number(parent?.vectorId)) ? NaN : user.id;
      await vectorDB.insert(key, vector, user.metadata);
    });
    """
)

SEQUENTIAL = body(
    """
    for (const user of users) {
      const vector = await generateVector(user);
      await vectorDB.insert(user.id, vector, user.metadata);
    }
    """
)

WAVES = body(
    """
    const migrate = async (user) => vectorDB.upsert(user.id, await generateVector(user), user.metadata);
    await Promise.all(users.filter((user) => user.dependsOn.length === 0).map(migrate));
    await Promise.all(users.filter((user) => user.dependsOn.length > 0).map(migrate));
    """
)


def test_for_each_with_async_returns_before_its_work_is_done(tmp_path: Path) -> None:
    found = explore(program(tmp_path, INCIDENT), records=6, schedules=600)
    assert found.verdict is Verdict.FAILING
    assert found.schedules_to_first_failure == 1
    assert {"missing", "task_left_behind", "crash"} <= set(found.failures)
    assert found.certificate.driver == "javascript"


def test_key_not_found_is_thrown_where_the_parent_was_not_written_yet(tmp_path: Path) -> None:
    found = explore(program(tmp_path, INCIDENT), records=6, schedules=600, prefer=("crash",))
    witness = found.witness
    assert witness is not None
    assert "Key Not Found - UserId: 10001, Vector ID: NaN" in witness.trace.outcome.crashed
    place = next(event.source for event in witness.trace.events if event.kind == "error")
    assert place is not None
    assert (place.lineno, place.text[:15]) == (10, "throw new Error")
    assert place.file == str(tmp_path / "migration.js")


def test_an_undefined_lookup_becomes_the_vector_id_nan(tmp_path: Path) -> None:
    found = explore(program(tmp_path, REFERENCED), records=6, schedules=600, prefer=("mangled_id",))
    witness = found.witness
    assert witness is not None
    assert {"mangled_id", "missing"} <= set(found.failures)
    mangled = [item for item in witness.trace.outcome.damage if item.kind == "mangled_id"]
    assert mangled
    assert mangled[0].target_id == "NaN"
    assert len(witness.records) == 2


def test_the_witness_names_lines_of_the_javascript_file(tmp_path: Path) -> None:
    witness = explore(program(tmp_path, INCIDENT), records=6, schedules=200).witness
    assert witness is not None
    lines = {
        item.label.partition("(")[0]: item.source.lineno for item in witness.trace.operations if item.source
    }
    assert lines["embed"] == 5
    assert {line for label, line in lines.items() if label == "upsert"} <= {13}
    assert all(item.source is not None for item in witness.trace.operations)


def test_a_sequential_loop_is_proved(tmp_path: Path) -> None:
    found = explore(program(tmp_path, SEQUENTIAL), records=4)
    assert found.verdict is Verdict.PROVED
    assert found.certificate.exhaustive
    assert found.certificate.schedules == 1
    assert found.failures == {}


def test_waves_are_proved_at_three_records_and_sampled_at_many(tmp_path: Path) -> None:
    suspect = program(tmp_path, WAVES)
    few = explore(suspect, records=3, schedules=2_000, strategy="exhaustive")
    many = explore(suspect, records=40, schedules=60)
    assert (few.verdict, few.failures) == (Verdict.PROVED, {})
    assert (many.verdict, many.failures) == (Verdict.SAMPLED, {})


def test_batches_of_promise_all_write_children_beside_their_parents(tmp_path: Path) -> None:
    batched = body(
        """
        for (let i = 0; i < users.length; i += 3) {
          await Promise.all(users.slice(i, i + 3).map(async (user) => {
            await vectorDB.insert(user.id, await generateVector(user), user.metadata);
          }));
        }
        """
    )
    found = explore(program(tmp_path, batched), records=6, schedules=300)
    assert set(found.failures) == {"premature"}


def test_a_forgotten_await_loses_what_was_under_way_at_the_return(tmp_path: Path) -> None:
    forgetful = SEQUENTIAL.replace("await vectorDB.insert", "vectorDB.insert")
    found = explore(program(tmp_path, forgetful), records=4, schedules=300)
    assert {"missing", "task_left_behind"} <= set(found.failures)
    assert found.schedules_to_first_failure == 1


def test_promise_race_with_a_time_out_leaves_the_loser_behind(tmp_path: Path) -> None:
    raced = body(
        """
        const timeout = (ms) => new Promise((resolve) => setTimeout(resolve, ms, "late"));
        for (const user of users) {
          const vector = await generateVector(user);
          await Promise.race([vectorDB.insert(user.id, vector, user.metadata), timeout(5000)]);
        }
        """
    )
    suspect = program(tmp_path, raced)
    assert run(suspect, first).outcome.kinds == ()
    late = run(suspect, last)
    assert {"missing", "task_left_behind"} <= set(late.outcome.kinds)
    assert late.world.now >= 5.0


def test_an_error_caught_around_an_await_is_handled(tmp_path: Path) -> None:
    careful = body(
        """
        for (const user of users) {
          for (let attempt = 0; ; attempt++) {
            try {
              await vectorDB.upsert(user.id, await generateVector(user), user.metadata);
              break;
            } catch (error) {
              if (attempt > 2 || ![429, 503].includes(error.status)) throw error;
              await new Promise((resolve) => setTimeout(resolve, (error.retryAfter ?? 1) * 1000));
            }
          }
        }
        """
    )
    found = explore(program(tmp_path, careful), records=3, schedules=400, faults=("error", "rate_limit"))
    assert found.failures == {}
    careless = careful.replace("[429, 503].includes(error.status)", "false").replace(
        "if (attempt > 2 ||", "if (false &&"
    )
    swallowed = careless.replace("await new Promise", "return; await new Promise")
    lost = explore(program(tmp_path, swallowed), records=3, schedules=400, faults=("error",))
    assert "missing" in lost.failures


def test_an_injected_error_that_is_passed_on_is_an_honest_answer(tmp_path: Path) -> None:
    wrapped = body(
        """
        for (const user of users) {
          try {
            await vectorDB.upsert(user.id, await generateVector(user), user.metadata);
          } catch (error) {
            throw new Error(`stopped at ${user.id}`, { cause: error });
          }
        }
        """
    )
    found = explore(program(tmp_path, wrapped), records=3, schedules=200, faults=("error",))
    assert found.failures == {}


def test_a_time_out_that_was_committed_after_all_is_seen_by_a_retry_under_another_id(tmp_path: Path) -> None:
    blind = body(
        """
        for (const user of users) {
          const vector = await generateVector(user);
          try {
            await vectorDB.insert(user.id, vector, user.metadata);
          } catch (error) {
            if (error.code !== "ETIMEDOUT") throw error;
            await vectorDB.insert(`${user.id}-retry`, vector, user.metadata);
          }
        }
        """
    )
    found = explore(program(tmp_path, blind), records=3, schedules=200, faults=("timeout",))
    assert {"duplicate", "mangled_id"} <= set(found.failures)


def test_the_witness_replays_to_the_same_trace(tmp_path: Path) -> None:
    suspect = program(tmp_path, INCIDENT)
    witness = explore(suspect, records=8, schedules=300).witness
    assert witness is not None
    again = explore(suspect, replay=witness.replay).witness
    assert again is not None
    assert again.trace.digest == witness.trace.digest
    assert again.kinds == witness.kinds
    assert witness.leaks == ()


def test_clock_and_dice_do_not_leak_into_a_trace(tmp_path: Path) -> None:
    playful = body(
        """
        for (const user of users) {
          const started = Date.now() + performance.now() + Math.random();
          await vectorDB.insert(user.id, await generateVector(user), { ...user.metadata, started, at: new Date() });
          console.log(user.id, new Date().toISOString());
        }
        """
    )
    suspect = program(tmp_path, playful)
    runs = [run(suspect) for _ in range(2)]
    assert runs[0].session.console == runs[1].session.console
    assert [op.metadata for op in runs[0].schedule] == [op.metadata for op in runs[1].schedule]
    assert runs[0].session.console[0].text == "10001 2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize("form", ["await pause()", "await new Promise((go) => setImmediate(go))"])
def test_a_program_that_polls_is_explored_and_ends(tmp_path: Path, form: str) -> None:
    polling = body(
        f"""
        const pause = () => new Promise((go) => setTimeout(go, 10));
        let open = users.length;
        users.forEach(async (user) => {{
          await vectorDB.insert(user.id, await generateVector(user), user.metadata);
          open -= 1;
        }});
        while (open > 0) {form};
        """
    )
    found = explore(program(tmp_path, polling), records=3, schedules=200)
    assert found.verdict is Verdict.FAILING
    assert set(found.failures) <= {"premature", "deadlock", "missing"}
    assert "premature" in found.failures


def test_a_program_of_both_languages_meets_the_same_world(tmp_path: Path) -> None:
    async def migrate(records, embed, store):  # type: ignore[no-untyped-def]
        for record in records:
            await store.upsert(record.id, await embed(record), dict(record.metadata))

    from vecforensics.race.play import play
    from vecforensics.race.strategies.lab import FirstInFirstOut
    from vecforensics.race.world import Ground

    ground = Ground(generate_records(12))
    python = play(load_suspect(migrate), ground, FirstInFirstOut())
    javascript = play(program(tmp_path, SEQUENTIAL), ground, FirstInFirstOut())
    rows = [{key: slot[:3] for key, slot in each.world.data.items()} for each in (python, javascript)]
    assert rows[0] == rows[1]
