"""Collect: what was there, exactly?

Each collection's source and target are read once, through handles that cannot write, and frozen side by side; the source rows get
the vectors that are expected of them. Logs become events. What the inputs were (SHA-256) is found out meanwhile and written down.
After this stage nobody needs the store again to say what was wrong with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.blas_threads import one_blas_thread
from vecforensics.case import Case, Collection, Target
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.collect.known_good import KnownGood
from vecforensics.collect.log_files import Heard, LogFile
from vecforensics.collect.logs import Frame, LogEvent, parse_log, read_log
from vecforensics.collect.sampled import Chooser, SampledEvidenceWriter
from vecforensics.custody import record_inputs
from vecforensics.embedding import Embedder, open_embedder
from vecforensics.errors import SourceError, TargetNotThere
from vecforensics.evidence import Evidence
from vecforensics.memory import give_back
from vecforensics.progress import progress
from vecforensics.records import FieldType, target_schema
from vecforensics.run_folder import RunFolder
from vecforensics.sources import open_sources
from vecforensics.stores import CollectionInfo, VectorReader, open_reader

__all__ = ["EvidenceWriter", "Frame", "LogEvent", "collect", "parse_log", "read_log"]


def collect(
    case: Case,
    run: RunFolder,
    *,
    empty_target: bool = False,
    sample: int | None = None,
    choose: Chooser | None = None,
) -> Evidence:
    """Freeze source, target, logs and the suspect's code into `run.evidence`.

    A collection that is empty, or not there while others of this case are in the same store, is frozen as empty: what was in it
    is lost. `empty_target`: so is one whose store has none of the case, or is not there (a first migration), instead of refused.
    Where a source has no records, but another one has, it is frozen as it is, and its notes say so. `choose` draws the records
    whose contents will be looked at, `sample` in number, once both sides are frozen; where expected vectors come from an
    embedder, only theirs are made. Raises SourceError, TargetError or CaseError for what cannot be read; then nothing is left
    that counts as evidence.
    """
    with run.stage("collect", {"sample": sample} if choose else None), ExitStack() as stack:
        if not any(one.expected and one.expected.embedder for one in case.collections.values()):
            # An embedder wants its threads, and what it does takes so long that ours hardly matter.
            stack.enter_context(one_blas_thread())
        # Hashing the sources while they are read, and the targets while these are, keeps a second core busy all the time.
        stop, targets = threading.Event(), threading.Event()
        pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="inputs"))
        stack.callback(targets.set)
        stack.callback(stop.set)
        inputs = pool.submit(record_inputs, case, run, stop, targets)
        # Everything that can be refused cheaply is refused before anything is written.
        readers = _readers(case, empty_target)
        sources = open_sources(case, vectors=True)
        later = _embedded_later(case) if choose else {}
        said: dict[str, list[str]] = {name: [] for name in case.collections}
        givers = {
            name: _giver(case, one, stack, said[name]) if name not in later else _as_it_is
            for name, one in case.collections.items()
        }
        for log in case.logs:
            if not case.path(log).is_file():
                raise SourceError(
                    "there is no such log", where=str(case.path(log)), hint="Check logs in the case file"
                )
        writer = stack.enter_context(
            SampledEvidenceWriter(run.evidence) if later else EvidenceWriter(run.evidence)
        )
        scans = _Scans(
            begin
            for name, one in case.collections.items()
            for begin in (sources[name].scan, partial(_scan, readers[name], one))
        )
        records, last = 0, list(case.collections)[-1]
        for name, one in case.collections.items():
            if isinstance(writer, SampledEvidenceWriter) and name in later:
                writer.wait_for(name, later[name])
            reader = readers[name]
            rows_hint = reader.describe(one.target.collection).rows if isinstance(reader, VectorReader) else 0
            with progress(f"reading the source of {name}", rows_hint) as advance:
                rows = writer.source(
                    name,
                    _counted(givers[name](scans.next()), advance),
                    metadata=one.source.metadata,
                    parents=one.source.depends_on,
                    expected=_described(one),
                    rows_hint=rows_hint,
                    where=sources[name].where,
                )
            records += rows
            if not records and name == last:
                raise SourceError(
                    "there are no records in it",
                    where=sources[name].where,
                    hint="Check source.uri and source.table",
                )
            if not rows:
                said[name].append(f"{sources[name].where}: there are no records in it")
            targets.set()
            info = reader.describe(one.target.collection) if isinstance(reader, VectorReader) else None
            with progress(f"reading the target of {name}", rows_hint) as advance:
                writer.target(
                    name,
                    _counted(scans.next(), advance),
                    rows_hint=rows_hint,
                    facts=partial(_facts, reader, info, one, sources[name].field_types(), said[name]),
                )
        notes: list[str] = []
        writer.attach("logs.jsonl", _log_lines(case, notes))
        for attached, data in _code(case):
            writer.attach(attached, data)
        if choose is not None and isinstance(writer, SampledEvidenceWriter):
            writer.embed_chosen(choose)
        inputs.result()
        evidence = writer.finish(case=case.case, log_notes=notes)
    # The threads that decoded are gone, and what Arrow kept for them is nobody's.
    give_back()
    return evidence


def _readers(case: Case, empty_target: bool) -> dict[str, VectorReader | TargetNotThere]:
    """Each target's read-only handle, or why there is none. A store that has none of the case's collections is the wrong one."""
    readers: dict[str, VectorReader | TargetNotThere] = {}
    for name, one in case.collections.items():
        try:
            reader = open_reader(one.target, case.folder)
            reader.describe(one.target.collection)
            readers[name] = reader
        except TargetNotThere as error:
            readers[name] = error
    right = {reader.uri for reader in readers.values() if isinstance(reader, VectorReader)}
    for name, one in case.collections.items():
        found = readers[name]
        if isinstance(found, TargetNotThere) and not empty_target and one.target.uri not in right:
            raise found
    return readers


_Giver = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _as_it_is(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return batches


def _embedded_later(case: Case) -> dict[str, Embedder]:
    """The collections whose expected vectors an embedder makes: making them is what a sample saves."""
    return {
        name: open_embedder(one.expected.embedder, case.folder)
        for name, one in case.collections.items()
        if one.expected is not None and one.expected.embedder is not None
    }


def _giver(case: Case, one: Collection, stack: ExitStack, notes: list[str]) -> _Giver:
    """What puts the expected vectors into source batches; nothing to do where the source has them or nobody knows them. `notes`
    takes what a person has to know of them."""
    expected = one.expected
    if expected is None or expected.column is not None:
        return _as_it_is
    if expected.embedder is not None:
        embedder = open_embedder(expected.embedder, case.folder)
        return lambda batches: _embedded(batches, embedder)
    assert expected.uri is not None
    assert expected.collection is not None
    named = {name: value for name in ("id", "vector", "api_key") if (value := getattr(expected, name))}
    store = Target.model_validate({"uri": expected.uri, "collection": expected.collection, **named})
    reader = open_reader(store, case.folder, section="expected")
    good = stack.enter_context(KnownGood(reader, expected.collection))
    notes += good.notes
    return good.joined


def _embedded(batches: Iterable[pa.RecordBatch], embedder: Embedder) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        vectors = embedder.embed(batch.column("text").to_pylist())
        yield batch.append_column("vector", fixed_vectors(np.asarray(vectors)))


def _scan(reader: VectorReader | TargetNotThere, one: Collection) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, VectorReader):
        return reader.scan(one.target.collection)
    return iter([pa.RecordBatch.from_pylist([], schema=target_schema(0))])


class _Scans:
    """One scan after the other. The next begins where one has given its last batch, and not when that is written: where a scan
    reads ahead (Parquet), its first batches are decoded meanwhile.
    """

    def __init__(self, begin: Iterable[Callable[[], Iterator[pa.RecordBatch]]]) -> None:
        self._begin = iter(begin)
        self._begun: Iterator[pa.RecordBatch] | None = None

    def next(self) -> Iterator[pa.RecordBatch]:
        """The batches of the next scan; to be used up before the one after it is asked for."""
        begun, self._begun = self._begun, None
        yield from begun if begun is not None else next(self._begin)()
        following = next(self._begin, None)
        if following is not None:
            self._begun = following()


def _counted(batches: Iterator[pa.RecordBatch], advance: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        advance(batch.num_rows)


def _described(one: Collection) -> str | None:
    if one.expected is None:
        return None
    if one.expected.column is not None:
        return f"column {one.expected.column}"
    return one.expected.embedder or f"{one.expected.uri} {one.expected.collection}"


def _facts(
    reader: VectorReader | TargetNotThere,
    info: CollectionInfo | None,
    one: Collection,
    types: Mapping[str, FieldType],
    notes: list[str],
) -> dict[str, Any]:
    """What the store said of itself, and how we know that we could not write. `info`: what it said before it was read; whether
    that settled is asked afterwards. `types`: of the source's fields; `notes`: what is to be said of the source, and of what is
    expected."""
    facts = {
        "target_uri": one.target.uri,
        "target_collection": one.target.collection,
        "store": one.target.store,
        "id_column": one.source.id,
        "source_types": types,
    }
    if isinstance(reader, TargetNotThere):
        return facts | {"note": "; ".join([*notes, str(reader)])}
    assert info is not None
    fresh = reader.freshness(one.target.collection)
    if info.rows == 0:
        notes = [*notes, f"{one.target.uri}: the collection {one.target.collection!r} is empty"]
    return facts | {
        "snapshot": info.snapshot,
        "settled": fresh.settled,
        "freshness": fresh.note,
        "unseen": fresh.unseen,
        "write_blocked": reader.write_blocked(),
        "without_id": info.without_id,
        "note": "; ".join(notes),
    }


def _log_lines(case: Case, notes: list[str]) -> Iterator[bytes]:
    """The events of all logs as JSON lines. `notes` takes what a person has to know of a log that tells less than it might."""
    for log in case.logs:
        heard, path = Heard(), case.path(log)
        for event in read_log(path):
            heard.add(event.time, event.yearless)
            yield event.to_json().encode() + b"\n"
        notes += heard.notes(LogFile.at(path))


def _code(case: Case) -> Iterator[tuple[str, bytes]]:
    """The suspect's and the corrected file as they were, so that the report can show the lines that ran."""
    for role, reference in (("suspect", case.suspect), ("corrected", case.corrected)):
        if reference is None:
            continue
        name = reference.rpartition(":")[0] if ":" in reference else reference
        path = case.path(name)
        if Path(name).suffix in (".js", ".mjs", ".cjs", ".py"):
            if not path.is_file():
                raise SourceError(
                    f"the {role} is not there", where=str(path), hint=f"Check {role} in the case file"
                )
            yield f"{role}{path.suffix}", path.read_bytes()
