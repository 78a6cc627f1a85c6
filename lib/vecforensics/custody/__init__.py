"""The chain of custody: SHA-256 of what went in and of what came out, and the check that nothing was touched since.

Three moments. `record_inputs` (`inputs.py`) runs while evidence is collected, which changes nothing, and writes what the inputs
(sources, logs, the suspect, local stores) were *before* anything was done. `write_manifest` (`seal.py`) runs last and writes
`manifest.json`: the inputs once more, *after*, and every file of the run folder. `verify_run` (`check.py`) re-computes all of it
and lists what changed, went missing or came along.

What this can show is that the run folder is the one that was sealed. Whoever can rewrite a file can rewrite the manifest too,
so the digest of the manifest is printed when it is written: keep it somewhere else. What is not as it was sealed is of three
kinds:

* what may change: `notes.md` (the analyst goes on writing), the status in `run.json`, and the inputs, which belong to somebody
  else and live on;
* what this run's own stages did later (`journal.py`). The journal only grows, and the seal holds the digest of each entry that
  was there, so that entries beside them are named as what happened since. What such a stage writes it notes with its SHA-256
  (`accounted`). Where it wrote the same bytes again, which is the rule since stages are deterministic, the seal holds; else it
  is out of date, and the report with it: neither intact nor broken. The journal is not protected by the seal, hence not "intact";
* everything else, which breaks it.

A seal that follows another keeps the digests of all before it, and the names of the files that nobody had accounted for in
between: sealing anew makes nothing good.
"""

from __future__ import annotations

from vecforensics.custody.check import Custody, verify_run
from vecforensics.custody.inputs import InputDigest, digest_of, inputs_of, record_inputs
from vecforensics.custody.journal import accounted
from vecforensics.custody.seal import write_manifest
from vecforensics.custody.tools import git_revision, tool_versions

__all__ = [
    "Custody",
    "InputDigest",
    "accounted",
    "digest_of",
    "git_revision",
    "inputs_of",
    "record_inputs",
    "tool_versions",
    "verify_run",
    "write_manifest",
]
