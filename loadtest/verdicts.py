"""From what the driver measured to a summary with a verdict (docs/loadtest.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from loadtest.faults import FAULTS
from loadtest.histograms import distributions
from loadtest.scenarios import SCENARIOS
from loadtest.summary import Check, Connections, Summary, Verdict, config_hash, config_of
from loadtest.thresholds import Threshold, check_rules
from loadtest.wire import Generator, Measured, Plan, RunProgress, Second
from wscore.text import redact
from wscore.units import format_figure
from wscore.wallclock import now_ms

MANY_ENDS: Final = 5  # that a verdict names
MOST_ABSENT: Final = 0.01  # of the load; a run with less of it is not the run that was asked for


def summarise(
    plan: Plan, measured: Measured, series: Sequence[RunProgress], thresholds: Sequence[Threshold] = ()
) -> Summary:
    """Return the summary of a run, with its verdict."""
    steady_s = measured.steady_s or 1.0
    ledger = measured.ledger
    summary = Summary(
        run_id=plan.run_id,
        kind=plan.kind,
        url=redact(plan.url),
        protocol=plan.protocol,
        verdict=Verdict.PASSED,
        reasons=(),
        checks=(),
        config_hash=config_hash(plan),
        config=config_of(plan),
        started_at_ms=measured.started_at_ms,
        steady_s=measured.steady_s,
        asked=measured.asked,
        away_s=measured.away_s,
        sent=measured.sent,
        received=measured.received,
        sent_per_s=measured.sent / steady_s,
        received_per_s=measured.received / steady_s,
        loss=ledger.lost / ledger.expected if ledger.expected else 0.0,
        ledger=ledger,
        receivers=measured.receivers,
        receivers_affected=measured.receivers_affected,
        steps=measured.steps,
        marks=measured.marks,
        unpaired=measured.unpaired,
        connections=Connections(
            plan.connections,
            measured.peak_connections,
            measured.connections_opened,
            measured.connections_failed,
            measured.connections_lost,
            measured.resumed,
        ),
        workers=measured.workers,
        recovery=measured.recovery,
        errors=measured.errors,
        close_codes=measured.close_codes,
        close_reasons=measured.close_reasons,
        heartbeats_missed=measured.heartbeats_missed,
        server_rss_kib=measured.server_rss_kib,
        all_lost_at_s=measured.all_lost_at_s,
        target_died_at_s=measured.target_died_at_s,
        was_interrupted=measured.was_interrupted,
        latencies=distributions(measured.histograms.encoded),
        generator=measured.generator,
        clock=measured.clock,
        series=tuple(_seconds(series, measured.lost_by_second)),
    )
    checks = check_rules(thresholds, summary)
    shortages = (f"{check.rule} cannot be told of {check.shortage}." for check in checks if check.shortage)
    summary = msgspec.structs.replace(summary, checks=checks)
    invalid = (*_doubts(summary), *late_percentiles(summary, thresholds), *shortages)
    failures = tuple(_failures(summary, checks, judged=bool(thresholds)))
    verdict = Verdict.INVALID if invalid else Verdict.FAILED if failures else Verdict.PASSED
    notes = ("The run was interrupted; this is what ran until then.",) if measured.was_interrupted else ()
    return msgspec.structs.replace(summary, verdict=verdict, reasons=(*invalid, *failures, *notes))


def unmeasured(plan: Plan, reason: str) -> Summary:
    """Return the summary of a run that ended before it measured anything: it failed, for that reason alone."""
    summary = summarise(plan, _nothing(plan), ())
    return msgspec.structs.replace(summary, verdict=Verdict.FAILED, reasons=(reason,))


def undriven(plan: Plan, reason: str) -> Summary:
    """Return the summary of a run that the generator could not even begin: it is invalid, for that reason alone."""
    nothing = msgspec.structs.replace(_nothing(plan), generator=Generator(doubts=(reason,)))
    return msgspec.structs.replace(summarise(plan, nothing, ()), reasons=(reason,))


def _nothing(plan: Plan) -> Measured:
    return Measured(
        run_id=plan.run_id,
        started_at_ms=now_ms(),
        steady_s=0.0,
        peak_connections=0,
        connections_opened=0,
        connections_failed=0,
        connections_lost=0,
        sent=0,
        received=0,
    )


def _doubts(summary: Summary) -> Iterator[str]:
    yield from summary.generator.doubts
    if summary.all_lost_at_s is None and not summary.steady_s:
        yield "Nothing was measured: the steady window never began."
    else:
        yield from SCENARIOS[summary.kind].doubts(summary)


def _failures(summary: Summary, checks: Sequence[Check], *, judged: bool) -> Iterator[str]:
    if summary.all_lost_at_s is not None:
        ends = sorted((summary.close_reasons or summary.close_codes).items(), key=lambda end: -end[1])
        codes = ", ".join(f"{end} ×{count}" for end, count in ends[:MANY_ENDS]) or "no close code"
        if summary.target_died_at_s is not None:
            yield f"The target died {summary.target_died_at_s:.1f} s after the start ({codes})."
        else:
            yield f"Every connection was gone {summary.all_lost_at_s:.1f} s after the start ({codes})."
    yield from _absences(summary)
    for check in checks:
        if not check.passed and not check.shortage:
            yield f"{check.rule} was missed: {shown(check)}."
    if judged:
        return
    ledger, connections = summary.ledger, summary.connections
    counts = (
        *((getattr(ledger, fault.field), fault.sentence) for fault in FAULTS),
        (connections.failed, "connections failed"),
        (connections.lost, "connections were lost"),
        (sum(summary.errors.values()), "errors occurred"),
        (summary.heartbeats_missed, "heartbeats were missed"),
    )
    for count, what in counts:
        if count:
            yield f"{count:,} {what}."
    yield from SCENARIOS[summary.kind].failures(summary)


def _absences(summary: Summary) -> Iterator[str]:
    """Yield why much of the load did not happen, which no rule about what did can excuse."""
    unsent = summary.asked - summary.sent
    wanted_s = summary.connections.wanted * summary.steady_s
    if unsent > MOST_ABSENT * summary.asked:
        yield (
            f"{unsent:,} of {summary.asked:,} messages that were due were not sent: "
            "their connections had failed or were lost."
        )
    elif summary.away_s > MOST_ABSENT * wanted_s:
        yield f"Connections were missing for {summary.away_s / wanted_s:.0%} of the window."


def late_percentiles(summary: Summary, thresholds: Sequence[Threshold]) -> Iterator[str]:
    """Yield the rules whose percentile tells how late the generator was: what came behind a late send came late.

    A maximum that holds is no better for that, so it counts only where it was missed.
    """
    generator = summary.generator
    share = generator.late_sends / summary.sent if summary.sent else 0.0
    for threshold, check in zip(thresholds, summary.checks, strict=True):
        tail = threshold.tail() if threshold.is_of_messages else None
        if not share or tail is None or tail > share or (not tail and check.passed):
            continue
        yield (
            f"{threshold} lies within the {format_figure(share * 100)} % of messages that were sent late; "
            f"the generator's loop was late by up to {format_figure(generator.lag_max_us / 1000)} ms."
        )


def _seconds(series: Sequence[RunProgress], lost: Mapping[int, int]) -> Iterator[Second]:
    """Yield the seconds as reports have them, each with what was lost of what was sent in it."""
    rest = dict(lost)
    for progress in series:
        ended = [second for second in rest if second < round(progress.elapsed_s)]
        if progress is series[-1]:
            ended = list(rest)
        fields = {name: getattr(progress, name) for name in Second.__struct_fields__}
        yield Second(**{**fields, "lost": sum(rest.pop(second) for second in ended)})


def outcome_of(check: Check) -> str:
    """Return in a word how a rule fared."""
    return "holds" if check.passed else "open" if check.shortage else "missed"


def shown(check: Check) -> str:
    """Return what a rule came to, for people."""
    if check.actual is None:
        return "nothing of the kind was measured"
    if check.shortage:
        return f"of {check.shortage}"
    if check.unit == "us":
        return f"{format_figure(check.actual / 1000)} ms"
    return f"{format_figure(check.actual * 100)} %" if check.unit == "ratio" else format_figure(check.actual, 6)
