"""Expected vectors for a sample of the records, where embedding all of them again would cost too much.

Both sides are frozen without them first, since ids and what the target holds cost nothing to read. Then somebody draws the
records whose contents are to be looked at (`diff.choose_contents` does, by what the ids show), only their texts and those of
their earlier versions are embedded, and the source's files are written once more with these vectors in them; all others are null.
Who was drawn, and out of which stratum, is frozen beside them: an estimate is only as good as the draw that it rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import as_numpy, fixed_vectors, numbers, whole
from vecforensics.collect.bucket_files import BucketFile
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.collect.row_hashes import row_lanes
from vecforensics.embedding import Embedder
from vecforensics.evidence import (
    FORMAT,
    INDEX,
    SAMPLE,
    Evidence,
    FrozenCollection,
    bucket_file,
    directory_name,
)
from vecforensics.run_folder import write_json

__all__ = ["Chooser", "Chosen", "SampledEvidenceWriter"]

# Texts in one call of the embedder.
_AT_ONCE: Final = 1024


class Chosen(Protocol):
    """A draw of records: `rows` by collection (running source rows, int64), and itself as a file to freeze."""

    @property
    def rows(self) -> Mapping[str, npt.NDArray[np.int64]]: ...

    def frozen(self) -> bytes:
        """The draw as a file, `sample.arrow`."""


Chooser = Callable[[Evidence], Chosen]


@dataclass(frozen=True, slots=True)
class _Open:
    """A collection whose expected vectors are still to come."""

    embedder: Embedder
    dimension: int


class SampledEvidenceWriter(EvidenceWriter):
    """An `EvidenceWriter` that embeds some records of some collections once both sides are written."""

    def __init__(self, folder: str | Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self._waiting: dict[str, _Open] = {}

    def wait_for(self, collection: str, embedder: Embedder) -> None:
        """Say before its source is written that the vectors of `collection` come later. Embeds one text, to learn the length."""
        dimension = int(np.asarray(embedder.embed(["a text to measure"])).shape[1])
        self._collection(collection).dimension = dimension
        self._waiting[collection] = _Open(embedder, dimension)

    def embed_chosen(self, choose: Chooser) -> None:
        """Let `choose` draw from what is written so far, embed what it drew, and freeze the draw as `sample.arrow`.

        Raises CaseError where an embedder fails, or gives another length than at first.
        """
        chosen = choose(self._provisional())
        (self._place / INDEX).unlink()
        for name, one in self._waiting.items():
            self._embed(name, one, chosen.rows.get(name, np.empty(0, np.int64)))
        self.attach(SAMPLE, chosen.frozen())

    def _provisional(self) -> Evidence:
        """What is written so far, as evidence that can be read; its digests are not known yet."""
        collections = {}
        for name, grown in self._growing.items():
            sides = grown.sides
            collections[name] = FrozenCollection(
                name=name,
                directory=directory_name(name),
                dimension=grown.dimension,
                buckets=grown.buckets,
                rows={
                    side: sides[side].rows if side in sides else 0 for side in ("source", "target", "earlier")
                },
                parents=grown.parents,
                metadata=grown.metadata,
                expected=grown.expected,
                digests={},
                facts=grown.facts,
            ).as_dict()
        files = {str(path.relative_to(self._place)): "" for path in self._place.rglob("*") if path.is_file()}
        facts = {"frozen_at": "1970-01-01T00:00:00Z"}
        index = {"format": FORMAT, "collections": collections, "files": files, "facts": facts}
        write_json(self._place / INDEX, index)
        return Evidence.open(self._place)

    def _embed(self, name: str, one: _Open, rows: npt.NDArray[np.int64]) -> None:
        """Write the source's files of a collection again, with the vectors of `rows` (running numbers, ascending) in them."""
        grown = self._growing[name]
        first = 0
        for bucket in range(grown.buckets):
            path = grown.directory / bucket_file("source", bucket)
            with pa.memory_map(str(path)) as mapped:
                hashes = as_numpy(whole(pa.ipc.open_file(mapped).read_all()["id_hash"]))
            inside = rows[(rows >= first) & (rows < first + len(hashes))] - first
            first += len(hashes)
            drawn = np.zeros(len(hashes), np.bool_)
            drawn[inside] = True
            self._rewrite(name, one, "source", path, drawn)
            earlier = grown.directory / bucket_file("earlier", bucket)
            if earlier.is_file():
                with pa.memory_map(str(earlier)) as mapped:
                    older = as_numpy(whole(pa.ipc.open_file(mapped).read_all()["id_hash"]))
                self._rewrite(name, one, "earlier", earlier, np.isin(older, hashes[drawn]))

    def _rewrite(self, name: str, one: _Open, side: str, path: Path, drawn: npt.NDArray[np.bool_]) -> None:
        grown = self._growing[name]
        state = grown.sides[side]
        fresh = path.with_suffix(".fresh")
        file: BucketFile | None = None
        start = 0
        with pa.memory_map(str(path)) as mapped:
            reader = pa.ipc.open_file(mapped)
            batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
            for batch in batches or [pa.RecordBatch.from_pylist([], schema=reader.schema)]:
                mask = drawn[start : start + batch.num_rows]
                start += batch.num_rows
                written = self._with_vectors(name, one, batch, mask)
                file = file or BucketFile(fresh, written.schema, self._appender)
                state.add(row_lanes(batch), -1)
                state.add(row_lanes(written))
                file.write(written)
        assert file is not None
        file.close()
        self._replace(fresh, path)

    def _with_vectors(
        self, name: str, one: _Open, batch: pa.RecordBatch, mask: npt.NDArray[np.bool_]
    ) -> pa.RecordBatch:
        matrix = np.zeros((batch.num_rows, one.dimension), np.float32)
        places = np.flatnonzero(mask)
        texts = batch["text"].take(numbers(places)).to_pylist()
        for at in range(0, len(places), _AT_ONCE):
            matrix[places[at : at + _AT_ONCE]] = one.embedder.embed(texts[at : at + _AT_ONCE])
        own = [
            column
            for column in batch.schema.names
            if column not in ("position", "id_hash", "digest", "vector")
        ]
        columns = {column: batch[column] for column in own}
        columns["vector"] = fixed_vectors(matrix, ~mask)
        frozen = self._frozen(self._growing[name], "source", pa.RecordBatch.from_pydict(columns), 0)
        at = frozen.schema.get_field_index("position")
        return frozen.set_column(at, "position", batch["position"])
