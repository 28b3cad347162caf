"""What a load test prints: the verdict first, then the figures; and the comparison of two runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.exits import ExitCode
from cli.loadrun import summary_file
from cli.loadview import latency
from cli.output import fail, note, out, out_json, table
from loadtest.comparison import Change, Comparison, InvalidRunError, Row, compare
from loadtest.reports.figures import late_sends, ledger_columns, receiver_rows, sent_of_asked, spread
from loadtest.scenarios import LATENCY_TITLES, SCENARIOS, in_order
from loadtest.summary import Summary, read_summary
from loadtest.verdicts import outcome_of, shown
from wscore.text import neutralise
from wscore.units import format_figure

_PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 99.99)
_MARKS: Final = {Change.SAME: "", Change.BETTER: "better", Change.WORSE: "worse"}
_MANY: Final = 5  # kinds of errors that are listed


def print_summary(summary: Summary, *, json: bool) -> None:
    """Print one run."""
    if json:
        out_json(msgspec.to_builtins(summary))
        return
    out(f"{summary.verdict.upper()}  {summary.kind} {neutralise(summary.url)}")
    for reason in summary.reasons:
        out(f"  {neutralise(reason)}")
    out("")
    if summary.latencies:
        table(_latencies(summary), indent="  ")
        out("")
    table(_figures(summary), indent="  ")


def print_summaries(summaries: Sequence[Summary], *, json: bool) -> None:
    """Print the runs of the quick test; as JSON they are one document, each under its kind."""
    if json:
        out_json({str(summary.kind): msgspec.to_builtins(summary) for summary in summaries})
        return
    for number, summary in enumerate(summaries):
        if number:
            out("")
        print_summary(summary, json=False)


def _latencies(summary: Summary) -> Iterator[list[str]]:
    yield ["", *(f"p{percent:g}" for percent in _PERCENTILES), "max", "count"]
    for name in in_order(summary.latencies):
        found = summary.latencies[name]
        figures = [latency(found.percentile_us(percent)) for percent in _PERCENTILES]
        yield [
            neutralise(LATENCY_TITLES.get(name, name)) or SCENARIOS[summary.kind].latency_title,
            *figures,
            latency(found.max_us),
            f"{found.count:,}",
        ]


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    for number, check in enumerate(summary.checks):
        yield (
            "thresholds" if number == 0 else "",
            f"{check.rule}: {outcome_of(check)} ({shown(check)})",
        )
    yield "protocol", neutralise(summary.protocol)
    yield "sent", f"{sent_of_asked(summary)} ({summary.sent_per_s:,.0f}/s for {format_figure(summary.steady_s)} s)"
    yield "received", f"{summary.received:,} ({summary.received_per_s:,.0f}/s)"
    ledger = summary.ledger
    if ledger.expected:
        faults = ledger_columns(summary, 3)
        yield (
            "ledger",
            ", ".join([f"expected {ledger.expected:,}", *(f"{name} {count}{share}" for name, count, share in faults)]),
        )
    for number, row in enumerate(receiver_rows(summary)):
        yield "whose" if number == 0 else "", row
    connections = summary.connections
    yield (
        "connections",
        f"{connections.peak:,} at once, {connections.opened:,} opened, {connections.failed:,} failed, "
        f"{connections.lost:,} lost",
    )
    if summary.workers:
        yield "workers", spread(summary)
    if summary.errors:
        yield "errors", _counts(summary.errors)
    if ends := summary.close_reasons or summary.close_codes:
        yield "close codes", _counts(ends)
    yield from SCENARIOS[summary.kind].facts(summary)
    if summary.server_rss_kib is not None:
        before, after = (kib / 1024 for kib in summary.server_rss_kib)
        yield "server", f"memory {before:,.1f} MiB, at the end {after:,.1f} MiB"
    generator = summary.generator
    yield (
        "generator",
        f"CPU {generator.cpu_percent:.0f} %, loop p99 {latency(generator.lag_p99_us)} late, "
        f"max {latency(generator.lag_max_us)}; {late_sends(summary)}",
    )
    if summary.clock.uncertainty_us:
        yield "clock", f"{summary.clock.kind}, uncertain by {latency(summary.clock.uncertainty_us)}"


def _counts(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} ×{count:,}" for name, count in most[:_MANY])
    return f"{listed}, and {len(most) - _MANY} more kinds" if len(most) > _MANY else listed


def run_compare(before: Path, after: Path, *, json: bool) -> ExitCode:
    """Compare two summaries; raises ConfigError for what is none."""
    try:
        comparison = compare(read_summary(summary_file(before)), read_summary(summary_file(after)))
    except InvalidRunError as error:
        fail(str(error))
        return ExitCode.INVALID_RUN
    if json:
        out_json(_document(comparison))
    else:
        _print_comparison(comparison)
    return ExitCode.THRESHOLD if comparison.is_worse else ExitCode.DONE


def note_comparison(comparison: Comparison) -> None:
    """Say in a few lines how a run compares with its baseline."""
    for line in _lines(comparison):
        note(line)
    for row in comparison.rows:
        if row.change is not Change.SAME:
            note(f"  {' '.join(cell for cell in _cells(row) if cell)}")


def _print_comparison(comparison: Comparison) -> None:
    for line in _lines(comparison):
        out(neutralise(line))
    out("")
    table([["", "A", "B", "change", "tolerance", ""], *map(_cells, comparison.rows)], indent="  ")


def _lines(comparison: Comparison) -> Iterator[str]:
    yield "worse than before" if comparison.is_worse else "not worse than before"
    if not comparison.same_configuration:
        yield "the runs were configured differently:"
        for difference in comparison.differences:
            yield f"  {difference}"


def _cells(row: Row) -> list[str]:
    change = f"{row.ratio - 1:+.1%}" if row.before else "" if row.before == row.after else "new"
    tolerance = f"±{row.tolerance:.0%}" if row.tolerance else ""
    return [
        row.metric,
        _number(row.before, row.unit),
        _number(row.after, row.unit),
        change,
        tolerance,
        _MARKS[row.change],
    ]


def _number(value: float, unit: str) -> str:
    return latency(value * 1000) if unit == "ms" else f"{format_figure(value, 6)}{unit}"


def _document(comparison: Comparison) -> dict[str, Any]:
    rows = [
        {
            "metric": row.metric,
            "unit": row.unit,
            "before": row.before,
            "after": row.after,
            "tolerance": row.tolerance,
            "change": row.change,
        }
        for row in comparison.rows
    ]
    return {
        "isWorse": comparison.is_worse,
        "sameConfiguration": comparison.same_configuration,
        "differences": list(comparison.differences),
        "rows": rows,
    }
