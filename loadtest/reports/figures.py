"""The figures of a run as (name, value) rows of text, which all reports for people share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from loadtest import wire
from loadtest.faults import FAULTS
from loadtest.histograms import PERCENTILES
from loadtest.scenarios import LATENCY_TITLES, SCENARIOS, in_order
from loadtest.summary import Summary
from wscore.units import format_figure

WORST_SHOWN: Final = 5


def milliseconds(value_us: float) -> str:
    """Return a latency in ms with the digits that matter."""
    value = value_us / 1000
    return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def latency_name(summary: Summary, name: str) -> str:
    """Return what a histogram is called for this kind of run."""
    if name != wire.LATENCY:
        return LATENCY_TITLES.get(name, name)
    what = SCENARIOS[summary.kind].latency_title
    return f"{what}, from when it was due" if summary.config.get("rate") else what


def latency_rows(summary: Summary) -> Iterator[list[str]]:
    """Yield a row per histogram: name, count, percentiles, max and mean in ms."""
    for name in in_order(summary.latencies):
        found = summary.latencies[name]
        percentiles = [milliseconds(found.percentile_us(percentile)) for percentile in PERCENTILES]
        count = f"{found.count:,}"
        yield [
            latency_name(summary, name),
            count,
            *percentiles,
            milliseconds(found.max_us),
            milliseconds(found.mean_us),
        ]


def sent_of_asked(summary: Summary) -> str:
    """Return what was sent, beside what should have been where that is more."""
    return f"{summary.sent:,}" + (f" of {summary.asked:,} that were due" if summary.asked > summary.sent else "")


def ledger_columns(summary: Summary, digits: int = 4) -> Iterator[tuple[str, str, str]]:
    """Yield the faults that this kind of run looks for, or found, as (name, count, share of what was expected)."""
    looked_for = SCENARIOS[summary.kind].looked_for(summary)
    for fault in FAULTS:
        count = getattr(summary.ledger, fault.field)
        if count or fault.field in looked_for:
            share = f" ({summary.loss:.{digits}%})" if fault.field == "lost" else ""
            yield fault.column, f"{count:,}", share


def receiver_rows(summary: Summary, most: int = WORST_SHOWN) -> Iterator[str]:
    """Yield whose the losses and the other faults are, the worst first."""
    columns = {fault.field: fault.column for fault in FAULTS}
    for receiver in summary.receivers[:most]:
        counts = ", ".join(f"{count:,} {columns[name]}" for name, count in receiver.faults.items())
        places = {name: getattr(receiver, name) for name in ("session", "room")}
        place = "".join(f" of {name} {number}" for name, number in places.items() if number is not None)
        yield f"connection {receiver.connection}{place}: {counts}"
    if more := summary.receivers_affected - min(most, len(summary.receivers)):
        yield f"and {more:,} more of {summary.connections.peak:,} connections"


def spread(summary: Summary) -> str:
    """Return how the connections were spread over the workers of the server; nothing where it has but one process."""
    total = sum(summary.workers.values())
    return ", ".join(f"{count:,} on worker {number} ({count / total:.0%})" for number, count in summary.workers.items())


def late_sends(summary: Summary) -> str:
    """Return how much was sent late, and from which percentile on that is what the figures show."""
    late = summary.generator.late_sends
    if not late or not summary.sent:
        return "0 sent late"
    return f"{late:,} sent late, so what is above p{format_figure(100 * (1 - late / summary.sent), 4)} is its own doing"


LATENCY_HEAD = ["ms", "count", *(f"p{percentile:g}" for percentile in PERCENTILES), "max", "mean"]


def facts(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what else is to be known."""
    connections, ledger, generator = summary.connections, summary.ledger, summary.generator
    started = datetime.fromtimestamp(summary.started_at_ms / 1000, UTC).isoformat(timespec="seconds")
    yield "started", started
    yield "protocol", summary.protocol
    yield "steady window", f"{summary.steady_s:.1f} s"
    yield "sent", f"{sent_of_asked(summary)} ({summary.sent_per_s:,.1f}/s)"
    yield "received", f"{summary.received:,} ({summary.received_per_s:,.1f}/s)"
    yield (
        "connections",
        f"{connections.peak:,} of {connections.wanted:,}; {connections.failed:,} failed, {connections.lost:,} lost",
    )
    if summary.workers:
        yield "workers", spread(summary)
    yield from SCENARIOS[summary.kind].facts(summary)
    if ledger.published:
        faults = "".join(f", {count} {column}{share}" for column, count, share in ledger_columns(summary))
        yield (
            "ledger",
            f"{ledger.published:,} published, {ledger.expected:,} expected, {ledger.received:,} received{faults}",
        )
    if summary.receivers:
        yield "whose", "; ".join(receiver_rows(summary))
    if summary.errors:
        yield "errors", ", ".join(f"{text} ×{count:,}" for text, count in summary.errors.items())
    if ends := summary.close_reasons or summary.close_codes:
        yield "close codes", ", ".join(f"{end} ×{count:,}" for end, count in ends.items())
    if summary.heartbeats_missed:
        yield "heartbeats missed", f"{summary.heartbeats_missed:,}"
    if summary.server_rss_kib is not None:
        before, after = summary.server_rss_kib
        yield "server memory", f"{before / 1024:,.1f} → {after / 1024:,.1f} MiB"
    yield (
        "generator",
        f"{generator.cpu_percent:.0f} % of a core, loop lag p99 {milliseconds(generator.lag_p99_us)} ms, "
        f"max {milliseconds(generator.lag_max_us)} ms, {late_sends(summary)}, "
        f"{generator.receive_floor_us:.1f} µs a receipt",
    )
    clock = summary.clock
    uncertainty = "" if not clock.uncertainty_us else f" ± {milliseconds(clock.uncertainty_us)} ms"
    yield "clock", f"{clock.kind}{uncertainty}"
    yield "configuration", summary.config_hash
