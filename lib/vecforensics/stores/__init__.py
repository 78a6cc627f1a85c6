"""Vector stores, one adapter a file; `open_reader` and `open_writer` choose by the scheme of the URI.

lancedb:PATH     a LanceDB folder
parquet:PATH     a Parquet file, or a folder with one file a collection
pinecone:INDEX   a Pinecone index, or the address of its data plane; a collection is a namespace

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

SCHEMES = ("lancedb", "parquet", "pinecone")
_KNOWN = "lancedb:PATH, parquet:PATH, pinecone:INDEX"


def check_scheme(uri: str) -> str:
    """The scheme of a URI that can be opened. Raises TargetError for another one."""
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest or scheme not in SCHEMES:
        raise TargetError(
            f"unknown URI scheme {scheme if colon else uri!r}",
            where=uri,
            hint=f"Known: {_KNOWN}. Any other store is read through an export to Parquet: "
            "docs/export.md has the code for Chroma and others",
        )
    return scheme


def open_reader(target: Target, folder: Path, *, section: str = "target") -> VectorReader:
    """A handle that cannot write. `folder`: where relative paths start; `section`: what of the case file names the store.

    Raises TargetError for an unknown scheme.
    """
    scheme, place = _parts(target)
    columns = Columns(target.id, target.vector, target.metadata, section)
    match scheme:
        case "lancedb":
            from vecforensics.stores.lancedb import LanceReader

            return LanceReader((folder / place).resolve(), columns, uri=target.uri)
        case "pinecone":
            from vecforensics.stores.pinecone import PineconeReader

            return PineconeReader(place, _key(target), uri=target.uri, section=section)
        case _:
            from vecforensics.stores.parquet import ParquetReader

            return ParquetReader((folder / place).resolve(), columns, uri=target.uri)


def open_writer(target: Target, folder: Path) -> VectorWriter:
    """A handle that can write; only a migration that was told to apply opens one."""
    scheme, place = _parts(target)
    columns = Columns(target.id, target.vector, target.metadata)
    match scheme:
        case "lancedb":
            from vecforensics.stores.lancedb import LanceWriter

            return LanceWriter((folder / place).resolve(), columns, uri=target.uri)
        case "pinecone":
            from vecforensics.stores.pinecone import PineconeWriter

            return PineconeWriter(place, _key(target), uri=target.uri)
        case _:
            from vecforensics.stores.parquet import ParquetWriter

            return ParquetWriter((folder / place).resolve(), columns, uri=target.uri)


def _parts(target: Target) -> tuple[str, str]:
    """Scheme and place, `env:NAME` resolved."""
    scheme = check_scheme(target.uri)
    return scheme, resolve_env(target.uri.partition(":")[2], where=target.uri)


def _key(target: Target) -> str:
    return resolve_env(target.api_key or "env:PINECONE_API_KEY", where=target.uri)
