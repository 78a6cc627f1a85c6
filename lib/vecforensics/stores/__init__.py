"""Vector stores, one adapter a file; `open_reader` and `open_writer` choose by the scheme of the URI.

lancedb:PATH     a LanceDB folder
parquet:PATH     a Parquet file, or a folder with one file a collection
"""

from __future__ import annotations

from pathlib import Path

from vecforensics.case import Target, resolve_env
from vecforensics.errors import TargetError
from vecforensics.stores.protocol import Ack, CollectionInfo, Columns, Freshness, VectorReader, VectorWriter

__all__ = [
    "SCHEMES",
    "Ack",
    "CollectionInfo",
    "Columns",
    "Freshness",
    "VectorReader",
    "VectorWriter",
    "open_reader",
    "open_writer",
]

SCHEMES = ("lancedb", "parquet")


def open_reader(target: Target, folder: Path) -> VectorReader:
    """A handle that cannot write. `folder`: where relative paths start. Raises TargetError for an unknown scheme."""
    scheme, path, columns = _parts(target, folder)
    if scheme == "lancedb":
        from vecforensics.stores.lancedb import LanceReader

        return LanceReader(path, columns, uri=target.uri)
    from vecforensics.stores.parquet import ParquetReader

    return ParquetReader(path, columns, uri=target.uri)


def open_writer(target: Target, folder: Path) -> VectorWriter:
    """A handle that can write; only a migration that was told to apply opens one."""
    scheme, path, columns = _parts(target, folder)
    if scheme == "lancedb":
        from vecforensics.stores.lancedb import LanceWriter

        return LanceWriter(path, columns, uri=target.uri)
    from vecforensics.stores.parquet import ParquetWriter

    return ParquetWriter(path, columns, uri=target.uri)


def _parts(target: Target, folder: Path) -> tuple[str, Path, Columns]:
    scheme, colon, rest = target.uri.partition(":")
    if not colon or scheme not in SCHEMES:
        raise TargetError(
            f"unknown URI scheme {scheme if colon else target.uri!r}",
            where=target.uri,
            hint=f"Known: {', '.join(f'{s}:PATH' for s in SCHEMES)}",
        )
    path = folder / resolve_env(rest, where=target.uri)
    return scheme, path.resolve(), Columns(target.id, target.vector, target.metadata)
