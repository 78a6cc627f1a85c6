"""`junit.xml`: what a CI system shows as tests. One test case per collection and corrupt kind, and one per stage.

A kind that was found is a failure, a stage that broke an error, a stage that did not run skipped; where a collection could not be
checked in full, its `unchecked` case is skipped with the number, so that green never means "not looked at". Characters that XML
cannot hold become visible escapes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final

from vecforensics.findings import MEANING, SEVERITY, Kind, Severity, Verdict
from vecforensics.report.account import Account, StageState
from vecforensics.report.blocks import visible
from vecforensics.report.facts import Facts
from vecforensics.report.headline import headline, repair_phrase
from vecforensics.report.wording import count, plural

__all__ = ["render_junit"]

_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_EXAMPLES: Final = 10
_STAGES: Final = ("collect", "diff", "reproduce", "migrate")


def render_junit(account: Account) -> str:
    """The whole document. The same run folder gives the same bytes, times of stages apart."""
    root = ET.Element("testsuites", name=_legal(account.case.case))
    for name, facts in account.collections.items():
        root.append(_collection(account, name, facts))
    root.append(_stages(account))
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _legal(text: str, limit: int = 400) -> str:
    shown = visible(text, limit, keep="\n\t")
    return _ILLEGAL.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)


def _collection(account: Account, name: str, facts: Facts) -> ET.Element:
    suite = ET.Element("testsuite", name=_legal(name))
    place = f"{account.case.case}.{name}"
    rows, counts = facts.count("source_rows"), facts.facts("counts")
    for kind in Kind:
        if SEVERITY[kind] is not Severity.CORRUPT:
            continue
        case = _case(suite, place, kind.value)
        found = counts.count(kind.value)
        if found:
            text = f"{plural(found, 'finding')} in {plural(rows, 'record')}: {MEANING[kind]}"
            _fail(case, "failure", text, _examples(account, name, kind), kind.value)
    case = _case(suite, place, "unchecked")
    of = facts.count("of") or rows
    left = max(of - facts.count("checked"), counts.count("unchecked"), counts.count("pending"))
    if left:
        _fail(case, "skipped", f"{count(left)} of {plural(of, 'record')} could not be checked")
    return _summed(suite)


def _examples(account: Account, name: str, kind: Kind) -> str:
    found = [
        item
        for item in account.findings.facts.each("examples")
        if item.text("collection") == name and item.text("kind") == kind.value
    ]
    lines = []
    for item in found[:_MOST_EXAMPLES]:
        ids = [
            f"{label} {visible(item.text(key), 96)!r}"
            for label, key in (("source", "source_id"), ("target", "target_id"), ("partner", "partner_id"))
            if item.text(key)
        ]
        lines.append(", ".join(ids))
    return "\n".join(lines)


def _stages(account: Account) -> ET.Element:
    suite = ET.Element("testsuite", name="stages")
    for stage in _STAGES:
        seconds = account.stage_seconds(stage)
        case = _case(suite, f"{account.case.case}.stages", stage, seconds)
        match account.stage_state(stage):
            case StageState.FAILED:
                _fail(case, "error", account.stages[stage].text("error") or "failed", kind="ToolFailed")
            case StageState.RUNNING:
                _fail(case, "error", "began and never ended", kind="Interrupted")
            case StageState.NOT_RUN:
                _fail(case, "skipped", f"not run; to run it: {account.command(stage)}")
    case = _case(suite, f"{account.case.case}.stages", "verdict")
    if account.verdict is Verdict.CORRUPT:
        _fail(case, "failure", headline(account), kind="corrupt")
    elif account.verdict is Verdict.UNKNOWN:
        _fail(case, "skipped", headline(account))
    case = _case(suite, f"{account.case.case}.stages", "repair verified")
    if account.repaired is Verdict.CORRUPT:
        _fail(case, "failure", "the verification after the repair still finds corruption", kind="corrupt")
    elif account.repaired is not Verdict.CLEAN:
        _fail(
            case,
            "skipped",
            f"no repair was verified: {repair_phrase(account)}"
            if account.repaired is None
            else "not everything could be verified",
        )
    return _summed(suite)


def _case(suite: ET.Element, place: str, name: str, seconds: float | None = None) -> ET.Element:
    time = f"{max(seconds or 0.0, 0.0):.3f}"
    return ET.SubElement(suite, "testcase", classname=_legal(place), name=_legal(name), time=time)


def _fail(case: ET.Element, tag: str, message: str, text: str = "", kind: str = "") -> None:
    """Add a failure, an error or a skip with its message."""
    entry = ET.SubElement(case, tag, message=_legal(message))
    if kind:
        entry.set("type", kind)
    if text:
        entry.text = _legal(text, 4_000)


def _summed(suite: ET.Element) -> ET.Element:
    """Put the counts on the suite, as the readers of this format expect them."""
    suite.set("tests", str(len(suite)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in suite)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in suite):.3f}")
    return suite
