"""How to reproduce this: the commands, exactly, with every word quoted as a shell needs it."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.report.account import Account
from vecforensics.report.blocks import Block, Code, Listing, Paragraph, Section, Subheading
from vecforensics.report.wording import quoted

__all__ = ["reproduction"]


def reproduction(account: Account) -> Section:
    """From the case file to this document, and each stage alone."""
    return Section("reproduction", "How to reproduce", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    yield Paragraph.of(
        "In the folder ",
        Code(account.base.name or "/"),
        " that holds both the case file and the run folder. The commands of this report "
        "are on the path once the environment of vecforensics is active: ",
        Code(". .venv/bin/activate"),
        " in its checkout.",
    )
    yield Subheading("A new investigation of the same case")
    yield Listing(quoted("vecforensics", "investigate", account.case_path), language="sh")
    yield Subheading("Each stage of this run again")
    lines = [account.command(stage) for stage in ("diff", "reproduce", "migrate", "report")]
    yield Listing("\n".join(lines), language="sh")
    if account.run.repro_py.is_file():
        yield Subheading("The failure alone, without this tool")
        yield Listing(quoted("python", f"{account.run_path}/race/repro.py"), language="sh")
    yield Subheading("Has anything been touched since?")
    yield Listing(quoted("vecforensics", "verify", account.run_path), language="sh")
    settings = account.findings.facts.facts("settings")
    plain = [
        f"{key} {value}"
        for key, value in sorted(settings.values.items())
        if isinstance(value, str | int | float | bool)
    ]
    if plain:
        yield Paragraph.of("Settings of the comparison: ", Code("; ".join(plain), 400), ".")
    certificate = account.exploration.facts.facts("certificate")
    if certificate:
        seed, records = certificate.count("seed"), certificate.count("records")
        yield Paragraph.of(f"The race laboratory ran with seed {seed} on {records} records.")
