"""A running test as samples, for whoever watches it from outside, and in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadtest.faults import FAULTS
from loadtest.wire import Phase, Plan, RunProgress
from wscore.exposition import heading, number_line

PREFIX: Final = "wsctl_loadtest_"
_HELP: Final = {
    "info": "Which run this is.",
    "phase": "1 for the phase that the run is in.",
    "connections": "Connections that are open, and that are wanted.",
    "sent_total": "Messages sent.",
    "received_total": "Messages received.",
    "errors_total": "Errors that the target is to blame for.",
    "failed_connections_total": "Connections that did not come about.",
    "lost_connections_total": "Connections that the target ended.",
    "missed_heartbeats_total": "Heartbeats that the target owed and did not send.",
    "faults_total": "Messages with a fault, by its name in the ledger.",
    "missing": "Messages that have not come though later ones have.",
    "generator_cpu_ratio": "What the busiest process of the generator uses of a processor.",
    "server_memory_bytes": "Resident memory of a server on this machine.",
    "latency_seconds": "Latencies of the window so far, of connecting since the start.",
}


@dataclass(frozen=True, slots=True)
class RunSample:
    """One value; `suffix` is `_sum` or `_count` for those of a summary."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""

    @property
    def kind(self) -> str:
        """What Prometheus calls such a metric."""
        return "counter" if self.name.endswith("_total") else "summary" if self.name == "latency_seconds" else "gauge"


def described(name: str) -> str:
    """Return what a name of a sample means, in a sentence."""
    return _HELP[name]


def samples(plan: Plan, last: RunProgress) -> Iterator[RunSample]:
    """Yield what is known after a second, those of one name after each other."""
    yield RunSample("info", 1, (("kind", plan.kind), ("run_id", plan.run_id)))
    for phase in Phase:
        yield RunSample("phase", float(phase is last.phase), (("phase", phase.value),))
    yield RunSample("connections", last.connected, (("state", "open"),))
    yield RunSample("connections", last.wanted, (("state", "wanted"),))
    yield RunSample("sent_total", last.sent)
    yield RunSample("received_total", last.received)
    yield RunSample("errors_total", last.errors)
    yield RunSample("failed_connections_total", last.failed_connections)
    yield RunSample("lost_connections_total", last.lost_connections)
    yield RunSample("missed_heartbeats_total", last.missed_heartbeats)
    for fault in FAULTS:
        if fault.field != "lost":
            yield RunSample("faults_total", getattr(last, fault.field), (("fault", fault.field),))
    yield RunSample("missing", last.lost)
    yield RunSample("generator_cpu_ratio", last.cpu_percent / 100)
    if last.server_rss_kib is not None:
        yield RunSample("server_memory_bytes", last.server_rss_kib * 1024)
    for name, figures in last.figures.items():
        label = ("latency", name)
        for percentile, value_us in figures.percentiles_us.items():
            quantile = f"{float(percentile) / 100:g}"
            yield RunSample("latency_seconds", value_us / 1e6, (label, ("quantile", quantile)))
        yield RunSample("latency_seconds", figures.mean_us * figures.count / 1e6, (label,), "_sum")
        yield RunSample("latency_seconds", figures.count, (label,), "_count")


def exposition(plan: Plan, last: RunProgress | None) -> str:
    """Return the samples in Prometheus' text format 0.0.4; nothing before the first second."""
    lines: list[str] = []
    named: set[str] = set()
    for sample in () if last is None else samples(plan, last):
        if sample.name not in named:
            named.add(sample.name)
            lines.append(heading(f"{PREFIX}{sample.name}", described(sample.name), sample.kind))
        lines.append(number_line(f"{PREFIX}{sample.name}{sample.suffix}", sample.labels, sample.value))
    return "".join(lines)
