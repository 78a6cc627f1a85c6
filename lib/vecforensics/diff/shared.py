"""Evidence on storage that every machine reaches by a URL, for workers that do not see the run folder.

`publish` copies the buckets (and nothing else: no logs, no code) to `URL/<hash of the index>/`, the index last. What lies there
already, in its full length, is not copied again; what has been lost or cut off since is. A worker fetches the files of a bucket
into a cache of its own process, checks the SHA-256 of every byte against what was frozen, and maps them from there. Any file
system that fsspec knows will do (`s3://`, `gs://`, `abfs://`, `sftp://`, `ftp://`, `file://`); credentials come from the
environment of each process, as that file system or fsspec (`FSSPEC_S3_KEY`, …) reads them, and never from the URL.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from vecforensics.diff.compare.bucket import BucketResult, BucketTask, compare_bucket
from vecforensics.errors import (
    EvidenceError,
    InputError,
    MissingExtra,
    ToolFailed,
    VecforensicsError,
    holds_password,
    printable,
)
from vecforensics.evidence import INDEX, SIDES, Evidence, bucket_file
from vecforensics.progress import progress

__all__ = ["SharedEvidence", "compare_shared", "publish", "without_secret"]

_UPLOADS: Final = 4
# What a worker process keeps of buckets that it has compared; a second pass or another diff of the same run finds them there.
_CACHE_BYTES: Final = int(float(os.environ.get("VECFORENSICS_CACHE_GB", "4")) * 2**30)


@dataclass(frozen=True, slots=True)
class SharedEvidence:
    """`url`: the folder in which the files lie; `files`: their names and SHA-256, the index among them."""

    url: str
    files: Mapping[str, str]

    def of(self, directory: str, bucket: int) -> SharedEvidence:
        """The index and the files of one bucket."""
        names = [INDEX, *(f"{directory}/{bucket_file(side, bucket)}" for side in SIDES)]
        return SharedEvidence(self.url, {name: self.files[name] for name in names if name in self.files})


def without_secret(url: str) -> str:
    """The URL. Raises InputError where a password stands in it: it would go into the journal and to every worker."""
    if holds_password(url):
        raise InputError(
            "a password stands in the URL",
            where=f"{urlsplit(url).scheme}://{urlsplit(url).hostname}",
            hint="Leave it to the environment of each process",
        )
    return url


def publish(evidence: Evidence, url: str) -> SharedEvidence:
    """Copy those buckets of `evidence` below `url` that do not lie there, the index last. Raises ToolFailed where that fails."""
    index = (evidence.path / INDEX).read_bytes()
    digest = hashlib.sha256(index).hexdigest()
    files = {name: one for name, one in evidence.files.items() if name.endswith(".arrow") and "/" in name}
    shared = SharedEvidence(f"{url.rstrip('/')}/{digest[:32]}", {**files, INDEX: digest})

    def upload(name: str) -> None:
        system, root = _opened(shared.url)
        system.put_file(str(evidence.path / name), f"{root}/{name}")

    try:
        system, root = _opened(shared.url)
        held = _sizes(system, root)
        absent = [name for name in sorted(files) if held.get(name) != (evidence.path / name).stat().st_size]
        for folder in sorted({root, *(f"{root}/{name}".rpartition("/")[0] for name in absent)}):
            system.makedirs(folder, exist_ok=True)
        with (
            progress("copying the evidence", len(absent)) as advance,
            ThreadPoolExecutor(_UPLOADS, thread_name_prefix="publish") as pool,
        ):
            for _ in pool.map(upload, absent):
                advance(1)
        if INDEX not in held or system.cat_file(f"{root}/{INDEX}") != index:
            upload(INDEX)
    except VecforensicsError:
        raise
    except Exception as error:
        raise ToolFailed(
            f"the evidence cannot be copied there ({type(error).__name__}: {printable(error)})",
            where=url,
            hint="Check the address and the credentials in the environment",
        ) from error
    return shared


def compare_shared(task: BucketTask, shared: SharedEvidence) -> BucketResult:
    """`compare_bucket` over files that lie elsewhere; `shared`: those of the bucket.

    Raises EvidenceError where one is gone or not what was frozen.
    """
    with tempfile.TemporaryDirectory(dir=_cache().folder, prefix="bucket-") as folder:
        for name, digest in shared.files.items():
            place = Path(folder) / name
            place.parent.mkdir(exist_ok=True)
            _cache().put(f"{shared.url}/{name}", digest, place)
        return compare_bucket(replace(task, evidence=folder))


def _opened(url: str) -> tuple[Any, str]:
    """A file system of its own (connections of several threads must not mix) and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise MissingExtra("cluster", "evidence on shared storage") from None
    try:
        system, root = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    except ValueError as error:
        raise InputError(
            f"no file system for this address ({printable(error)})",
            where=url,
            hint="Name one that fsspec knows: s3://, gs://, sftp://, file://",
        ) from None
    except ImportError as error:
        raise ToolFailed(
            f"the file system of this address is not installed ({printable(error)})",
            where=url,
            hint="Install it in every process",
        ) from None
    return system, root.rstrip("/")


def _sizes(system: Any, root: str) -> dict[str, int | None]:
    """The size of each file below `root`, by its name there; None where the file system does not say."""
    try:
        found = system.find(root, detail=True)
    except FileNotFoundError:
        return {}
    above = f"{root.strip('/')}/"
    return {path.strip("/").removeprefix(above): entry.get("size") for path, entry in found.items()}


class _Cache:
    """Files by their hash, in a folder that ends with the process; the least recently used ones go first."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=_scratch(), prefix="vecforensics-"))
        atexit.register(self.close)
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove the folder; nothing can be put after that."""
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def put(self, url: str, digest: str, place: Path) -> None:
        """Make `place` the file of that hash: a further link, so that a cache that drops it takes nothing away from a task."""
        held = self.folder / digest
        with self._lock:
            if digest in self._sizes:
                self._sizes.move_to_end(digest)
                os.link(held, place)
                return
        system, path = _opened(url)
        try:
            system.get_file(path, str(place))
        except FileNotFoundError:
            raise EvidenceError(
                "is not there", where=url, hint="Run the diff again: it copies what is missing"
            ) from None
        with place.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise EvidenceError(
                f"is not what was frozen: SHA-256 {found[:16]}… instead of {digest[:16]}…",
                where=url,
                hint="Remove it there and run the diff again",
            )
        with self._lock:
            if digest not in self._sizes:
                os.link(place, held)
                self._sizes[digest] = place.stat().st_size
            while sum(self._sizes.values()) > _CACHE_BYTES and len(self._sizes) > 1:
                oldest, _ = self._sizes.popitem(last=False)
                (self.folder / oldest).unlink()


def _scratch() -> str | None:
    """Where a worker of dask keeps its own files, which dask clears away after one that was killed; None elsewhere."""
    try:
        from distributed import get_worker

        return str(get_worker().local_directory)
    except (ImportError, ValueError):
        return None


_caches: dict[int, _Cache] = {}
_caches_lock = threading.Lock()


def _cache() -> _Cache:
    """The cache of this process; a forked child has one of its own."""
    with _caches_lock:
        if os.getpid() not in _caches:
            _caches[os.getpid()] = _Cache()
        return _caches[os.getpid()]
