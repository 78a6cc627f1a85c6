"""The columns that freezing adds to a row: hashes of its id, its vector and its content."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vecforensics.arrow_columns import as_numpy, matrix_of, numbers, present, repeats, split_vectors
from vecforensics.errors import EvidenceError
from vecforensics.evidence import hash_text
from vecforensics.records import source_schema
from vecforensics.sketch import NO_DIRECTION, sketch

__all__ = ["empty_schema", "hash_rows", "hash_vectors", "of_dimension", "row_lanes"]

# 512 vectors of 384 floats stay in the cache of a core.
_BLOCK: Final = 512
# splitmix64's multipliers (Steele, Lea, Flood 2014); any odd constants with well-spread bits would do.
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def hash_vectors(
    vectors: pa.FixedSizeListArray | None, rows: int, *, sketched: bool
) -> tuple[pa.Array, npt.NDArray[np.uint64] | None]:
    """xxh3_64 of each vector's bytes; 0 where one holds a NaN or an infinity, null where there is none. Where `sketched`, also
    the sketch of each, `NO_DIRECTION` where it has none."""
    if vectors is None or not vectors.type.list_size:
        return pa.nulls(rows, pa.uint64()), None
    matrix = matrix_of(vectors)
    hashes, sketches = np.empty(rows, np.uint64), np.empty(rows, np.uint64) if sketched else None
    # All that is asked of a vector is asked while it lies in the cache.
    for start in range(0, rows, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = matrix[part]
        hashes[part] = np.fromiter(map(xxhash.xxh3_64_intdigest, block), np.uint64, len(block))
        with np.errstate(all="ignore"):
            squares = np.einsum("ij,ij->i", block, block)
        odd = np.flatnonzero(~np.isfinite(squares))
        hashes[start + odd[~np.isfinite(block[odd]).all(axis=1)]] = 0
        if sketches is not None:
            sketches[part] = sketch(block, squares)
    if sketches is not None and vectors.null_count:
        sketches[~present(vectors)] = NO_DIRECTION
    return numbers(hashes, present(vectors) if vectors.null_count else None), sketches


def of_dimension(chunk: pa.RecordBatch, dimension: int) -> pa.RecordBatch:
    """A target whose usual length is not the expected one, in the shape of one that has `dimension`: its vectors travel as ragged
    rows, and those of its ragged rows that are as long as expected are vectors."""
    lists = pc.coalesce(chunk["ragged"], chunk["vector"].cast(pa.list_(pa.float32())))
    columns = dict(zip(chunk.schema.names, chunk.columns, strict=True))
    columns["vector"], columns["ragged"] = split_vectors(lists, dimension, EvidenceError, where="target")
    return pa.RecordBatch.from_pydict(columns)


def row_lanes(batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """Two 64-bit hashes of each row's content, uint64 (2, n): everything but its position."""
    parts: list[npt.NDArray[np.uint64]] = [as_numpy(batch["id_hash"]), _hash_contents(batch)]
    for name in batch.schema.names:
        column = batch[name]
        if pa.types.is_string(column.type) and name != "id":
            parts.append(_hash_repeating(column))
        elif name == "ragged":
            parts.append(_hash_lists(column))
    lanes = np.zeros((2, batch.num_rows), np.uint64)
    with np.errstate(over="ignore"):
        for lane, multiplier in zip(lanes, _MIX, strict=True):
            for part in parts:
                lane ^= part
                lane *= multiplier
                lane ^= lane >> np.uint64(29)
    return lanes


def _hash_contents(batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """xxh3_64 of each vector's bytes, whatever they hold; 0 where there is none."""
    hashes: npt.NDArray[np.uint64] = as_numpy(batch["digest"])
    # A digest of 0 says that a vector is not finite, and nothing of its other components.
    odd = np.flatnonzero((hashes == 0) & present(batch["digest"]))
    if len(odd):
        hashes = hashes.copy()
        hashes[odd] = [xxhash.xxh3_64_intdigest(vector) for vector in matrix_of(batch["vector"])[odd]]
    return hashes


def _hash_repeating(column: pa.StringArray) -> npt.NDArray[np.uint64]:
    """`hash_text`, but each distinct text once where the texts repeat themselves, as metadata does."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.uint64)
    if not repeats(column):
        return hash_text(column)
    encoded = column.dictionary_encode()
    hashes = np.append(hash_text(encoded.dictionary), np.uint64(0))
    found: npt.NDArray[np.uint64] = hashes[as_numpy(encoded.indices, len(hashes) - 1)]
    return found


def _hash_lists(column: pa.ListArray) -> npt.NDArray[np.uint64]:
    """xxh3_64 of the float32 bytes of each list (a null inside one counts as NaN), 0 for a null."""
    values, offsets = as_numpy(column.values, np.nan), as_numpy(column.offsets)
    hashes = np.zeros(len(column), np.uint64)
    for row in np.flatnonzero(present(column)).tolist():
        hashes[row] = xxhash.xxh3_64_intdigest(values[offsets[row] : offsets[row + 1]].data)
    return hashes


def hash_rows(vectors: pa.FixedSizeListArray, ragged: pa.ListArray) -> npt.NDArray[np.uint64]:
    """xxh3_64 of the float32 bytes of each row's vector, in whichever of the two columns it stands; 0 where in neither."""
    hashes, matrix = _hash_lists(ragged), matrix_of(vectors)
    for row in np.flatnonzero(present(vectors)).tolist():
        hashes[row] = xxhash.xxh3_64_intdigest(matrix[row])
    return hashes


def empty_schema(side: str, dimension: int, parents: Iterable[str] = ()) -> pa.Schema:
    """The schema of a side that has no rows. `parents`: the collections that a source depends on."""
    text = [pa.field("id", pa.string())]
    if side == "source":
        text = list(source_schema(parents))
    vectors = [
        pa.field("vector", pa.list_(pa.float32(), dimension)),
        pa.field("ragged", pa.list_(pa.float32())),
    ]
    if side == "target":
        text += [*vectors, pa.field("metadata", pa.string())]
    return pa.schema(
        [
            *text,
            pa.field("position", pa.int64()),
            pa.field("id_hash", pa.uint64()),
            pa.field("digest", pa.uint64()),
        ]
    )
