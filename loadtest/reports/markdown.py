"""summary.md: the verdict and the figures, for a pull request or a chat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from loadtest.reports.figures import LATENCY_HEAD, facts, latency_rows
from loadtest.summary import Summary
from loadtest.verdicts import outcome_of, shown
from wscore.text import neutralise

_OUTCOMES: Final = {"holds": "held", "missed": "**missed**", "open": "**open**"}


def markdown_report(summary: Summary) -> str:
    """Return the page."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield f"# {summary.kind} load test: {summary.verdict.value}"
    yield ""
    yield f"`{_safe(summary.url)}`, run {_safe(summary.run_id)}"
    yield ""
    yield from (f"- {_safe(reason)}" for reason in summary.reasons)
    if summary.reasons:
        yield ""
    if summary.checks:
        rows = [[f"`{neutralise(check.rule)}`", shown(check), _OUTCOMES[outcome_of(check)]] for check in summary.checks]
        yield from _table(["threshold", "actual", ""], rows)
    yield from _table(LATENCY_HEAD, latency_rows(summary))
    yield from _table(["", ""], ([name, _safe(value)] for name, value in facts(summary)))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    if not rows:
        return
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _safe(text: str) -> str:
    """Return text from a server as it may stand in a table."""
    return neutralise(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
