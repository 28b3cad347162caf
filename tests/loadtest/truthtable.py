"""The truth table: servers with one known fault each, and what a load test shows of it, exactly that and nothing else.

A cell is a number, or a range where it depends on the moment; `truth` are the server's own counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from loadtest.faults import FAULTS
from loadtest.summary import Summary
from loadtest.wire import CONNECT, LATENCY, Histograms

COLUMNS: Final = (*(fault.column for fault in FAULTS), "errors", "failed", "lost connections", "unsent", "slow", "died")
SLOW_US: Final = 900_000
SOME: Final = range(1, 1 << 30)

Cell = int | range | str  # a text names one of the server's own counts


@dataclass(frozen=True)
class Row:
    """One server: its fault in words, what the stub is told, the run, and what that shows beside nothing."""

    fault: str
    lies: Mapping[str, Any]
    shows: Mapping[str, Cell]
    kind: str = "heartbeat"
    plan: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[str, ...] = ()  # the texts of them


# 100 requests, 10 of which it happens to; or 50 messages in each of two sessions of two, 5 of which: 20 deliveries.
_ROOMS: Final = {"kind": "broadcast", "plan": {"sessions": 2, "payload_bytes": 200, "drain_s": 1.0}}
_LONG: Final = {"drain_s": 2.0}

TRUTH_TABLE: Final = (
    Row("none", {}, {}),
    Row("none, of broadcasts", {}, {}, **_ROOMS),
    Row("loss of replies", {"lose": 3}, {"lost": 10}),
    Row("loss", {"lose": 3}, {"lost": 20}, **_ROOMS),
    Row("duplicate replies", {"repeat": 7}, {"twice": 10}),
    Row("duplicates", {"repeat": 7}, {"twice": 20}, **_ROOMS),
    # A message that is held back when all is over comes last, and so in order.
    Row("reorder", {"swap": 5}, {"out of order": range(16, 21)}, **_ROOMS),
    Row("misroute: to another session instead", {"misroute": 3}, {"lost": 20, "misdelivered": 20}, **_ROOMS),
    Row("misroute: to another connection instead", {"misroute": 3}, {"lost": 10, "misdelivered": 10}),
    Row("leak: to another session too", {"leak": 3}, {"misdelivered": 20}, **_ROOMS),
    Row("wrong id in replies", {"wrong_id": 3}, {"lost": 10, "unknown": 10}),
    Row("corrupt in its padding", {"spoil": 3}, {"corrupt": 20}, **_ROOMS),
    Row("corrupt in its number", {"deface": 3}, {"lost": 20, "corrupt": 20}, **_ROOMS),
    Row(
        "delay of 1 in 1,000 by a second",
        {"delay_one_in": 1000, "slow_ms": 1000},
        {"slow": 1},
        plan={"rate": 2000.0, **_LONG},
    ),
    Row(
        "replies after the reply timeout",
        {"delay_ms": 400},
        {"late": 100},
        plan={"reply_timeout_s": 0.2, "drain_s": 2.0},
    ),
    Row("stall of a second", {"stall_after": 60, "stall_s": 1.0}, {"slow": SOME}, plan={"duration_s": 1.0, **_LONG}),
    Row(
        "death",
        {"die_after": 150},
        {"lost": SOME, "lost connections": 4, "died": 1, "unsent": range(1 << 30)},
        plan={"duration_s": 2.0},
    ),
    Row("refusals", {"accept": 3}, {"failed": 2, "errors": 2, "unsent": 50}, errors=("HTTP 503",)),
    Row(
        "mute greeting",
        {"greets": 3},
        {"failed": 2, "errors": 2, "unsent": 50},
        plan={"handshake_timeout_s": 0.5},
        errors=("no session_created within 0.5 s",),
    ),
    Row("clock an hour ahead", {"skew_ms": 3_600_000}, {}, **_ROOMS),
    Row("garbled replies", {"garble": 3}, {"lost": 10, "errors": "garbled"}, errors=("a text that is not JSON",)),
    Row("binary replies", {"binary": 3}, {"lost": 10, "errors": "garbled"}, errors=("a binary frame",)),
    Row("slow accept, by a second", {"accept_after_s": 1.0}, {"slow": 4}),
    Row("one bad receiver", {"lose": 3, "only_first": True}, {"lost": 10}, kind="broadcast"),
    Row("two greetings", {"greetings": 2}, {"errors": 4}, errors=("session_created came twice",)),
)


def shown(summary: Summary, histograms: Histograms) -> dict[str, int]:
    """Return everything that a run shows to be wrong, by column."""
    ledger, connections = summary.ledger, summary.connections
    figures = {
        **{fault.column: getattr(ledger, fault.field) for fault in FAULTS},
        "errors": sum(summary.errors.values()),
        "failed": connections.failed,
        "lost connections": connections.lost,
        "unsent": summary.asked - summary.sent,
        "slow": sum(_slow(histograms, name) for name in (LATENCY, CONNECT)),
        "died": int(summary.target_died_at_s is not None),
    }
    return {name: count for name, count in figures.items() if count}


def _slow(histograms: Histograms, name: str) -> int:
    from hdrh.histogram import HdrHistogram

    text = histograms.encoded.get(name)
    if text is None:
        return 0
    counts = HdrHistogram.decode(text).get_recorded_iterator()
    return sum(item.count_added_in_this_iter_step for item in counts if item.value_iterated_to >= SLOW_US)


def matches(cell: Cell, count: int, truth: Mapping[str, int]) -> bool:
    """Tell whether a count is what a cell of the table says."""
    if isinstance(cell, range):
        return count in cell
    return count == (truth[cell] if isinstance(cell, str) else cell)


def table(word: Callable[[Cell], str]) -> list[str]:
    """Return the matrix as Markdown; `word` writes a cell."""
    head = ["the server's fault", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in TRUTH_TABLE:
        cells = [word(row.shows[column]) if column in row.shows else "" for column in COLUMNS]
        lines.append(f"| {' | '.join([row.fault, *cells])} |")
    return lines
