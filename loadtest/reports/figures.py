"""The figures of a run as (name, value) rows of text, which all reports for people share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from loadtest import wire
from loadtest.histograms import PERCENTILES
from loadtest.summary import Summary
from loadtest.wire import Kind

_ORDER = (
    *(wire.LATENCY, wire.SERVICE, wire.FIRST, wire.MEDIAN, wire.LAST),
    *(wire.ENDPOINT, wire.ASR, wire.LLM, wire.TTS, wire.E2E, wire.STALL),
    *(wire.CONNECT, wire.RECONNECT),
)
_MEANINGS = {
    wire.SERVICE: "from the sending",
    wire.CONNECT: "connecting",
    wire.FIRST: "first receiver",
    wire.MEDIAN: "median receiver",
    wire.LAST: "last receiver",
    wire.RECONNECT: "until back",
    wire.ENDPOINT: "end of speech noticed",
    wire.ASR: "recognizer",
    wire.LLM: "responder",
    wire.TTS: "synthesizer",
    wire.E2E: "server's part",
    wire.STALL: "stalls",
}

_LATENCY = {Kind.BROADCAST: "delivery", Kind.VOICE: "speech to answer"}


def milliseconds(value_us: float) -> str:
    """Return a latency in ms with the digits that matter."""
    value = value_us / 1000
    return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def latency_name(summary: Summary, name: str) -> str:
    """Return what a histogram is called for this kind of run."""
    if name != wire.LATENCY:
        return _MEANINGS.get(name, name)
    what = _LATENCY.get(summary.kind, "round trip")
    return f"{what}, from when it was due" if summary.config.get("rate") else what


def latency_rows(summary: Summary) -> Iterator[list[str]]:
    """Yield a row per histogram: name, count, percentiles, max and mean in ms."""
    for name in sorted(summary.latencies, key=_ORDER.index):
        one = summary.latencies[name]
        percentiles = [milliseconds(one.percentile_us(percentile)) for percentile in PERCENTILES]
        count = f"{one.count:,}"
        yield [latency_name(summary, name), count, *percentiles, milliseconds(one.max_us), milliseconds(one.mean_us)]


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
    if summary.kind is Kind.RECONNECT:
        yield "resumed", f"{connections.resumed:,}"
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
