"""Vector stores, one adapter a file; `open_reader` and `open_writer` choose by the scheme of the URI.

lancedb:PATH     a LanceDB folder
parquet:PATH     a Parquet file, or a folder with one file a collection

Every other store is read through an export to Parquet; docs/export.md has the few lines of code for it.
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
    "check_scheme",
    "open_reader",
    "open_writer",
]

SCHEMES = ("lancedb", "parquet")


def check_scheme(uri: str) -> str:
    """The scheme of a URI that can be opened. Raises TargetError for another one."""
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest or scheme not in SCHEMES:
        raise TargetError(
            f"unknown URI scheme {scheme if colon else uri!r}",
            where=uri,
            hint=f"Known: {', '.join(f'{s}:PATH' for s in SCHEMES)}. Any other store is read through an export to Parquet: "
            "docs/export.md has the code for Pinecone and others",
        )
    return scheme


def open_reader(target: Target, folder: Path, *, section: str = "target") -> VectorReader:
    """A handle that cannot write. `folder`: where relative paths start; `section`: what of the case file names the store.

    Raises TargetError for an unknown scheme.
    """
    scheme, path, columns = _parts(target, folder, section)
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


def _parts(target: Target, folder: Path, section: str = "target") -> tuple[str, Path, Columns]:
    scheme = check_scheme(target.uri)
    path = folder / resolve_env(target.uri.partition(":")[2], where=target.uri)
    return scheme, path.resolve(), Columns(target.id, target.vector, target.metadata, section)
