"""Differential test: random programs over promises print the same lines, and crash at the same place, as they do on Node."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from js_runs import first, program, run
from random_javascript import random_program

NODE = shutil.which("node")
PROGRAMS = int(os.environ.get("VECFORENSICS_JS_PROGRAMS", "150"))
CRASH = "CRASH"

# Each operation takes 4 ms, so operations complete in the order in which they were begun; a program is over when none is left.
HARNESS = """
const programs = JSON.parse(require("node:fs").readFileSync("programs.json", "utf8"));
let lines = [], open = 0;
const named = (error) => error instanceof Error && /^\\w+$/.test(error.message);
const crash = (error) => `CRASH ${named(error) ? error.message : "with something else"}`;
process.on("unhandledRejection", (error) => lines.push(crash(error)));
const wait = (ms) => new Promise((go) => setTimeout(go, ms));
const generateVector = () => {
  open += 1;
  return new Promise((go) => setTimeout(() => { open -= 1; go([1]); }, 4));
};
(async () => {
  for (const text of programs) {
    lines = [];
    const print = { log: (line) => void lines.push(line) };
    const migrate = new Function("generateVector", "console", `${text}; return migrateDataToVectorDB`)(generateVector, print);
    const mine = lines;
    migrate([]).catch((error) => mine.push(crash(error)));
    await wait(2);
    while (open) await wait(6);
    await wait(2);
    console.log(JSON.stringify(mine));
  }
})();
"""


def ours(folder: Path, text: str) -> list[str]:
    done = run(program(folder, text), first, 1, detail=False)
    lines = []
    for line in done.session.console:
        if line.level == "fatal":
            message = re.match(r"Error: (\w+)\n", line.text)
            lines.append(f"{CRASH} {message[1] if message else 'with something else'}")
        else:
            lines.append(line.text)
    return until_the_crash(lines)


def until_the_crash(lines: list[str]) -> list[str]:
    for place, line in enumerate(lines):
        if line.startswith(CRASH):
            return lines[: place + 1]
    return lines


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_random_programs_behave_as_on_node(tmp_path: Path) -> None:
    programs = [random_program(seed) for seed in range(PROGRAMS)]
    (tmp_path / "programs.json").write_text(json.dumps(programs))
    (tmp_path / "harness.js").write_text(HARNESS)
    assert NODE is not None
    done = subprocess.run(
        [NODE, "harness.js"], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=True
    )
    theirs = [until_the_crash(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(theirs) == PROGRAMS
    different = [
        (seed, expected, found)
        for seed, (text, expected) in enumerate(zip(programs, theirs, strict=True))
        if expected != (found := ours(tmp_path, text))
    ]
    assert different == []
    crashes = sum(1 for lines in theirs if lines and lines[-1].startswith(CRASH))
    assert PROGRAMS // 10 < crashes < PROGRAMS
