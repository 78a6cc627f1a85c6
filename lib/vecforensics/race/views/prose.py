"""What happened, in four sentences that a manager can follow, each pointing at the lines of the person's own file.

    trigger      the two events that came in the wrong order, or the fault
    mechanism    why they could: what the code starts, and what does not wait for it
    unnoticed    why no test saw it: whether the same records pass when answers come in the order of the questions
    consequence  what is wrong now, record by record, in the kinds of `findings.Kind`

Nothing here is a canned text about a pattern. A clause is said only where the trace bears it out: who works for whom is read off
the operations of the tasks, "had not been started" off the events, "passes" off the passing run and the order of its
completions. "Nothing in the code makes A wait for B" needs no analysis of the code: the trace is a run in which A did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vecforensics.errors import SuspectError
from vecforensics.race.exchange import parse_replay
from vecforensics.race.model import (
    Exploration,
    Source,
    Verdict,
    Witness,
)
from vecforensics.race.views.facts import Sentence
from vecforensics.race.views.tale import Tale
from vecforensics.race.views.words import clip, listed, place_text

__all__ = ["Prose", "Sentence", "explain", "explain_verdict"]


@dataclass(frozen=True, slots=True)
class Prose:
    """The four sentences. `headline` is the trigger without its place."""

    headline: str
    sentences: tuple[Sentence, ...]

    def plain(self) -> str:
        """One paragraph, with places as "file:line" in brackets."""
        return " ".join(
            f"{item.text[:-1]} ({listed([place_text(place) for place in item.places], 4)})."
            if item.places
            else item.text
            for item in self.sentences
        )

    def markdown(self) -> str:
        """Paragraphs with the source lines under each, fenced as code."""
        blocks = []
        for item in self.sentences:
            lines = [f"    {place_text(place)}  {clip(place.text, 110)}" for place in item.places]
            blocks.append("\n\n".join([_escape_markdown(item.text), *(["\n".join(lines)] if lines else [])]))
        return "\n\n".join(blocks) + "\n"

    @property
    def places(self) -> tuple[Source, ...]:
        return tuple(dict.fromkeys(place for item in self.sentences for place in item.places))


def _escape_markdown(text: str) -> str:
    return "".join(f"\\{ch}" if ch in "\\`*_[]<>|#&!" else ch for ch in text)


def explain(witness: Witness) -> Prose:
    """The prose of one witness."""
    tale = Tale(witness)
    trigger = tale.trigger()
    told = (trigger, tale.mechanism(), tale.unnoticed(), tale.consequence())
    return Prose(trigger.text, tuple(_each_place_once(told)))


def _each_place_once(told: Iterable[Sentence]) -> Iterator[Sentence]:
    """The sentences, each with those of its places that no earlier one has shown: the same lines twice tell nothing."""
    shown: set[Source] = set()
    for item in told:
        yield replace(item, places=tuple(place for place in item.places if place not in shown))
        shown.update(item.places)


def _were_generated(exploration: Exploration) -> bool:
    """Whether the records are known to have been made by the laboratory; only a witness says where they came from."""
    if exploration.witness is None:
        return False
    try:
        return parse_replay(exploration.witness.replay).generated is not None
    except SuspectError:
        return False


def explain_verdict(exploration: Exploration) -> str:
    """One sentence for the three values of a verdict, with the size at which it holds."""
    certificate = exploration.certificate
    made = "generated " if _were_generated(exploration) else ""
    size = f"{certificate.records} {made}record{'s' if certificate.records != 1 else ''}"
    tried = f"{certificate.schedules:,} schedule{'s' if certificate.schedules != 1 else ''}"
    match exploration.verdict:
        case Verdict.FAILING:
            first = exploration.schedules_to_first_failure
            found = f"; the first failing one was schedule {first:,}" if first is not None else ""
            were = "was" if certificate.schedules == 1 else "were"
            return f"There are orders of events in which this migration goes wrong: {tried} of {size} {were} tried{found}."
        case Verdict.PROVED:
            # The passes that only sampled came on top; what stands for all orders are those that were exhausted.
            whole = (
                sum(item.schedules for item in certificate.passes if item.exhaustive) or certificate.schedules
            )
            stand = "1 schedule stands" if whole == 1 else f"{whole:,} schedules stand"
            return f"No failing order exists with these {size}: {stand} for all of them."
        case Verdict.SAMPLED:
            return f"No failing order was found in {tried} of {size}; that is a sample, not a proof."
