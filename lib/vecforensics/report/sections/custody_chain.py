"""The chain of custody: what went in, before and after, what the conclusions rest on, and with which tools."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.custody import git_revision, tool_versions
from vecforensics.report.account import Account
from vecforensics.report.blocks import (
    Align,
    Block,
    Cell,
    Code,
    Column,
    Listing,
    Paragraph,
    Section,
    Signal,
    State,
    Subheading,
    Table,
    joined,
)  # fmt: skip
from vecforensics.report.wording import count, quoted

__all__ = ["custody_chain"]


def custody_chain(account: Account) -> Section:
    """Digests, tools, and how to check them."""
    return Section("custody", "Chain of custody", tuple(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    yield Paragraph.of(
        "SHA-256 of each input when the evidence was collected, and when this report was written. "
        "All digests, of every file of the run, stand in ", Code("manifest.json"), "; the command below checks them again. "
        "It names the stages that were run again later, and tells what they wrote from what nobody of this run did.",
    )  # fmt: skip
    yield Listing(quoted("vecforensics", "verify", account.run_path), language="sh")
    yield _inputs(account)
    digests = list(_evidence(account))
    if digests:
        yield Subheading("Frozen evidence")
        yield Table(
            "Content digests that the findings rest on", (Column("What"), Column("Digest")), tuple(digests)
        )
    stores = list(_stores(account))
    if stores:
        yield Table(
            "How the stores were read",
            (
                Column("Collection"),
                Column("Snapshot"),
                Column("Consistency"),
                Column("Writing while investigating"),
            ),
            tuple(stores),
        )
    yield Subheading("Tools")
    revision = git_revision(account.case.folder)
    versions = {**tool_versions(), **({"git revision of the case": revision} if revision else {})}
    yield Paragraph.of(*joined([Code(f"{name} {version}") for name, version in versions.items()]), ".")


def _inputs(account: Account) -> Table:
    before = {
        (row.text("role"), row.text("name")): row.text("sha256") for row in account.inputs.each("inputs")
    }
    rows: list[tuple[Cell, ...]] = []
    for item in account.inputs_now:
        was, now = before.get((item.role, item.name), ""), item.sha256 or ""
        if not was or not now:
            says = Signal(item.note or "not digested when collected", State.UNKNOWN)
        elif was == now:
            says = Signal("unchanged", State.GOOD)
        elif item.role == "target" and account.applied:
            says = Signal("changed by the repair", State.PLAIN)
        else:
            says = Signal("changed since", State.BAD)
        rows.append(
            (
                item.role,
                (Code(item.name, 60),),
                count(item.bytes) if now else "–",
                (Code(was[:16] + "…" if was else "–"),),
                (Code(now[:16] + "…" if now else "–"),),
                (says,),
            )
        )
    return Table(
        "Inputs; the first 16 digits of each digest",
        (
            Column("Role"), Column("Name"), Column("Bytes", Align.RIGHT), Column("Before"), Column("After"), Column("State"),
        ),
        tuple(rows),
    )  # fmt: skip


def _stores(account: Account) -> Iterator[tuple[Cell, ...]]:
    for name, collection in account.evidence.items("collections"):
        facts = collection.facts("facts")
        if facts:
            snapshot = facts.values.get("snapshot")
            yield (
                (Code(name, 40),),
                (Code("–" if snapshot is None else str(snapshot), 60),),
                facts.text("freshness") or "–",
                facts.text("write_blocked") or "–",
            )


def _evidence(account: Account) -> Iterator[tuple[Cell, ...]]:
    if account.findings.facts.text("evidence_digest"):
        yield "Evidence as a whole", (Code(account.findings.facts.text("evidence_digest"), 72),)
    for name, facts in account.collections.items():
        for side in ("source", "target"):
            digest = facts.facts("digests").text(side)
            if digest:
                yield (Code(name, 40), f", {side}"), (Code(digest, 72),)
