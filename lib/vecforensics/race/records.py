"""Records to try a migration on: few, seeded, and shaped like the ones that really get lost.

About one parent to three children (users and their posts), some parents without any, versions above one where the record was
edited, metadata of every JSON type. Ids are the text that production has: digits that would survive `int()`, some with leading
zeros or above 2^53 that would not, and composed ids for the children. Parents come before their children, as an export of two
tables in order would give them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from vecforensics.errors import SuspectError
from vecforensics.records import Record

__all__ = ["closure", "generate_records", "noun"]

_PLANS = ("free", "team", "agency")
_COUNTRIES = ("DE", "FR", "NG", "US", "BR", "JP")
_TRADES = (
    "bakery",
    "florist",
    "law firm",
    "yoga studio",
    "bike shop",
    "radio station",
    "brewery",
    "bookshop",
)
_TONES = ("warm", "dry", "playful", "formal", "bold", "plain")
_TOPICS = (
    "spring menu",
    "opening hours",
    "a new colleague",
    "our anniversary",
    "behind the scenes",
    "a giveaway",
)


def generate_records(count: int, seed: int = 0, versions: bool = False) -> tuple[Record, ...]:
    """`count` records in the order parents, then their children. The first records do not change when `count` grows: users
    have ids from 10001 on (every 13th with leading zeros, every 17th above 2^53), posts `p-<user>-<k>`.

    `versions`: about every fourth child, the first one included, is preceded by an earlier row of itself (same id, lower
    version, other text), as a source has it that was edited during the export. The row counts as one of the `count`.
    """
    if count < 1:
        raise SuspectError(f"--records {count} leaves nothing to migrate", hint="Ask for at least one record")
    records: list[Record] = []
    number = 0
    while len(records) < count:
        number += 1
        rng = random.Random(f"{seed}/{number}")  # noqa: S311  (a seeded sample, not a secret)
        if number % 17 == 0:
            user_id = str(9007199254740993 + 2 * number)
        elif number % 13 == 0:
            user_id = f"{number:07d}"
        else:
            user_id = str(10000 + number)
        trade, tone = rng.choice(_TRADES), rng.choice(_TONES)
        records.append(
            Record(
                id=user_id,
                text=f"{tone} voice for a {trade}, account {user_id}",
                metadata={
                    "plan": rng.choice(_PLANS),
                    "country": rng.choice(_COUNTRIES),
                    "seats": rng.randint(1, 40),
                },
                version=rng.choice((1, 1, 1, 2, 3)),
                collection="users",
            )
        )
        # 0 to 6 children, three on average; the first user always has one, so that two records already hold a dependency.
        children = 1 + rng.choice((0, 1, 2, 3)) if number == 1 else rng.choice((0, 2, 2, 3, 3, 4, 5))
        for k in range(1, children + 1):
            if len(records) == count:
                break
            post = Record(
                id=f"p-{user_id}-{k}",
                text=f"{rng.choice(_TOPICS)}, post {k} of {user_id}",
                metadata={
                    "likes": rng.randint(0, 900),
                    "pinned": rng.random() < 0.2,
                    "score": rng.randint(0, 99) / 10,
                },
                depends_on=(user_id,),
                version=rng.choice((1, 1, 1, 1, 2)),
                collection="posts",
            )
            if versions and (number + k) % 4 == 2 and len(records) + 1 < count:
                draft = {"likes": 0, "pinned": False, "score": 0.0}
                records.append(replace(post, text=f"draft of {post.text}", metadata=draft))
                post = replace(post, version=post.version + 1)
            records.append(post)
    return tuple(records)


def closure(records: Sequence[Record], wanted: set[str]) -> tuple[Record, ...]:
    """The records named in `wanted` and everything they depend on, in the order of `records`."""
    by_id = {record.id: record for record in records}
    keep: set[str] = set()
    stack = [name for name in wanted if name in by_id]
    while stack:
        name = stack.pop()
        if name not in keep:
            keep.add(name)
            stack.extend(parent for parent in by_id[name].depends_on if parent in by_id)
    return tuple(record for record in records if record.id in keep)


def noun(record: Record) -> str:
    """One of the record's collection: "user" for `users`; "record" where no collection is named."""
    name = record.collection or "records"
    return name[:-1] if name.endswith("s") and len(name) > 1 else name
