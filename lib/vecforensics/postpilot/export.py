"""PostPilot's export: accounts and their posts, invented from a seed.

People sign up one after the other. Linking an account imports its latest posts at once, later posts come as they are written.
Both are exported in the order of creation, so an imported post stands right behind its account: that is what a migration with
many records in flight stumbles over. No text occurs twice, since two equal texts would rightly have equal vectors.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["Export", "make_export"]

_START: Final = datetime(2025, 3, 1, 8, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Export:
    """`users` and `posts` as JSON objects, each in the order of creation."""

    users: tuple[dict[str, Any], ...]
    posts: tuple[dict[str, Any], ...]


def make_export(users: int, posts: int, seed: int, *, imported: float) -> Export:
    """An export of `users` accounts and `posts` posts. `imported`: the share of posts that come in when the account is linked."""
    words = yaml.safe_load((Path(__file__).parent / "vocabulary.yaml").read_text(encoding="utf-8"))
    rng = random.Random(seed)  # noqa: S311  (invented data, not a secret)
    accounts = []
    moment = _START
    for number in range(users):
        moment += timedelta(seconds=rng.expovariate(1 / 900))
        accounts.append((moment, _account(rng, words, 10_001 + number, moment)))
    end = moment
    entries = []
    said: set[tuple[str, ...]] = set()
    counts: dict[str, int] = {}
    for _ in range(posts):
        joined, account = accounts[rng.randrange(users)]
        if rng.random() < imported:
            when = joined + timedelta(seconds=rng.uniform(1, 60))
        else:
            when = joined + rng.random() * (end - joined)
        owner = account["user_id"]
        counts[owner] = counts.get(owner, 0) + 1
        entries.append((when, _post(rng, words, owner, counts[owner], when, account["topics"], said)))
    entries.sort(key=lambda entry: (entry[0], entry[1]["post_id"]))
    return Export(
        tuple({key: value for key, value in one.items() if key != "topics"} for _, one in accounts),
        tuple(one for _, one in entries),
    )


def _account(rng: random.Random, words: dict[str, Any], number: int, joined: datetime) -> dict[str, Any]:
    topics = rng.sample(sorted(words["topics"]), 2)
    likes = " and ".join(topics)
    name = f"{rng.choice(words['first_names'])} {rng.choice(words['last_names'])}"
    habit, friend = rng.choice(("Writes", "Posts", "Talks", "Thinks aloud")), rng.choice(words["last_names"])
    return {
        "user_id": str(number),
        "name": name,
        "bio": f"{habit} about {likes}. Account {number}, {friend} & friends.",
        "plan": rng.choice(words["plans"]),
        "country": rng.choice(words["countries"]),
        "created_at": _stamp(joined),
        "topics": topics,
    }


def _post(
    rng: random.Random,
    words: dict[str, Any],
    owner: str,
    count: int,
    when: datetime,
    topics: list[str],
    said: set[tuple[str, ...]],
) -> dict[str, Any]:
    topic = rng.choice(topics)
    while True:
        sentences = []
        for _ in range(rng.randint(2, 3)):
            subject, verb, rest = (
                rng.choice(words["topics"][topic][part]) for part in ("subjects", "verbs", "rests")
            )
            sentences.append(f"{subject[0].upper()}{subject[1:]} {verb} {rest}.")
        body = " ".join([*sentences, rng.choice(words["endings"]).format(n=rng.randint(2, 40))])
        # The same sentences in another order would give n-gram counts that are all but equal.
        bag = tuple(sorted(body.split(". ")))
        if bag not in said:
            said.add(bag)
            return {
                "post_id": f"{owner}-{count:03d}",
                "user_id": owner,
                "body": body,
                "topic": topic,
                "created_at": _stamp(when),
            }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
