"""junit.xml: each threshold is a test case, so that CI shows which one was missed."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, tostring

from loadtest.summary import Summary, Verdict
from loadtest.verdicts import shown

# What XML 1.0 cannot hold at all, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_report(summary: Summary) -> bytes:
    """Return the document. An invalid run is an error, not a failure: it says nothing about the server."""
    suite = Element("testsuite", name=f"wsctl loadtest {summary.kind}", time=f"{summary.steady_s:.3f}")
    for check in summary.checks:
        case = SubElement(suite, "testcase", classname=summary.kind, name=_clean(check.rule))
        if not check.passed and not check.shortage:
            SubElement(case, "failure", message=_clean(f"{check.rule}: {shown(check)}"))
    run = SubElement(suite, "testcase", classname=summary.kind, name="run")
    missed = sum(not result.passed and not result.shortage for result in summary.checks)
    reasons = "\n".join(map(_clean, summary.reasons))
    if summary.verdict is Verdict.INVALID:
        SubElement(run, "error", message="the run is invalid").text = reasons
    elif summary.verdict is Verdict.FAILED and not missed:
        SubElement(run, "failure", message="the run failed").text = reasons
        missed += 1
    suite.set("tests", str(len(summary.checks) + 1))
    suite.set("failures", str(missed))
    suite.set("errors", str(int(summary.verdict is Verdict.INVALID)))
    document: bytes = tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
