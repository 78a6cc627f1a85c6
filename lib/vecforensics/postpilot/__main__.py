"""Make the bundled case: `python -m vecforensics.postpilot [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from vecforensics.errors import VecforensicsError
from vecforensics.postpilot import make_case


def main() -> int:
    """Make the case and say what came of it; 2 where it cannot be made."""
    folder = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[3] / "data" / "postpilot"
    )
    try:
        played = make_case(folder)
    except VecforensicsError as error:
        print(f"vecforensics: {error}", file=sys.stderr)
        return 2
    if played is None:
        print(f"{folder} stands as it was made")
    else:
        end = "the process crashed" if played.crashed else "the process ran to its end"
        print(
            f"{folder}: {played.wrong:,} of {played.records:,} records wrong, {end} "
            f"after {played.duration_s:.1f} s of virtual time, {played.latency_mean_ms:.0f} ms an insert"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
