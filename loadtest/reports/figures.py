"""The figures of a run as (name, value) rows of text, which all reports for people share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from loadtest import wire
from loadtest.histograms import PERCENTILES
from loadtest.scenarios import LATENCY_TITLES, SCENARIOS
from loadtest.summary import Summary


def milliseconds(value_us: float) -> str:
    """Return a latency in ms with the digits that matter."""
    value = value_us / 1000
    return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def latency_name(summary: Summary, name: str) -> str:
    """Return what a histogram is called for this kind of run."""
    if name != wire.LATENCY:
        return LATENCY_TITLES[name]
    what = SCENARIOS[summary.kind].latency_title
    return f"{what}, from when it was due" if summary.config.get("rate") else what


def latency_rows(summary: Summary) -> Iterator[list[str]]:
    """Yield a row per histogram: name, count, percentiles, max and mean in ms."""
    for name in LATENCY_TITLES:
        found = summary.latencies.get(name)
        if found is None:
            continue
        percentiles = [milliseconds(found.percentile_us(percentile)) for percentile in PERCENTILES]
        count = f"{found.count:,}"
        yield [
            latency_name(summary, name),
            count,
            *percentiles,
            milliseconds(found.max_us),
            milliseconds(found.mean_us),
        ]


LATENCY_HEAD = ["ms", "count", *(f"p{percentile:g}" for percentile in PERCENTILES), "max", "mean"]


def facts(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what else is to be known."""
    connections, ledger, generator = summary.connections, summary.ledger, summary.generator
    started = datetime.fromtimestamp(summary.started_at_ms / 1000, UTC).isoformat(timespec="seconds")
    yield "started", started
    yield "steady window", f"{summary.steady_s:.1f} s"
    yield "sent", f"{summary.sent:,} ({summary.sent_per_s:,.1f}/s)"
    yield "received", f"{summary.received:,} ({summary.received_per_s:,.1f}/s)"
    yield (
        "connections",
        f"{connections.peak:,} of {connections.wanted:,}; {connections.failed:,} failed, {connections.lost:,} lost",
    )
    yield from SCENARIOS[summary.kind].facts(summary)
    if ledger.published:
        yield (
            "ledger",
            f"{ledger.published:,} published, {ledger.expected:,} expected, {ledger.received:,} received, "
            f"{ledger.lost:,} lost ({summary.loss:.4%}), {ledger.duplicated:,} twice, "
            f"{ledger.reordered:,} out of order",
        )
    if summary.errors:
        yield "errors", ", ".join(f"{text} ×{count:,}" for text, count in summary.errors.items())
    if summary.close_codes:
        yield "close codes", ", ".join(f"{code} ×{count:,}" for code, count in summary.close_codes.items())
    if summary.heartbeats_missed:
        yield "heartbeats missed", f"{summary.heartbeats_missed:,}"
    if summary.server_rss_kib is not None:
        before, after = summary.server_rss_kib
        yield "server memory", f"{before / 1024:,.1f} → {after / 1024:,.1f} MiB"
    yield (
        "generator",
        f"{generator.cpu_percent:.0f} % of a core, loop lag p99 {milliseconds(generator.lag_p99_us)} ms, "
        f"{generator.late_sends:,} sent late, {generator.receive_floor_us:.1f} µs a receipt",
    )
    clock = summary.clock
    uncertainty = "" if not clock.uncertainty_us else f" ± {milliseconds(clock.uncertainty_us)} ms"
    yield "clock", f"{clock.kind}{uncertainty}"
    yield "configuration", summary.config_hash
