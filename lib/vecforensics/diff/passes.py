"""The passes over the evidence of a run, up to one `Part` a collection.

The buckets are compared, what differs is explained, what one collection owes another is added; the lines along which damage may
gather are laid out meanwhile. What becomes of the parts is said in `diff.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.case import Case
from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.bucket import BucketResult, BucketTask
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.dependencies import find_dangling, find_premature
from vecforensics.diff.dimensions import looked_at, row_dimensions, source_order, with_findings
from vecforensics.diff.execute import compare_all
from vecforensics.diff.explain.elsewhere import Other, likeliest, say_where_missing_stand
from vecforensics.diff.explain.resolve import resolve_collection
from vecforensics.diff.explain.whole_rows import join_whole_rows
from vecforensics.diff.explain.whose_metadata import whose_metadata
from vecforensics.diff.hotspots.lines import Population, lay_out
from vecforensics.diff.hotspots.strays import TargetRows
from vecforensics.diff.resolved import Resolved, running
from vecforensics.diff.rows import RowDimensions
from vecforensics.diff.settling.settle import Settling, frozen_moment
from vecforensics.diff.shared import publish
from vecforensics.diff.sides import Index, Sides
from vecforensics.diff.store_habits import find_grid, find_noise
from vecforensics.diff.writing.writes import Writes, place_writes
from vecforensics.evidence import Evidence
from vecforensics.findings import Kind
from vecforensics.memory import give_back
from vecforensics.metadata_rule import MetadataRule
from vecforensics.progress import progress
from vecforensics.stores import VectorReader, open_reader

__all__ = ["Part", "Passed", "Work"]

# Of more than so many strays most are records under another id (all of them, where a prefix was lost), and no orphans: it is
# waited for.
MANY_STRAYS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """Everything a diff is given, and the passes over it."""

    case: Case
    evidence: Evidence
    workers: int
    cluster: str | None = None
    shared: str | None = None
    refetch: Mapping[str, VectorReader] | None = None
    seed: int = 0
    memory_mb: int = 256
    impact: bool = True

    @property
    def names(self) -> list[str]:
        return sorted(self.evidence.collections)

    def sides(self, name: str) -> Sides:
        """Both sides of a collection by running row numbers."""
        return Sides.of(self.evidence, name, self.workers)

    def passed(self, contents: Mapping[str, Index] | None = None) -> Passed:
        """Compare and explain every collection. `contents`: the records whose contents are read (of other collections: all)."""
        results = self._compared(contents)
        sides = {name: self.sides(name) for name in self.names}
        writes = place_writes(self.evidence.path, sides)
        strays = {name: _strays(one, results[name]) for name, one in sides.items()}
        # Where something differs the hot spots will ask for all records along all lines, and where a few rows are astray for all
        # rows of the target. Arrow lays them out meanwhile.
        differs = any(result.differs for some in results.values() for result in some)
        with ThreadPoolExecutor(1, thread_name_prefix="layout") as ahead:
            layout = ahead.submit(Layout.of, sides, writes) if differs else None
            few = {name: some for name, some in strays.items() if len(some) <= MANY_STRAYS}
            targets = ahead.submit(_target_rows, self.evidence, sides, few)
            grids = {name: find_grid(one, results[name]) for name, one in sides.items()}
            known = {name: grid for name, grid in grids.items() if grid is not None}
            sides = {name: replace(one, noise=find_noise(one, results[name])) for name, one in sides.items()}
            if known:
                # Compared once more, now that it is known what the store makes of a vector.
                results |= self._compared(contents, known)
                sides = sides | {name: replace(sides[name], grid=grid) for name, grid in known.items()}
            resolved = self._resolved(sides, results, writes, strays)
        give_back()
        parts = [Part(name, sides[name], resolved[name], writes[name]) for name in self.names]
        return Passed(
            self.evidence, parts, contents or {}, targets.result(), layout.result() if layout else None
        )

    def _resolved(
        self,
        sides: Mapping[str, Sides],
        results: Mapping[str, list[BucketResult]],
        writes: Mapping[str, Writes],
        strays: Mapping[str, Index],
    ) -> dict[str, Resolved]:
        resolved, settling = {}, {}
        own = cache(partial(place_writes, self.evidence.path, sides, strays))
        others = [
            Other(
                sides[name],
                running(sides[name].source, [(one.bucket, one.missing) for one in results[name]]),
            )
            for name in self.names
        ]
        for name in self.names:
            settling[name] = look = self._settling(name, sides[name], writes[name], own)
            look.records(results[name])
            resolved[name] = resolve_collection(
                sides[name],
                results[name],
                self.case.tolerance.cosine,
                likeliest(sides[name], (other for other in others if other.name != name)),
            )
            look.strays(resolved[name], results[name])
        for name in self.names:
            _add_drift(sides[name], results[name], resolved[name].found)
            join_whole_rows(sides[name], resolved[name])
            settling[name].conclude(resolved[name])
            find_dangling(name, sides, results[name], resolved, resolved[name].found)
            find_premature(name, sides, writes, resolved, resolved[name].found)
        say_where_missing_stand(sides, resolved)
        return resolved

    def _compared(
        self, contents: Mapping[str, Index] | None, grids: Mapping[str, Grid] | None = None
    ) -> dict[str, list[BucketResult]]:
        """What differs in all collections, or in those of which the grid is known."""
        names = self.names if grids is None else sorted(grids)
        tasks = []
        for name in names:
            frozen = self.evidence.collections[name]
            rule = MetadataRule.of(frozen.facts)
            sampled = contents is not None and name in contents
            chosen = _by_bucket(self.evidence, name, contents[name]) if contents and sampled else {}
            tasks += [
                BucketTask(
                    str(self.evidence.path.resolve()),
                    name,
                    bucket,
                    self.case.tolerance.cosine,
                    rule,
                    chosen.get(bucket, np.empty(0, np.int32)) if sampled else None,
                    grids[name] if grids else None,
                )
                for bucket in range(frozen.buckets)
            ]
        shared = publish(self.evidence, self.shared) if self.shared is not None else None
        with progress("comparing", len(tasks)) as advance:
            results = compare_all(
                tasks,
                self.evidence,
                workers=self.workers,
                cluster=self.cluster,
                shared=shared,
                advance=advance,
            )
        give_back()
        grouped: dict[str, list[BucketResult]] = {name: [] for name in names}
        for task, result in zip(tasks, results, strict=True):
            grouped[task.collection].append(result)
        return grouped

    def _settling(
        self, name: str, sides: Sides, writes: Writes, own: Callable[[], Mapping[str, Writes]]
    ) -> Settling:
        target = self.case.collections[name].target
        refetch = self.refetch

        def reader() -> VectorReader | None:
            return refetch.get(name) if refetch is not None else open_reader(target, self.case.folder)

        return Settling(
            sides,
            writes,
            lambda: own()[name],
            reader,
            target.collection,
            settle_s=self.case.settle_s,
            frozen_at=frozen_moment(self.evidence.facts),
            tolerance=self.case.tolerance.cosine,
        )


def _by_bucket(evidence: Evidence, name: str, rows: Index) -> dict[int, npt.NDArray[np.int32]]:
    counts = [
        evidence.table(name, "source", bucket).num_rows
        for bucket in range(evidence.collections[name].buckets)
    ]
    offsets = np.r_[0, np.cumsum(counts)]
    return {
        bucket: (rows[(rows >= offsets[bucket]) & (rows < offsets[bucket + 1])] - offsets[bucket]).astype(
            np.int32
        )
        for bucket in range(len(counts))
    }


@dataclass(frozen=True, slots=True)
class Part:
    """One collection on its way through the stages."""

    name: str
    sides: Sides
    resolved: Resolved
    writes: Writes

    @property
    def found(self) -> FoundRows:
        return self.resolved.found


@dataclass(frozen=True, slots=True)
class Layout:
    """All records along everything that damage may follow, before it is known which are damaged. `orders`: running source rows
    of each collection in the order of its source."""

    orders: Mapping[str, Index]
    rows: Sequence[RowDimensions]
    population: Population

    @classmethod
    def of(cls, sides: Mapping[str, Sides], writes: Mapping[str, Writes]) -> Layout:
        orders = {name: source_order(one) for name, one in sides.items()}
        rows = [row_dimensions(name, one, writes[name], orders[name]) for name, one in sides.items()]
        layout = cls(orders, rows, lay_out(rows))
        # Ranking the ids took several times what is left of it.
        give_back()
        return layout


@dataclass
class Passed:
    """What the passes over all collections came to. `contents`: by collection, the records whose contents were read, where they
    were not all."""

    evidence: Evidence
    parts: Sequence[Part]
    contents: Mapping[str, Index]
    _targets: Mapping[str, TargetRows]
    _layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            self._layout = Layout.of(
                {part.name: part.sides for part in self.parts},
                {part.name: part.writes for part in self.parts},
            )
        return self._layout

    def target_rows(self) -> dict[str, TargetRows]:
        """The rows of each target that has orphans, along everything that these may follow."""
        orphans = {part.name: part.resolved.orphans for part in self.parts if len(part.resolved.orphans)}
        late = {name: some for name, some in orphans.items() if name not in self._targets}
        ahead = {name: self._targets[name] for name in orphans.keys() - late.keys()}
        return ahead | _target_rows(self.evidence, {part.name: part.sides for part in self.parts}, late)

    def dimensions(self) -> list[RowDimensions]:
        """The records of all collections with what was found of them, each in the order of its source."""
        return [
            with_findings(
                rows,
                part.found.columns(),
                self.layout.orders[part.name],
                looked_at(
                    part.sides, self.contents.get(part.name), np.array(list(part.resolved.mangled), np.int64)
                ),
            )
            for rows, part in zip(self.layout.rows, self.parts, strict=True)
        ]


def _target_rows(
    evidence: Evidence, sides: Mapping[str, Sides], strays: Mapping[str, Index]
) -> dict[str, TargetRows]:
    """The rows of those targets that have any of `strays`."""
    astray = {name: some for name, some in strays.items() if len(some)}
    if not astray:
        return {}
    none = np.empty(0, np.int64)
    writes = place_writes(evidence.path, sides, {name: astray.get(name, none) for name in sides})
    return {
        name: TargetRows.of(name, sides[name], some, writes[name].fields) for name, some in astray.items()
    }


def _strays(sides: Sides, results: Sequence[BucketResult]) -> Index:
    """The running rows of the target that stand under no record's id."""
    return running(sides.target, [(result.bucket, result.orphans) for result in results])


def _add_drift(sides: Sides, results: list[BucketResult], found: FoundRows) -> None:
    owners = whose_metadata(sides, results)
    for result in results:
        first = int(sides.source.offsets[result.bucket])
        for row, fields in result.drift.items():
            partner, said = owners.get(first + row, (-1, {}))
            detail = {"fields": fields, **said}
            found.add(Kind.METADATA_DRIFT, source=first + row, partner=partner, detail=detail)
