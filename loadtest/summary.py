"""The summary of a run, which is what summary.json holds, and its verdict (docs/loadtest.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtest.histograms import Distribution, distributions
from loadtest.thresholds import Check, Threshold, check
from loadtest.wire import Generator, HostClock, Kind, Ledger, Measured, Phase, Plan, Progress
from wscore.errors import ConfigError
from wscore.text import redact
from wscore.units import format_figure

SCHEMA: Final = 1
# What makes two runs comparable: not where to and as whom, nor what names or watches the run.
_NOT_CONFIGURATION: Final = frozenset(
    ("runId", "url", "tokens", "serverPid", "insecure", "webPort", "masterPort", "expectedWorkers", "workerOf")
)


class Verdict(StrEnum):
    """INVALID: the generator could not drive the load, so the figures say nothing."""

    PASSED = "passed"
    FAILED = "failed"
    INVALID = "invalid"


class Connections(msgspec.Struct, frozen=True, rename="camel"):
    """Connections of the whole run."""

    wanted: int
    peak: int
    opened: int
    failed: int
    lost: int
    resumed: int


class Second(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One second of the run: counts since the start, rates and latencies of this second alone."""

    elapsed_s: float
    phase: str
    connected: int
    wanted: int
    sent: int
    received: int
    errors: int
    sent_per_s: float
    received_per_s: float
    p50_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None
    server_rss_kib: int | None = None
    cpu_percent: float = 0.0


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything about a run. Times in the unit that the name says, rates per second of the steady window."""

    schema: int = SCHEMA
    run_id: str
    kind: Kind
    url: str
    verdict: Verdict
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    config_hash: str
    config: dict[str, Any]
    started_at_ms: int
    steady_s: float
    sent: int
    received: int
    sent_per_s: float
    received_per_s: float
    loss: float
    ledger: Ledger
    connections: Connections
    errors: dict[str, int]
    close_codes: dict[str, int]
    heartbeats_missed: int
    server_rss_kib: tuple[int, int] | None
    target_died_at_s: float | None
    was_interrupted: bool
    latencies: dict[str, Distribution]
    generator: Generator
    clock: HostClock
    series: tuple[Second, ...]


def config_of(plan: Plan) -> dict[str, Any]:
    """Return what of a plan makes runs comparable; a recording and speech are named by their hashes."""
    config: dict[str, Any] = msgspec.to_builtins(plan)
    kept = {name: value for name, value in config.items() if name not in _NOT_CONFIGURATION}
    kept["recording"] = _digest(plan.recording) if plan.recording else None
    kept["speech"] = _digest(plan.speech) if plan.speech else None
    return kept


def config_hash(plan: Plan) -> str:
    """Return the same text for runs that can be compared."""
    return _digest(config_of(plan))


def summarise(
    plan: Plan, measured: Measured, series: Sequence[Progress], thresholds: Sequence[Threshold] = ()
) -> Summary:
    """Return the summary of a run, with its verdict."""
    steady_s = measured.steady_s or 1.0
    ledger = measured.ledger
    summary = Summary(
        run_id=plan.run_id,
        kind=plan.kind,
        url=redact(plan.url),
        verdict=Verdict.PASSED,
        reasons=(),
        checks=(),
        config_hash=config_hash(plan),
        config=config_of(plan),
        started_at_ms=measured.started_at_ms,
        steady_s=measured.steady_s,
        sent=measured.sent,
        received=measured.received,
        sent_per_s=measured.sent / steady_s,
        received_per_s=measured.received / steady_s,
        loss=ledger.lost / ledger.expected if ledger.expected else 0.0,
        ledger=ledger,
        connections=Connections(
            plan.connections,
            measured.peak_connections,
            measured.connections_opened,
            measured.connections_failed,
            measured.connections_lost,
            measured.resumed,
        ),
        errors=measured.errors,
        close_codes=measured.close_codes,
        heartbeats_missed=measured.heartbeats_missed,
        server_rss_kib=measured.server_rss_kib,
        target_died_at_s=measured.target_died_at_s,
        was_interrupted=measured.was_interrupted,
        latencies=distributions(measured.histograms.encoded),
        generator=measured.generator,
        clock=measured.clock,
        series=tuple(map(_second, series)),
    )
    checks = check(thresholds, summary)
    invalid, failures = tuple(_doubts(summary)), tuple(_failures(summary, checks, judged=bool(thresholds)))
    verdict = Verdict.INVALID if invalid else Verdict.FAILED if failures else Verdict.PASSED
    notes = ("The run was interrupted; this is what ran until then.",) if measured.was_interrupted else ()
    return msgspec.structs.replace(summary, verdict=verdict, reasons=(*invalid, *failures, *notes), checks=checks)


def encode(summary: Summary) -> bytes:
    """Return summary.json."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n"


def read_summary(path: Path) -> Summary:
    """Read a summary.json; raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"is not a summary of a load test: {error}") from None


def _second(progress: Progress) -> Second:
    values = {name: getattr(progress, name) for name in Second.__struct_fields__ if name != "phase"}
    return Second(phase=progress.phase.value, **values)


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]


def _doubts(summary: Summary) -> Iterator[str]:
    yield from summary.generator.doubts
    if summary.target_died_at_s is None and not any(one.phase == Phase.STEADY for one in summary.series):
        yield "Nothing was measured: the steady window never began."
    elif summary.kind is Kind.VOICE and not summary.ledger.expected:
        yield "Nothing was measured: no caller began a turn in the window, which should be longer."


def _failures(summary: Summary, checks: Sequence[Check], *, judged: bool) -> Iterator[str]:
    if summary.target_died_at_s is not None:
        codes = ", ".join(f"{code} ×{count}" for code, count in summary.close_codes.items()) or "no close code"
        yield f"The target died {summary.target_died_at_s:.1f} s after the start ({codes})."
    for one in checks:
        if not one.passed:
            yield f"{one.rule} was missed: {shown(one)}."
    if judged:
        return
    ledger, connections = summary.ledger, summary.connections
    counts = (
        (ledger.lost, "messages were lost"),
        (ledger.duplicated, "messages came twice"),
        (ledger.reordered, "messages came out of order"),
        (connections.failed, "connections failed"),
        (connections.lost, "connections were lost"),
        (sum(summary.errors.values()), "errors occurred"),
        (summary.heartbeats_missed, "heartbeats were missed"),
    )
    for count, what in counts:
        if count:
            yield f"{count:,} {what}."


def shown(one: Check) -> str:
    """Return what a rule came to, for people."""
    if one.actual is None:
        return "nothing of the kind was measured"
    metric = one.rule.strip()
    if "." in metric.split("<")[0].split(">")[0]:
        return f"{format_figure(one.actual / 1000)} ms"
    return f"{format_figure(one.actual * 100)} %" if metric.startswith("loss") else format_figure(one.actual, 6)
