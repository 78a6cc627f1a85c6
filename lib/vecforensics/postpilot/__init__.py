"""The bundled case ERR-2026-57, made from its seed: PostPilot's export, and what migration.js really made of it.

Nothing is painted on. The accounts and posts are invented (`export.py`); then `migration.js`, the committed text, runs in a
JavaScript engine under a controlled schedule in virtual time, in the physical conditions of `case.yaml` (`rehearsal.physics`:
latencies, connections, rate limit), and every write that it gets acknowledged goes into a real LanceDB folder, in the order of
the acknowledgements (`incident.py`). What the script printed is migration.log.

    python -m vecforensics.postpilot [FOLDER]       make the case in data/postpilot, unless it stands there untouched
"""

from vecforensics.postpilot.incident import is_made, make_case

__all__ = ["is_made", "make_case"]
