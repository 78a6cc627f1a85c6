"""The race laboratory: any migration, explored over the orders in which its operations can complete.

`explore(suspect)` answers with an `Exploration`: a witness that shows which order of events does the damage, or a certificate
that says what was proved and what was only sampled. `reproduce(case, run)` does the same for a case and leaves the result in
the run folder.

    loop.py, threads.py, javascript.py   drivers: start a suspect and run it until it is quiet (seam: driver.py)
    world.py                             the store and the embedder that a suspect sees
    play.py                              one schedule
    strategies/                          which schedules (seam: strategies/lab.py)
    check.py                             what is wrong after one
    explore.py                           the whole question
    shrink.py, witness.py, narrate.py    from a failing schedule to something readable
    rehearsal.py                         how often it fails under realistic latencies
"""

from __future__ import annotations

from vecforensics.race.exchange import exploration_from_json
from vecforensics.race.explore import explore
from vecforensics.race.model import Exploration, Trouble, Verdict, Witness
from vecforensics.race.records import generate_records
from vecforensics.race.rehearsal import Curve, Rehearsal
from vecforensics.race.stage import (
    Unexplored,
    failure_curve_of_case,
    physics_of,
    prove_corrected,
    rehearse_case,
    reproduce,
)
from vecforensics.race.suspect import load_suspect
from vecforensics.race.world import FAULTS, RateLimited, StoreUnavailable

__all__ = [
    "FAULTS",
    "Curve",
    "Exploration",
    "RateLimited",
    "Rehearsal",
    "StoreUnavailable",
    "Trouble",
    "Unexplored",
    "Verdict",
    "Witness",
    "exploration_from_json",
    "explore",
    "failure_curve_of_case",
    "generate_records",
    "load_suspect",
    "physics_of",
    "prove_corrected",
    "rehearse_case",
    "reproduce",
]
