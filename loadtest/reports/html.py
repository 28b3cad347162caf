"""report.html: one page that needs nothing else, not even a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from loadtest import wire
from loadtest.faults import FAULTS
from loadtest.reports.charts import Point, Series, chart
from loadtest.reports.figures import LATENCY_HEAD, facts, latency_name, latency_rows, ledger_columns
from loadtest.summary import Summary
from loadtest.verdicts import outcome_of, shown
from loadtest.wire import Second
from wscore.text import neutralise
from wscore.units import format_figure

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2330; --soft: #667085; --grid: #e4e7ec;
  --a: #1769e0; --b: #c2410c; --c: #15803d; --good: #15803d; --bad: #b42318; --odd: #b54708; --card: #f8fafc; }
@media (prefers-color-scheme: dark) { :root { --paper: #10151d; --ink: #e6eaf0; --soft: #9aa4b2; --grid: #2a3441;
  --a: #6ea8fe; --b: #fb923c; --c: #4ade80; --good: #4ade80; --bad: #f97066; --odd: #fdb022; --card: #171e28; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { display: inline-block; padding: .1rem .7rem; border-radius: 1rem; color: var(--paper); font-weight: 600; }
.passed { background: var(--good); } .failed { background: var(--bad); } .invalid { background: var(--odd); }
.soft, figcaption { color: var(--soft); } figcaption { font-weight: 600; margin-bottom: .5rem; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); }
figure { margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--grid); border-radius: .5rem; }
figure p { margin: .25rem 0 0; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } .x { text-anchor: middle; } .y { text-anchor: end; }
.grid { stroke: var(--grid); fill: none; } .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line.a { stroke: var(--a); } .line.b { stroke: var(--b); } .line.c { stroke: var(--c); stroke-dasharray: 5 3; }
.key { margin-right: 1rem; white-space: nowrap; } .key::before { content: "\\2014 "; font-weight: 900; }
.key.a::before { color: var(--a); } .key.b::before { color: var(--b); } .key.c::before { color: var(--c); }
@media (max-width: 640px) { body { padding: .75rem; } figure { padding: .5rem; } svg text { font-size: 21px; } }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .7rem; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child, .facts td { text-align: left; } .facts td { white-space: normal; }
.held { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
.open { color: var(--odd); font-weight: 600; }
"""


_OUTCOMES: Final = {"holds": "held", "missed": "missed", "open": "open"}


def html_report(summary: Summary) -> str:
    """Return the page; everything that a server could have written is escaped."""
    title = f"{summary.kind} load test"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head>'
        f"<body>{''.join(_body(summary, title))}</body></html>\n"
    )


def _body(summary: Summary, title: str) -> Iterator[str]:
    verdict = summary.verdict.value
    yield f'<h1>{_text(title)} <span class="verdict {verdict}">{verdict}</span></h1>'
    yield f'<p class="soft">{_text(summary.url)} · run {_text(summary.run_id)}</p>'
    if summary.reasons:
        yield f"<ul>{''.join(f'<li>{_text(reason)}</li>' for reason in summary.reasons)}</ul>"
    if summary.checks:
        rows = [[check.rule, shown(check), _OUTCOMES[outcome_of(check)]] for check in summary.checks]
        yield "<h2>Thresholds</h2>" + _table(["rule", "actual", ""], rows)
    yield "<h2>Latency</h2>" + _table(LATENCY_HEAD, latency_rows(summary))
    yield f'<h2>Over time</h2><div class="charts">{"".join(_charts(summary))}</div>'
    if summary.ledger.published:
        ledger = summary.ledger
        head, row = ["ledger", "published", "expected", "received"], ["messages"]
        row += [f"{count:,}" for count in (ledger.published, ledger.expected, ledger.received)]
        for column, count, share in ledger_columns(summary):
            head.append(column)
            row.append(count + share)
        yield "<h2>Delivery</h2>" + _table(head, [row])
    if summary.receivers:
        columns = [fault for fault in FAULTS if any(fault.field in receiver.faults for receiver in summary.receivers)]
        places = [
            name
            for name in ("session", "room")
            if any(getattr(receiver, name) is not None for receiver in summary.receivers)
        ]
        rows = [
            [
                str(receiver.connection),
                *(str(getattr(receiver, name)) for name in places),
                *(f"{receiver.faults.get(fault.field, 0):,}" for fault in columns),
            ]
            for receiver in summary.receivers
        ]
        yield f"<h2>Whose: {summary.receivers_affected:,} of {summary.connections.peak:,} connections</h2>"
        yield _table(["connection", *places, *(fault.column for fault in columns)], rows)
    rows_of_facts = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts(summary))
    yield f'<h2>The run</h2><div class="wide"><table class="facts">{rows_of_facts}</table></div>'


def _charts(summary: Summary) -> Iterator[str]:
    yield _spectrum(summary)
    series = summary.series
    yield chart(
        "Latency over time",
        "seconds",
        "ms",
        [
            Series("p50", _over_time(series, lambda second: second.p50_us, 1000), "a"),
            Series("p99", _over_time(series, lambda second: second.p99_us, 1000), "b"),
            Series("max", _over_time(series, lambda second: second.max_us, 1000), "c"),
        ],
    )
    yield chart(
        "Losses and errors",
        "seconds",
        "a second",
        [
            Series("lost, of what was sent then", _over_time(series, lambda second: second.lost), "b"),
            Series("errors", _new_in_second(series, lambda second: second.errors), "a"),
            Series("connections lost", _new_in_second(series, lambda second: second.lost_connections), "c"),
        ],
    )
    yield chart(
        "Connections",
        "seconds",
        "open",
        [
            Series("connected", _over_time(series, lambda second: second.connected), "a"),
            Series("wanted", _over_time(series, lambda second: second.wanted), "c"),
        ],
    )
    yield chart(
        "Rate",
        "seconds",
        "messages a second",
        [
            Series("sent", _over_time(series, lambda second: second.sent_per_s), "a"),
            Series("received", _over_time(series, lambda second: second.received_per_s), "b"),
        ],
    )
    yield chart(
        "Memory of the server",
        "seconds",
        "MiB",
        [Series("resident", _over_time(series, lambda second: second.server_rss_kib, 1024), "a")],
    )


def _spectrum(summary: Summary) -> str:
    """Draw percentiles over log 1/(1-p), where the tail has as much room as the rest."""
    lines = []
    for name, style in ((wire.LATENCY, "a"), (wire.SERVICE, "c")):
        found = summary.latencies.get(name)
        if found is not None:
            points = [(-math.log10(1 - percentile / 100), value / 1000) for percentile, value in found.spectrum[:-1]]
            lines.append(Series(latency_name(summary, name), points, style))
    furthest = max((x for line in lines for x, _ in line.points), default=0)
    marks = [
        (0.0, "0"),
        *(
            (float(nines), f"{format_figure(100 - 10 ** (2 - nines), nines)} %")
            for nines in range(1, int(furthest) + 1)
        ),
    ]
    return chart("Latency by percentile", "percentile", "ms", lines, x_ticks=marks, is_log=True)


def _over_time(series: Sequence[Second], figure: Callable[[Second], float | None], unit: float = 1) -> list[Point]:
    return [(second.elapsed_s, value / unit) for second in series if (value := figure(second)) is not None]


def _new_in_second(series: Sequence[Second], count: Callable[[Second], int]) -> list[Point]:
    """Return what each second adds to a count since the start."""
    return [(second.elapsed_s, max(0, count(second) - count(before))) for before, second in pairwise(series)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    return f'<td class="{text}">{text}</td>' if text in _OUTCOMES.values() else f"<td>{_text(text)}</td>"


def _text(text: str) -> str:
    return escape(neutralise(text))
