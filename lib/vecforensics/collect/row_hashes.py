"""The columns that freezing adds to a row: hashes of its id, its vector and its content, and the cut into buckets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.evidence import hash_text

__all__ = ["all_ragged", "cut", "empty_schema", "hash_vectors", "matrix_of", "row_lanes"]

# splitmix64's multipliers (Steele, Lea, Flood 2014); any odd constants with well-spread bits would do.
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def matrix_of(vectors: pa.FixedSizeListArray) -> npt.NDArray[np.float32]:
    """The values of a fixed-size list column as float32 (n, d), without a copy."""
    size = vectors.type.list_size
    if not len(vectors) or not size:
        return np.empty((len(vectors), size), np.float32)
    # Not `to_numpy`: it refuses the slots under null rows, which are only ever skipped by the mask.
    start = vectors.values.offset + vectors.offset * size
    flat = np.frombuffer(vectors.buffers()[2], np.float32)[start : start + len(vectors) * size]
    return flat.reshape(len(vectors), size)


def hash_vectors(vectors: pa.FixedSizeListArray | None, rows: int) -> pa.Array:
    """xxh3_64 of each vector's bytes; 0 where one holds a NaN or an infinity, null where there is none."""
    if vectors is None or not vectors.type.list_size:
        return pa.nulls(rows, pa.uint64())
    matrix = matrix_of(vectors)
    data, width, digest = (
        matrix.reshape(-1).data.cast("B"),
        matrix.shape[1] * 4,
        xxhash.xxh3_64_intdigest,
    )
    hashes = np.fromiter(
        (digest(data[start : start + width]) for start in range(0, rows * width, width)), np.uint64, rows
    )
    with np.errstate(all="ignore"):
        odd = np.flatnonzero(~np.isfinite(matrix @ np.ones(matrix.shape[1], np.float32)))
    hashes[odd[~np.isfinite(matrix[odd]).all(axis=1)]] = 0
    return pa.array(
        hashes, mask=vectors.is_null().to_numpy(zero_copy_only=False) if vectors.null_count else None
    )


def all_ragged(chunk: pa.RecordBatch, dimension: int) -> pa.RecordBatch:
    """A target whose every vector has another length than expected: all of them travel as ragged rows."""
    kind = pa.list_(pa.float32())
    ragged = pc.coalesce(chunk["ragged"], chunk["vector"].cast(kind))
    columns = dict(zip(chunk.schema.names, chunk.columns, strict=True))
    absent = np.zeros((chunk.num_rows, dimension), np.float32)
    columns["vector"] = fixed_vectors(absent, np.ones(chunk.num_rows, np.bool_))
    columns["ragged"] = ragged
    return pa.RecordBatch.from_pydict(columns)


def row_lanes(batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """Two 64-bit hashes of each row's content, uint64 (2, n): everything but its position."""
    parts: list[npt.NDArray[np.uint64]] = [
        batch["id_hash"].to_numpy(),
        pc.fill_null(batch["digest"], 0).to_numpy(),
    ]
    for name in batch.schema.names:
        column = batch[name]
        if pa.types.is_string(column.type) and name != "id":
            parts.append(hash_text(column))
        elif name == "ragged" and column.null_count < len(column):
            texts = [None if row is None else np.float32(row).tobytes().hex() for row in column.to_pylist()]
            parts.append(hash_text(pa.array(texts, pa.string())))
    lanes = np.zeros((2, batch.num_rows), np.uint64)
    with np.errstate(over="ignore"):
        for lane, multiplier in zip(lanes, _MIX, strict=True):
            for part in parts:
                lane ^= part
                lane *= multiplier
                lane ^= lane >> np.uint64(29)
    return lanes


def cut(batch: pa.RecordBatch, buckets: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch by bucket, rows in their order."""
    if buckets == 1:
        yield 0, batch
        return
    number = (batch["id_hash"].to_numpy() % np.uint64(buckets)).astype(np.uint16)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(buckets + 1))
    names = [name for name in batch.schema.names if name != "vector"]
    taken = batch.select(names).take(pa.array(order))
    columns = dict(zip(names, taken.columns, strict=True))
    if "vector" in batch.schema.names:
        vectors = batch["vector"]
        mask = (
            pa.array(vectors.is_null().to_numpy(zero_copy_only=False)[order]) if vectors.null_count else None
        )
        flat = pa.array(matrix_of(vectors)[order].reshape(-1))
        columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vectors.type.list_size, mask=mask)
    sorted_batch = pa.RecordBatch.from_arrays(
        [columns[name] for name in batch.schema.names], schema=batch.schema
    )
    for bucket in range(buckets):
        low, high = int(bounds[bucket]), int(bounds[bucket + 1])
        if high > low:
            yield bucket, sorted_batch.slice(low, high - low)


def empty_schema(side: str, dimension: int) -> pa.Schema:
    """The schema of a side that has no rows."""
    text = [pa.field("id", pa.string())]
    if side == "source":
        text += [pa.field(name, pa.string()) for name in ("text", "metadata", "version")]
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
