"""What a certificate says, line by line: what was tried, what that proves, and what it does not see."""

from __future__ import annotations

import shlex

from vecforensics.race.model import Certificate, Exploration, Pass
from vecforensics.race.views.words import clip

__all__ = ["certificate_lines", "conflicts_text", "pass_rows", "probability", "replay_command"]


def pass_rows(certificate: Certificate) -> list[tuple[str, str, str, str, str]]:
    """Strategy, granularity, schedules, failures, and whether its space was exhausted, for each pass."""
    return [
        (item.strategy, item.granularity, f"{item.schedules:,}", f"{item.failures:,}", _extent(item))
        for item in certificate.passes
    ]


def _extent(item: Pass) -> str:
    extent = "exhaustive" if item.exhaustive else "sampled"
    return f"{extent}; {clip(item.note, 120)}" if item.note else extent


def conflicts_text(certificate: Certificate) -> str:
    """What DPOR took for dependent; where a driver does not tell it, there is no DPOR and every order was a case of its own."""
    if certificate.conflicts:
        return "; ".join(certificate.conflicts)
    return (
        f"none are known for {certificate.driver}: no order was left out for being equal to another (no DPOR)"
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def probability(bound: float) -> str:
    """ "0.062 or more"; a bound of one is certainty."""
    return f"{bound:.2g} or more" if bound < 1 else "1"


def certificate_lines(exploration: Exploration) -> list[str]:
    """The certificate as plain lines, for terminals and Markdown."""
    certificate = exploration.certificate
    lines = [
        f"certificate: {_many(certificate.records, 'record')}, {_many(certificate.schedules, 'schedule')}, "
        f"seed {certificate.seed}, driver {certificate.driver}, {'exhaustive' if certificate.exhaustive else 'not exhaustive'}"
    ]
    for strategy, granularity, schedules, failures, extent in pass_rows(certificate):
        noun = "schedule" if schedules == "1" else "schedules"
        lines.append(f"  {strategy} ({granularity}): {schedules} {noun}, {failures} failing, {extent}")
    lines.append(f"  conflicts considered: {conflicts_text(certificate)}")
    lines.append(f"  faults considered: {', '.join(certificate.faults) or 'none'}")
    for depth, bound in sorted(certificate.pct_bound.items()):
        lines.append(
            f"  a bug of depth {depth} is hit by one PCT schedule with probability {bound:.2g} or more"
        )
    lines += [f"  not seen: {clip(item, 200)}" for item in certificate.not_seen]
    return lines


def replay_command(exploration: Exploration) -> str:
    """What to type to play the witness again, quoted for a shell; "" without a witness.

    A schedule on a case's own records is replayed from the run that froze them (`Exploration.replayed_from`).
    """
    if exploration.witness is None:
        return ""
    place = exploration.replayed_from or exploration.suspect
    return shlex.join(["vecforensics", "race", place, "--replay", exploration.witness.replay])
