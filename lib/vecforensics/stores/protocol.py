"""What a vector store must be able to do for an investigation, and what only a repair may ask of it.

A reader and a writer are separate types. Collect, diff and reproduce are handed a `VectorReader`, which has no method that
changes anything: the write blocker of this kind of forensics. Only `migrate --apply` opens a `VectorWriter`.

Every adapter speaks the target batch of `records.target_schema`: `id`, `vector` (fixed-size list), `ragged` (where the length
is not the collection's), `metadata` (canonical JSON).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vecforensics.errors import TargetError

__all__ = ["Ack", "CollectionInfo", "Columns", "Freshness", "VectorReader", "VectorWriter"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The names that a store with columns uses for what we call id, vector and metadata.

    `section`: where the case file says so, `target` or `expected`, for whoever has to mend it.
    """

    id: str = "id"
    vector: str = "vector"
    metadata: str = "metadata"
    section: str = "target"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a store says about a collection. `dimension` is 0 and `rows` None where it does not say. `without_id`: the rows whose
    id is null, where a store can hold such."""

    name: str
    rows: int | None
    dimension: int
    snapshot: str = ""
    without_id: int = 0


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether everything acknowledged is visible now, and how the store lets us know. `unseen`: how many rows more than were read
    it counts itself."""

    settled: bool
    note: str
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """The store's word that a write is durable. `token` is the store's own position, where it has one."""

    rows: int
    token: str = ""


class VectorReader(ABC):
    """Reads one store. Errors are TargetError, with the store's URI as the place."""

    uri: str

    @abstractmethod
    def collections(self) -> list[str]:
        """The names at hand, sorted."""

    @abstractmethod
    def describe(self, collection: str) -> CollectionInfo:
        """Rows, dimension and snapshot of one collection. Raises TargetNotThere where there is none of that name."""

    @abstractmethod
    def scan(self, collection: str, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every row of one snapshot, as target batches of at most `batch_rows` rows. A row without an id comes under `NO_ID`."""

    @abstractmethod
    def fetch(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows that stand under `ids` (absent ids are left out, a duplicate comes as often as it stands, a row without an id
        under none)."""

    def preimage(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids` in the store's own columns. A duplicate comes as often as it stands."""
        return self.fetch(collection, ids)

    @abstractmethod
    def freshness(self, collection: str) -> Freshness:
        """Whether what was scanned last may lag behind an acknowledged write; to be asked after a scan."""

    @abstractmethod
    def write_blocked(self) -> str:
        """Prove that this handle cannot write, as far as the store lets one, and say how in one sentence."""


class VectorWriter(VectorReader):
    """A reader that may also change the store. Every write returns only when the store calls it durable."""

    @abstractmethod
    def create(self, collection: str, dimension: int) -> None:
        """Make an empty collection where there is none of that name."""

    @abstractmethod
    def upsert(self, collection: str, batch: pa.Table, kept: pa.Table | None = None) -> Ack:
        """Insert or replace rows by id; the ids in `batch` are unique. Columns: `id`, `vector`, `metadata`.

        `kept`: row for row what shall stand beside that, in the store's own columns (`keeping.unnamed`), null where nothing is.
        Without it nothing of a row that is replaced stays.
        """

    @abstractmethod
    def delete(self, collection: str, ids: Sequence[str]) -> Ack:
        """Remove all rows that stand under `ids`; an absent id is no error."""

    def refuses(self, collection: str, batch: pa.Table) -> str:
        """Why no row like those of `batch` can be written, as far as that shows without writing; "" where it may be."""
        return ""

    def optimize(self, collection: str) -> None:
        """Tidy up what many small writes left behind; nothing to do where a store does so itself."""

    def restore(self, collection: str, ids: Sequence[str], rows: pa.Table) -> Ack:
        """Make what stands under `ids` exactly `rows` (from `preimage`): ids without a row there are removed.

        As it stands here for a store in which an id is unique and a vector has the collection's length; others override it.
        """
        kept = rows.column("id").to_pylist()
        if len(set(kept)) < len(kept) or rows.column("ragged").null_count < rows.num_rows:
            raise TargetError(
                "rows with one id, or of another length, cannot be put back",
                where=self.uri,
                hint="This store does not hold such rows",
            )
        gone = sorted(set(ids) - set(kept))
        ack = self.delete(collection, gone) if gone else Ack(0)
        return self.upsert(collection, rows) if kept else ack
