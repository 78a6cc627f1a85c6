"""What is run against what: each contestant is one whole process that reads both sides and says which ids are wrong.

`python diff_contestants.py NAME FOLDER OUT` prints the seconds that its own work took, start of Python and imports left aside
(the caller measures the whole; a contestant that has to prepare says its own `seconds`), and writes the ids that it flagged
to OUT. Nobody gets tuning that a user would not find on the first page of a tool's manual: DuckDB and Polars read the two
Parquet files themselves with all cores, pandas loads them. Ours reads the same Parquet files, or the evidence that `collect`
made of them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diff_floors import freeze, twice

CASE = """\
case: BENCH
title: planted faults
collections:
  posts:
    source: {uri: source.parquet, id: id, text: [text], metadata: [plan, score]}
    target: {uri: "parquet:target.parquet", collection: posts}
    expected: {column: embedding}
"""
# Component by component, as one would write it in a first script.
TOLERANCE = 1e-6

Work = Callable[[Path, Path], dict[str, Any]]


def mapped() -> Work:
    """Every byte of both sides of the evidence through a memory map, one pass of XOR over it: the speed of memory."""
    import numpy as np
    import pyarrow as pa

    def work(folder: Path, out: Path) -> dict[str, Any]:
        total = 0
        files = sorted((folder / "run" / "evidence").rglob("*.arrow"))
        for file in files:
            with pa.memory_map(str(file)) as mapped:
                # The end of an Arrow file is not a whole number of words.
                words = np.frombuffer(mapped.read_buffer(mapped.size() // 8 * 8), np.uint64)
                total ^= int(np.bitwise_xor.reduce(words))
        return {"bytes": sum(file.stat().st_size for file in files)}

    return work


def limit() -> Work:
    """L: reading every byte of both sides of the evidence into a buffer of a megabyte; nothing is done with it."""

    def work(folder: Path, out: Path) -> dict[str, Any]:
        buffer = bytearray(2**20)
        for file in sorted((folder / "run" / "evidence").rglob("*.arrow")):
            with file.open("rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass
        return {}

    return work


def decode() -> Work:
    """Only decoding the list columns of both Parquet files, batch by batch, nothing kept."""
    import pyarrow.parquet as pq

    def work(folder: Path, out: Path) -> dict[str, Any]:
        rows = 0
        for name in ("source", "target"):
            # pre_buffer would hold a whole file's worth of row groups.
            for batch in pq.ParquetFile(folder / f"{name}.parquet", pre_buffer=False).iter_batches(8_192):
                rows += batch.num_rows
        return {"rows": rows}

    return work


def prepare() -> Work:
    """Collect once, for those who read evidence; no contestant."""
    from vecforensics.case import load_case
    from vecforensics.collect import collect
    from vecforensics.run_folder import RunFolder

    def work(folder: Path, out: Path) -> dict[str, Any]:
        case = load_case(folder / "case.yaml")
        run = RunFolder.begin(folder / "case.yaml", case, folder / "collected")
        collect(case, run)
        (folder / "run").symlink_to(run.path)
        return {}

    return work


def ours(workers: int, *, costs: bool = False) -> Work:
    """The diff of evidence that has been collected: classes, hot spots, findings written; with `costs` also recall lost.

    What is imported on first use is imported here: nobody's imports count as work.
    """
    import scipy.special  # noqa: F401
    import threadpoolctl  # noqa: F401

    from vecforensics.diff import diff_vectors, hotspots, impact  # noqa: F401
    from vecforensics.run_folder import RunFolder

    def work(folder: Path, out: Path) -> dict[str, Any]:
        run = RunFolder.open(folder / "run")
        diff = diff_vectors(run.case(), run, workers=workers, impact=costs)
        shutil.copy(run.findings_parquet, out)
        return {"verdict": str(diff.verdict.value)}

    return work


def ours_parquet() -> Work:
    """From the user's Parquet: collect, then diff."""
    import numpy.random  # noqa: F401
    import scipy.special  # noqa: F401
    import threadpoolctl  # noqa: F401

    from vecforensics.case import load_case
    from vecforensics.collect import collect
    from vecforensics.diff import diff_vectors, hotspots  # noqa: F401
    from vecforensics.run_folder import RunFolder
    from vecforensics.sources import parquet as _source  # noqa: F401
    from vecforensics.stores import parquet as _store  # noqa: F401

    def work(folder: Path, out: Path) -> dict[str, Any]:
        case = load_case(folder / "case.yaml")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            run = RunFolder.begin(folder / "case.yaml", case, Path(place))
            began = time.perf_counter()
            collect(case, run)
            collected = time.perf_counter() - began
            diff_vectors(case, run, impact=False)
            shutil.copy(run.findings_parquet, out)
            return {"collect_s": collected}

    return work


def duckdb(*, hashed: bool) -> Work:
    """A full outer join on ids; the vectors, or a hash of them, compared for identity."""
    import duckdb as engine  # type: ignore[import-not-found, unused-ignore]

    def work(folder: Path, out: Path) -> dict[str, Any]:
        value = "hash({})" if hashed else "{}"
        with engine.connect(config={"temp_directory": str(folder / "spill")}) as connection:
            connection.execute(
                f"""COPY (SELECT coalesce(s.id, t.id) AS id
                FROM (SELECT id, {value.format("embedding")} AS v FROM '{folder}/source.parquet') s
                FULL JOIN (SELECT id, {value.format("vector")} AS v FROM '{folder}/target.parquet') t ON s.id = t.id
                WHERE s.v IS DISTINCT FROM t.v) TO '{out}' (FORMAT parquet)"""
            )
        return {}

    return work


def polars() -> Work:
    """The same join on the streaming engine."""
    import polars as pl

    def work(folder: Path, out: Path) -> dict[str, Any]:
        source = pl.scan_parquet(folder / "source.parquet").select("id", "embedding")
        target = pl.scan_parquet(folder / "target.parquet").select("id", "vector")
        joined = source.join(target, on="id", how="full", coalesce=True)
        unequal = joined.filter(pl.col("embedding").ne_missing(pl.col("vector"))).select("id")
        unequal.collect(engine="streaming").write_parquet(out)
        return {}

    return work


def pandas() -> Work:
    """Both sides as data frames, merged, then one comparison a row."""
    import numpy as np
    import pandas as pd

    def unequal(row: Any) -> bool:
        one, other = row.embedding, row.vector
        return len(one) != len(other) or not np.allclose(one, other, rtol=0, atol=TOLERANCE)

    def work(folder: Path, out: Path) -> dict[str, Any]:
        source = pd.read_parquet(folder / "source.parquet", columns=["id", "embedding"])
        target = pd.read_parquet(folder / "target.parquet", columns=["id", "vector"])
        merged = source.merge(target, on="id", how="outer", indicator=True)
        flagged = [row.id for row in merged.itertuples(index=False) if row[3] != "both" or unequal(row)]
        pd.DataFrame({"id": flagged}).to_parquet(out)
        return {}

    return work


def datacompy() -> Work:
    """datacompy's own comparison, with its tolerance."""
    import pandas as pd
    from datacompy import PandasCompare

    def work(folder: Path, out: Path) -> dict[str, Any]:
        source = pd.read_parquet(folder / "source.parquet", columns=["id", "embedding"])
        target = pd.read_parquet(folder / "target.parquet", columns=["id", "vector"])
        compared = PandasCompare(
            source.rename(columns={"embedding": "vector"}), target, join_columns="id", abs_tol=TOLERANCE
        )
        frames = (compared.all_mismatch(), compared.df1_unq_rows, compared.df2_unq_rows)
        pd.concat([frame[["id"]] for frame in frames]).to_parquet(out)
        return {}

    return work


CONTESTANTS: dict[str, Callable[[], Work]] = {
    "limit": limit,
    "mapped": mapped,
    "prepare": prepare,
    "ours": lambda: ours(2),
    "ours-1": lambda: ours(1),
    "ours-twice": twice,
    "ours-impact": lambda: ours(2, costs=True),
    "ours-parquet": ours_parquet,
    "decode": decode,
    "freeze": freeze,
    "duckdb-hash": lambda: duckdb(hashed=True),
    "duckdb-exact": lambda: duckdb(hashed=False),
    "polars": polars,
    "pandas": pandas,
    "datacompy": datacompy,
}


# Numpy's BLAS and Arrow's pools would use the other core even where the diff has one worker.
ON_ONE_CORE = frozenset({"ours-1"})


def main(name: str, folder: Path, out: Path) -> None:
    if name in ON_ONE_CORE:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = CONTESTANTS[name]()
    began = time.perf_counter()
    said = work(folder, out)
    print(json.dumps({"seconds": time.perf_counter() - began, **said}), flush=True)
    # The kernel takes the memory back at once; a tidy end of a million lists would be nobody's work.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
