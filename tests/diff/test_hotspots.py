"""Each test plays one way in which a migration hurts rows that stand together, and reads the sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hotspot_rows import rows

from vecforensics.diff.hotspots import find_hot_spots, gather, rows_of
from vecforensics.diff.hotspots.lines import lay_out
from vecforensics.diff.hotspots.statistics import log_likelihood_ratio
from vecforensics.findings import Kind

N = 12_000
NUMBERS = np.arange(N)
# Four workers take rows in turn; each counts its batches of 100 on its own, so that a batch number names four batches.
WORKER = NUMBERS % 4
BATCH = NUMBERS // 400
LINES = {"batch": BATCH, "worker": WORKER}


def some(numbers: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    return numbers[np.random.default_rng(seed).random(len(numbers)) < share]


def test_batches_17_to_19_of_worker_3_lost() -> None:
    core = np.flatnonzero((BATCH >= 17) & (BATCH <= 19) & (WORKER == 3))
    stray = np.asarray([5, 1000, 9001, 10_003, 11_111, 300, 2222, 4444, 7770, 8888, 6000, 3001])
    spots = find_hot_spots([rows(N, {Kind.MISSING: np.union1d(core, stray)}, LINES)])
    assert str(spots) == "1. batches 17–19 of worker 3 hold 96 % of the missing rows (2.5 % of all rows)"
    told = spots[0].as_dict()
    assert (told["rows"], told["of"], told["collection"], told["dimension"]) == (
        300,
        300,
        "users",
        "batch × worker",
    )
    assert told["p_value"] < 1e-200


def test_a_place_in_two_collections_has_the_numbers_of_each() -> None:
    users = rows(4000, {Kind.MISSING: np.arange(3900, 4000)}, {"day": np.arange(4000) // 100})
    lost = [*range(100), *range(100, 3000, 29)]
    posts = rows(3000, {Kind.MISSING: lost}, {"day": np.arange(3000) // 100 + 39}, collection="posts")
    spots = find_hot_spots([users, posts])
    told = spots[0].as_dict()
    assert (told["rows"], told["of"], told["collection"]) == (200, 200, None)
    assert told["within"] == {
        "users": {
            "rows": 100,
            "of": 100,
            "found": 100,
            "run": [3900, 3999],
            "sentence": f"{told['where']} holds all 100 missing rows of users (2.5 % of its rows)",
        },
        "posts": {
            "rows": 100,
            "of": 100,
            "found": 200,
            "run": [0, 99],
            "sentence": f"{told['where']} holds 100 of the 200 missing rows of posts (3.3 % of its rows)",
        },
    }


def test_a_place_whose_rows_are_strewn_is_no_run() -> None:
    spots = find_hot_spots([rows(N, {Kind.MISSING: some(NUMBERS[7::10], 0.9)}, LINES)])
    assert [one.run for one in spots[0].within] == [None]


def test_one_worker_dies() -> None:
    spots = find_hot_spots([rows(N, {Kind.ZERO: some(np.flatnonzero(WORKER == 2), 0.5)}, LINES)])
    assert [spot.where for spot in spots] == ["worker 2"]


def test_worker_dies_half_way() -> None:
    """Worker and time together: neither alone explains it."""
    written = [f"2026-11-24T0{n // 3600}:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(N)]
    hurt = np.flatnonzero((WORKER == 1) & (NUMBERS >= 7000))
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt}, {"worker": WORKER, "written_at": written})])
    assert len(spots) == 1
    assert spots[0].hits == spots[0].size == len(hurt)
    assert {part.dimension for part in spots[0].parts} == {"position", "worker"}


def test_every_tenth_row_lost() -> None:
    spots = find_hot_spots([rows(N, {Kind.MISSING: some(NUMBERS[7::10], 0.9)}, LINES)])
    assert [spot.where for spot in spots] == ["every 10th row (from row 8 on)"]


def test_last_rows_of_each_page_lost() -> None:
    spots = find_hot_spots([rows(N, {Kind.MISSING: np.flatnonzero(NUMBERS % 100 >= 96)}, LINES)])
    assert [spot.where for spot in spots] == ["the last 4 of every 100 rows"]


@pytest.mark.parametrize("count", [11_037, 11_003])
def test_only_a_multiple_of_1000_rows_left(count: int) -> None:
    """chroma #2912: what did not fill a page of 1,000 was dropped."""
    spots = find_hot_spots([rows(count, {Kind.MISSING: np.arange(11_000, count)})])
    assert (
        spots[0].where
        == f"the last {count - 11_000} rows (from row 11,001: beyond the first 11,000, a multiple of 1,000)"
    )
    assert spots[0].hits == count - 11_000


def test_hole_in_the_middle_after_resume() -> None:
    """qdrant/migration: ranges drawn anew on resume, so that a stretch is never visited."""
    spots = find_hot_spots([rows(N, {Kind.MISSING: np.arange(4321, 4777)}, LINES)])
    assert spots[0].where == "rows 4,322–4,777"
    assert len(spots) == 1


def test_ids_in_a_range_while_the_source_is_shuffled() -> None:
    place = np.random.default_rng(3).permutation(N)
    spots = find_hot_spots(
        [
            rows(
                N,
                {Kind.STALE: np.flatnonzero((place >= 500) & (place < 900))},
                LINES,
                name=lambda row: f"u{place[row]}",
            )
        ]
    )
    assert [spot.where for spot in spots] == ["ids u500 … u899"]


def test_metadata_decides() -> None:
    plan = np.where(NUMBERS * 7919 % 10 < 3, '"free"', '"pro"')
    country = [f'"c{n * 31 % 17}"' for n in range(N)]
    hurt = some(np.flatnonzero(plan == '"free"'), 0.3)
    fields = {**LINES, "metadata:plan": plan, "metadata:country": country}
    spots = find_hot_spots([rows(N, {Kind.METADATA_DRIFT: hurt}, fields)])
    assert [spot.sentence for spot in spots] == [
        'rows with plan = "free" hold all 1,066 metadata drift rows (30 % of all rows)'
    ]


def test_rows_without_a_field_fail() -> None:
    plan = [None if n % 13 == 5 else '"pro"' if n % 2 else '"free"' for n in range(N)]
    hurt = some(np.flatnonzero(np.asarray([value is None for value in plan])), 0.6)
    spots = find_hot_spots(
        [rows(N, {Kind.NON_FINITE: hurt}, {"metadata:plan": plan, "metadata:n": NUMBERS % 7})]
    )
    assert spots[0].where == "rows with plan = (absent)"
    assert len(spots) == 1


def test_numbers_with_many_values_become_a_range() -> None:
    age = np.random.default_rng(5).permutation(N)
    spots = find_hot_spots(
        [rows(N, {Kind.DRIFTED: np.flatnonzero((age >= 300) & (age < 700))}, {"metadata:age": age})]
    )
    assert [spot.where for spot in spots] == ["rows with age from 300 to 699"]


def test_one_bad_minute() -> None:
    order = np.random.default_rng(9).permutation(N)
    written = [
        f"2026-11-24T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
        for second in order.tolist()
    ]
    hurt = np.flatnonzero((order >= 3600) & (order < 3660))
    spots = find_hot_spots([rows(N, {Kind.ZERO: hurt}, {"written_at": written})])
    assert [spot.where for spot in spots] == [
        "rows written from 2026-11-24T01:00:00Z to 2026-11-24T01:00:59Z"
    ]


def test_a_run_within_a_batch_is_said_as_that_run() -> None:
    spots = find_hot_spots([rows(N, {Kind.ZERO: np.arange(11_003, 11_040)}, LINES)])
    assert [spot.where for spot in spots] == ["rows 11,004–11,040"]


def test_batches_that_only_one_worker_had() -> None:
    """Worker 3 adds nothing to its own batches."""
    worker = BATCH % 4
    spots = find_hot_spots(
        [rows(N, {Kind.ZERO: np.flatnonzero(BATCH == 15)}, {"batch": BATCH, "worker": worker})]
    )
    assert [spot.where for spot in spots] == ["batch 15"]


def test_two_separate_causes_are_two_sentences() -> None:
    hurt = np.concatenate(
        [np.flatnonzero(BATCH == 4), some(np.flatnonzero((WORKER == 0) & (BATCH > 10)), 0.4)]
    )
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt}, LINES)])
    assert sorted(spot.where for spot in spots) == ["batch 4", "batches 11–29 of worker 0"]


def test_the_same_rows_are_said_once() -> None:
    """Batch, position and time name the same rows: the batch is said, the others are other names for it."""
    batch = NUMBERS // 100
    written = [
        f"2026-11-24T00:{n // 100 % 60:02}:00Z" if n < 6000 else f"2026-11-24T01:{n // 100 % 60:02}:00Z"
        for n in range(N)
    ]
    spots = find_hot_spots(
        [rows(N, {Kind.MISSING: np.flatnonzero(batch == 42)}, {"batch": batch, "written_at": written})]
    )
    assert [spot.where for spot in spots] == ["batch 42"]
    assert spots[0].also == ("rows 4,201–4,300",)


def test_one_collection_of_two() -> None:
    hurt = some(np.arange(5000), 0.2)
    spots = find_hot_spots(
        [
            rows(N, {Kind.ZERO: [7, 99]}, LINES),
            rows(5000, {Kind.ZERO: hurt}, {"metadata:topic": NUMBERS[:5000] % 9}, collection="posts"),
        ]
    )
    assert [(spot.where, spot.collection) for spot in spots] == [("collection posts", "posts")]


def test_a_tail_in_each_collection_counts_from_its_own_start() -> None:
    spots = find_hot_spots(
        [
            rows(3042, {Kind.MISSING: np.arange(3000, 3042)}, collection="users"),
            rows(5000, {}, collection="posts"),
        ]
    )
    assert spots[0].where.startswith("the last 42 rows of users (from row 3,001")
    assert spots[0].collection == "users"


def test_no_run_goes_on_from_one_collection_into_another() -> None:
    """That posts stand behind comments is the alphabet's doing; two runs near that border are two runs."""

    def shuffled(number: int) -> str:
        return f"user-{number * 7919 % 3000}"

    spots = find_hot_spots(
        [
            rows(3000, {Kind.SHIFTED: np.arange(2900, 2960)}, collection="comments", name=shuffled),
            rows(3000, {Kind.SHIFTED: np.arange(40, 100)}, collection="posts", name=shuffled),
        ]
    )
    assert {spot.where for spot in spots} == {"rows 2,901–2,960 of comments", "rows 41–100 of posts"}


def test_one_run_in_each_of_three_collections_is_no_period() -> None:
    """By chance they begin at the same place within 250 rows; nothing comes back."""
    spots = find_hot_spots(
        [
            rows(1100, {Kind.SHIFTED: np.arange(start, start + 40)}, collection=name)
            for name, start in (("comments", 173), ("posts", 923), ("users", 423))
        ]
    )
    assert {spot.where for spot in spots} == {
        "rows 174–213 of comments",
        "rows 924–963 of posts",
        "rows 424–463 of users",
    }


def test_a_narrower_place_does_not_go_on_from_one_collection_into_another_either() -> None:
    worker = np.arange(3000) % 4
    hurt = [
        np.flatnonzero((worker == 1) & (np.arange(3000) >= 2800)),
        np.flatnonzero((worker == 1) & (np.arange(3000) < 200)),
    ]
    spots = find_hot_spots(
        [
            rows(3000, {Kind.MISSING: hurt[0]}, {"worker": worker}, collection="comments"),
            rows(3000, {Kind.MISSING: hurt[1]}, {"worker": worker}, collection="posts"),
        ]
    )
    assert [spot.collection for spot in spots] in (["comments", "posts"], ["posts", "comments"])


def test_a_value_that_nearly_all_rows_of_a_place_have_is_not_part_of_its_description() -> None:
    """60 rows of posts, and by chance none of the 2 % of posts that lack the field: nothing is learnt from it."""
    plain = np.where(np.arange(1000) % 50 == 7, '"odd"', '"usual"')
    hurt = np.random.default_rng(4).choice(np.flatnonzero(plain == '"usual"'), 60, replace=False)
    spots = find_hot_spots(
        [
            rows(1000, {}, {"metadata:state": plain}, collection="comments"),
            rows(1000, {Kind.FOREIGN_MODEL: hurt}, {"metadata:state": plain}, collection="posts"),
            rows(1000, {}, {"metadata:state": plain}, collection="users"),
        ]
    )
    assert [spot.where for spot in spots] == ["collection posts"]


@pytest.mark.parametrize("kind", [Kind.DANGLING, Kind.PREMATURE])
def test_only_rows_with_a_parent_can_dangle_so_that_their_collection_is_no_place(kind: Kind) -> None:
    """A fifth of the comments that name a post, at random: neither the collection nor having a parent is news."""
    parent = [None if n % 4 == 0 else f"p{n * 7919 % 1500}" for n in range(3000)]
    hurt = some(np.flatnonzero(NUMBERS[:3000] % 4 > 0), 0.2)
    odd = NUMBERS[:3000] % 4
    spots = find_hot_spots(
        [
            rows(3000, {kind: hurt}, {"parent:posts": parent, "metadata:odd": odd}, collection="comments"),
            rows(3000, {}, {"metadata:odd": odd}, collection="posts"),
        ]
    )
    assert [spot.where for spot in spots] == []


@pytest.mark.parametrize(
    ("first", "last", "where"),
    [(4, 5, "rows with parents 4–5 in users"), (4, 4, "rows with parent 4 in users")],
)
def test_children_of_neighbouring_parents_are_named_with_their_parents_collection(
    first: int, last: int, where: str
) -> None:
    parent = NUMBERS * 7919 % 60
    hurt = np.flatnonzero((parent >= first) & (parent <= last))
    spots = find_hot_spots([rows(N, {Kind.DRIFTED: hurt}, {"parent:users": parent})])
    assert [spot.where for spot in spots] == [where]


@pytest.mark.parametrize("line", ["shard", "batch", "worker", "namespace"])
def test_several_hold_and_one_holds_whatever_they_are_called(line: str) -> None:
    number = NUMBERS * 7919 % N // 400
    two = find_hot_spots(
        [rows(N, {Kind.ZERO: np.flatnonzero((number == 7) | (number == 8))}, {line: number})]
    )
    one = find_hot_spots([rows(N, {Kind.ZERO: np.flatnonzero(number == 7)}, {line: number})])
    shown = {"batch": "batches"}.get(line, f"{line}s")
    assert str(two[0]) == f"{shown} 7–8 hold all 800 zero rows (6.7 % of all rows)"
    assert str(one[0]) == f"{line} 7 holds all 400 zero rows (3.3 % of all rows)"


def test_shards_of_many_numbers_are_rows_with_a_range_of_them() -> None:
    shard = NUMBERS * 7919 % N
    spots = find_hot_spots([rows(N, {Kind.ZERO: np.flatnonzero(shard < 400)}, {"shard": shard})])
    assert str(spots[0]) == "rows with shard from 0 to 399 hold all 400 zero rows (3.3 % of all rows)"


def test_what_is_left_out_of_a_description_costs_nothing() -> None:
    """As in the test of a value that nearly all rows have: what is said is one collection of three, and that costs log 3."""
    plain = np.where(np.arange(1000) % 50 == 7, '"odd"', '"usual"')
    hurt = np.random.default_rng(4).choice(np.flatnonzero(plain == '"usual"'), 60, replace=False)
    spots = find_hot_spots(
        [
            rows(1000, {}, {"metadata:state": plain}, collection="comments"),
            rows(1000, {Kind.FOREIGN_MODEL: hurt}, {"metadata:state": plain}, collection="posts"),
            rows(1000, {}, {"metadata:state": plain}, collection="users"),
        ]
    )
    assert spots[0].where == "collection posts"
    assert spots[0].score == pytest.approx(float(log_likelihood_ratio(60, 1000, 60, 3000)) - np.log(3))


def test_unknown_batches_prove_nothing() -> None:
    """What was never written has no batch in the log: that the batch is unknown is no place."""
    hurt = np.random.default_rng(1).choice(N, 600, replace=False)
    batch: list[int | None] = BATCH.tolist()
    for row in hurt.tolist():
        batch[row] = None
    assert len(find_hot_spots([rows(N, {Kind.MISSING: hurt}, {"batch": batch, "worker": WORKER})])) == 0


def test_nearly_unique_fields_are_left_out_by_name() -> None:
    names = [f'"name {n}"' for n in range(N)]
    spots = find_hot_spots(
        [rows(N, {Kind.MISSING: np.flatnonzero(BATCH == 3)}, {**LINES, "metadata:name": names})]
    )
    assert spots[0].where == "batch 3"
    assert spots.skipped == ("metadata:name, which has 12,000 values in 12,000 rows",)


@pytest.mark.parametrize("hurt", [[], [5], [5, 6], NUMBERS], ids=["none", "one", "two", "all"])
def test_too_little_or_all_damaged_is_no_place(hurt: list[int]) -> None:
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt}, LINES)])
    assert len(spots) == 0
    assert str(spots).startswith("No place stands out")


def test_no_rows_at_all() -> None:
    assert len(find_hot_spots([])) == 0
    assert len(find_hot_spots([rows(0, {})])) == 0


def test_benign_kinds_are_not_looked_at() -> None:
    assert len(find_hot_spots([rows(N, {Kind.NORMALISED: np.flatnonzero(WORKER == 1)}, LINES)])) == 0


def test_small_effects_are_not_worth_a_sentence() -> None:
    """30 % more in one worker is significant among so many rows, but it points to no cause."""
    rng = np.random.default_rng(2)
    hurt = np.flatnonzero(rng.random(N) < np.where(WORKER == 1, 0.39, 0.3))
    assert len(find_hot_spots([rows(N, {Kind.DRIFTED: hurt}, LINES)])) == 0


def test_strangers_values_are_made_harmless() -> None:
    worker = np.where(NUMBERS % 5 == 2, "<img src=x>\x1b[31m\u202e", "ok")
    spots = find_hot_spots(
        [rows(N, {Kind.MISSING: some(np.flatnonzero(NUMBERS % 5 == 2), 0.7)}, {"worker": worker})]
    )
    assert "\\x1b[31m\\u202e" in str(spots)
    assert "\x1b" not in spots._repr_html_()
    assert "<img" not in spots._repr_html_()
    assert "&lt;img" in spots[0]._repr_html_()


def test_same_input_same_answer_and_the_claim_can_be_counted_again() -> None:
    hurt = np.union1d(np.flatnonzero((BATCH == 8) & (WORKER < 2)), some(NUMBERS, 0.01))
    source = rows(N, {Kind.MISSING: hurt, Kind.ZERO: some(NUMBERS[3::16], 0.8)}, LINES)
    first, again = find_hot_spots([source]), find_hot_spots([source])
    assert first.as_dict() == again.as_dict()
    population = lay_out([source])
    for spot in first:
        mask = rows_of(spot, population)
        assert mask.sum() == spot.size
        assert (
            mask[np.flatnonzero(source.kinds & np.uint32(1 if spot.kind == "missing" else 1 << 8))].sum()
            == spot.hits
        )


def test_the_order_of_the_damage_does_not_matter() -> None:
    population = lay_out([rows(N, {}, LINES)])
    hurt = np.flatnonzero(BATCH == 8)
    shuffled = np.random.default_rng(0).permutation(np.concatenate([hurt, hurt]))
    assert (
        gather(population, {"missing": shuffled}).as_dict() == gather(population, {"missing": hurt}).as_dict()
    )


def test_two_faint_lines_that_meet_in_a_dark_spot() -> None:
    """Amid 8 % random loss neither the worker nor the stretch stands out twofold; where they meet everything is lost."""
    hurt = np.union1d(
        some(NUMBERS, 0.08), np.flatnonzero((WORKER == 3) & (NUMBERS >= 6000) & (NUMBERS < 6800))
    )
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt}, {"worker": WORKER, "metadata:plan": NUMBERS % 7})])
    assert len(spots) == 1
    assert {part.dimension for part in spots[0].parts} == {"position", "worker"}
    assert spots[0].rate > 0.95
