"""What the verification found, as data that displays itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from markupsafe import Markup, escape

from vecforensics.errors import printable
from vecforensics.findings import SEVERITY, Kind, Severity, Verdict, zero_counts

__all__ = ["Tally", "Verification"]

FORMAT: Final = 1
_EXAMPLES: Final = 5

METHOD: Final = (
    "fresh read-only handles, the whole target enumerated by scan",
    "every frozen source record looked up by id: absent, once, more than once",
    "vectors bit for bit, else cosine distance against the case's tolerance; NaN, zero and length looked for first",
    "beyond tolerance: damage, unless the row stands to the last bit as it stood and the diff of this run called it benign",
    "every metadata field that the case names, with its type, by the rule of the diff: null and absent are the same only where "
    "the store drops every null",
    "rows that were written again: what the case does not name against what the ledger saved before the write",
    "every parent looked up in the target; every row without a source record counted",
)
BLIND: Final = (
    "which corruption it is: another record's vector counts as drifted, a mangled id as an orphan and a missing record",
    "whether the embedder itself is right: expected vectors are what collect froze",
    "benign differences of rows that nobody touched are the diff's word: whether it is right about them is not asked again",
    "what rows hold that the case does not name, but for those that were written again; and what somebody else wrote afterwards",
)


@dataclass(frozen=True, slots=True)
class Verification:
    """`checked`: collection → (records whose vector was compared, records in the source). `kinds` and `by_collection` count
    findings; `examples`: collection → kind → first ids. `sources`: inputs that changed since the evidence, or are unknown.
    `beside`: collection → how many rows that were written again were `compared` in what the case does not name, how many
    `changed` there, and in which `columns` or fields."""

    checked: Mapping[str, tuple[int, int]]
    kinds: Mapping[str, int]
    by_collection: Mapping[str, Mapping[str, int]]
    examples: Mapping[str, Mapping[str, Sequence[str]]]
    sources: Mapping[str, str]
    not_seen: tuple[str, ...]
    evidence: str
    damaged: tuple[str, ...] = ()
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Corrupt where anything corrupt was found; clean only where everything was looked at and nothing was."""
        severities = {SEVERITY[Kind(kind)] for kind, count in self.kinds.items() if count}
        if Severity.CORRUPT in severities:
            return Verdict.CORRUPT
        changed = any(state == "changed" for state in self.sources.values())
        complete = all(done == of for done, of in self.checked.values())
        # The case does not say what is right there, and somebody else may have written it since.
        changed |= any(one["changed"] for one in self.beside.values())
        if Severity.UNKNOWN in severities or changed or not complete or self.not_seen or self.damaged:
            return Verdict.UNKNOWN
        return Verdict.CLEAN

    def as_dict(self) -> dict[str, Any]:
        """The content of verification.json; no time in it, so that the same target gives the same bytes."""
        return {
            "format": FORMAT,
            "verdict": self.verdict.value,
            "checked": {name: {"checked": done, "of": of} for name, (done, of) in self.checked.items()},
            "kinds": dict(self.kinds),
            "by_collection": {name: dict(kinds) for name, kinds in self.by_collection.items()},
            "examples": {
                name: {kind: list(ids) for kind, ids in kinds.items()}
                for name, kinds in self.examples.items()
            },
            "sources": dict(self.sources),
            "beside": {name: dict(one) for name, one in self.beside.items()},
            "evidence": self.evidence,
            "evidence_damaged": list(self.damaged),
            "method": list(METHOD),
            "not_seen": [*self.not_seen, *BLIND],
        }

    def lines(self) -> list[str]:
        """The result as lines of text."""
        found = {kind: count for kind, count in self.kinds.items() if count}
        return [
            f"verified by another path: {self.verdict.value}",
            *(f"  {name}: {done:,} of {of:,} vectors compared" for name, (done, of) in self.checked.items()),
            *(f"  {kind}: {count:,}" for kind, count in found.items()),
            *(f"  {name}: {_of_beside(one)}" for name, one in self.beside.items() if one["compared"]),
            *(
                f"  {name} has {state} since the evidence"
                for name, state in self.sources.items()
                if state == "changed"
            ),
            *(f"  not seen: {line}" for line in self.not_seen),
            *(f"  evidence damaged: {line}" for line in self.damaged),
        ]

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in self.lines())

    def _repr_html_(self) -> str:
        return Markup("<pre>{}</pre>").format(escape(str(self)))


def _of_beside(one: Mapping[str, Any]) -> str:
    if not one["changed"]:
        return f"{one['compared']:,} rows written again hold what they held beside what the case names"
    return (
        f"{one['changed']:,} of {one['compared']:,} rows written again hold something else than before in "
        f"{', '.join(one['columns'])}, which the case does not name: changed by somebody since, or lost; a rollback puts it back"
    )


@dataclass
class Tally:
    """Collects what is found while the verification runs."""

    _checked: dict[str, tuple[int, int]] = field(default_factory=dict)
    _counts: dict[str, dict[str, int]] = field(default_factory=dict)
    _examples: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _unseen: list[str] = field(default_factory=list)
    _beside: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, collection: str, kind: Kind, record_id: str) -> None:
        """One finding."""
        counts = self._counts.setdefault(collection, {})
        counts[kind.value] = counts.get(kind.value, 0) + 1
        examples = self._examples.setdefault(collection, {}).setdefault(kind.value, [])
        if len(examples) < _EXAMPLES:
            examples.append(record_id)

    def checked(self, collection: str, compared: int, of: int) -> None:
        """How many records had their vector compared. Missing and doubled ones count: their finding is the comparison."""
        counts = self._counts.get(collection, {})
        settled = sum(counts.get(kind.value, 0) for kind in (Kind.MISSING, Kind.DUPLICATE))
        self._checked[collection] = (compared + settled, of)

    def beside(self, collection: str, compared: int, changed: int, columns: Iterable[str]) -> None:
        """Rows that were written again, compared in what the case does not name."""
        before = self._beside.get(collection, {"compared": 0, "changed": 0, "columns": []})
        self._beside[collection] = {
            "compared": before["compared"] + compared,
            "changed": before["changed"] + changed,
            "columns": sorted({*before["columns"], *columns}),
        }

    def unseen(self, what: str) -> None:
        """Something that could not be looked at."""
        self._unseen.append(what)

    def verification(
        self, *, source_changed: Mapping[str, str], evidence: str, damaged: tuple[str, ...]
    ) -> Verification:
        """The result."""
        kinds = zero_counts()
        for counts in self._counts.values():
            for kind, count in counts.items():
                kinds[kind] += count
        return Verification(
            self._checked,
            kinds,
            {name: self._counts.get(name, {}) for name in self._checked},
            {name: self._examples.get(name, {}) for name in self._checked},
            source_changed,
            tuple(self._unseen),
            evidence,
            damaged,
            self._beside,
        )
