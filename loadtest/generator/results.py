"""Makes one result of what the processes of a run measured."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loadtest.generator.dialing import OWN_LIMITS
from loadtest.generator.flights import first_median_last
from loadtest.generator.latencies import LatencyRecorder, encode, merged
from loadtest.generator.messages import Counts, Part, Window
from loadtest.ledger import Settlement, Streak, second_of, settle
from loadtest.wire import (
    FIRST,
    LAST,
    MEDIAN,
    Generator,
    Histograms,
    HostClock,
    Ledger,
    Measured,
    Plan,
    ReceiverLedger,
    RecoveryLedger,
    StepLedger,
)

MAX_CPU_PERCENT: Final = 90.0
MAX_LAG_P99_US: Final = 50_000.0
MAX_LATE_SHARE: Final = 0.01
WORST: Final = 20  # receivers that are named
_ODDITIES: Final = ("duplicated", "reordered", "late", "misdelivered", "unknown", "corrupt")


@dataclass(frozen=True, slots=True)
class Course:
    """When a run was what; ns are this machine's monotonic ones."""

    started_at_ms: int
    started_ns: int
    window: Window
    was_interrupted: bool
    rss_kib: tuple[int, int] | None
    workers: int = 1
    is_target_alive: bool = False  # asked only where every connection was lost


def measured(plan: Plan, parts: list[Part], course: Course) -> Measured:
    """Return the result of all parts."""
    counts = Counts()
    for part in parts:
        counts.add(part.counts)
    lost_ns = max((part.all_lost_ns for part in parts), default=0) if all(p.all_lost_ns for p in parts) else 0
    lost_at_s = round((lost_ns - course.started_ns) / 1e9, 2) if lost_ns else None
    settled = _settled(parts, course.started_ns)
    receivers = _receivers(plan, parts, settled.lost_of)
    uncertainty_us = max((part.clock_uncertainty_us for part in parts), default=0.0)
    return Measured(
        run_id=plan.run_id,
        started_at_ms=course.started_at_ms,
        steady_s=round((course.window.end_ns - course.window.start_ns) / 1e9, 3),
        peak_connections=counts.peak,
        connections_opened=counts.opened,
        connections_failed=counts.failed,
        connections_lost=counts.lost,
        sent=counts.counted_sent,
        asked=counts.counted_sent + counts.unsent,
        away_s=round(sum(part.away_ns for part in parts) / 1e9, 3),
        received=counts.counted_received,
        errors=counts.errors,
        close_codes=counts.close_codes,
        close_reasons=counts.close_reasons,
        all_lost_at_s=lost_at_s,
        target_died_at_s=None if course.is_target_alive else lost_at_s,
        workers=dict(sorted(counts.workers.items())),
        resumed=counts.resumed,
        recovery=recovery_of(counts),
        heartbeats_missed=counts.heartbeats_missed,
        server_rss_kib=course.rss_kib,
        ledger=settled.ledger,
        receivers=tuple(receivers[:WORST]),
        receivers_affected=len(receivers),
        steps=_steps(parts),
        marks=sum(part.marks for part in parts),
        unpaired=sum(part.unpaired for part in parts),
        lost_by_second=dict(sorted(settled.lost_at_s.items())),
        histograms=_histograms(parts),
        generator=_generator(parts, counts, course.workers),
        clock=HostClock("estimated", uncertainty_us) if uncertainty_us else HostClock(),
        was_interrupted=course.was_interrupted,
    )


def recovery_of(counts: Counts) -> RecoveryLedger | None:
    """Return what became of those who came back to their sessions, None if nobody could."""
    if not counts.resumes:
        return None
    is_proven = counts.events_confirmed > 0 or counts.events_lost > 0
    return RecoveryLedger(
        asked=counts.resumes,
        resumed=counts.resumed,
        unrecovered=counts.unrecovered,
        confirmed=counts.events_confirmed,
        replayed=counts.replayed if counts.events else None,
        lost=counts.events_lost if is_proven else None,
        doubled=counts.events_doubled if counts.events or counts.events_doubled else None,
    )


def _settled(parts: list[Part], origin_ns: int) -> Settlement:
    oddities = {name: sum(getattr(part, name) for part in parts) for name in _ODDITIES}
    replies = sum(part.replies_expected for part in parts)
    if replies:
        received = sum(part.replies_received for part in parts)
        ledger = Ledger(replies, replies, received, replies - received, **oddities)
        lost = [(index, sent_ns) for part in parts for index, sent in part.unanswered.items() for sent_ns in sent]
        lost_at_s = Counter(second_of(sent_ns, origin_ns) for _, sent_ns in lost)
        return Settlement(ledger, Counter(index for index, _ in lost), lost_at_s)
    streaks: defaultdict[Streak, list[int]] = defaultdict(list)
    for part in parts:
        for streak, receivers in part.streaks:
            streaks[streak] += receivers
    return settle([log for part in parts for log in part.logs], streaks, origin_ns, **oddities)


def _receivers(plan: Plan, parts: list[Part], lost_of: Mapping[int, int]) -> list[ReceiverLedger]:
    """Return every connection at which something went wrong, the worst first."""
    found: dict[int, Counter[str]] = {index: Counter(lost=lost) for index, lost in lost_of.items()}
    for part in parts:
        for index, faults in part.faults:
            found.setdefault(index, Counter()).update(faults)
    worst_first = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))
    is_shared = any(part.logs for part in parts)
    sessions, rooms = plan.sessions if is_shared and not plan.rooms else 0, plan.rooms
    return [
        ReceiverLedger(index, index % sessions if sessions else None, dict(faults), index % rooms if rooms else None)
        for index, faults in worst_first
    ]


def _steps(parts: list[Part]) -> dict[str, StepLedger]:
    steps: defaultdict[str, StepLedger] = defaultdict(StepLedger)
    for part in parts:
        for name, ledger in part.steps.items():
            steps[name].expected += ledger.expected
            steps[name].lost += ledger.lost
    return dict(sorted(steps.items(), key=lambda item: -item[1].lost))


def _histograms(parts: list[Part]) -> Histograms:
    names = sorted({name for part in parts for name in part.histograms})
    encoded = {name: merged(part.histograms[name] for part in parts if name in part.histograms) for name in names}
    landed = [part.landed for part in parts if part.landed is not None]
    if landed:
        recorders = {name: LatencyRecorder() for name in (FIRST, MEDIAN, LAST)}
        for latencies_us in first_median_last(landed):
            for recorder, latency_us in zip(recorders.values(), latencies_us, strict=True):
                recorder.record((latency_us * 1000,))
        for name, recorder in recorders.items():
            recorder.fold_all()
            encoded[name] = encode(recorder.histogram)
    return Histograms(encoded)


def _generator(parts: list[Part], counts: Counts, workers: int) -> Generator:
    sent = counts.counted_sent
    generators = [part.generator for part in parts]
    cpu_percent = max((generator.cpu_percent for generator in generators), default=0.0)
    lag_p99_us = max((generator.lag_p99_us for generator in generators), default=0.0)
    late_sends = sum(generator.late_sends for generator in generators)
    doubts = []
    if cpu_percent > MAX_CPU_PERCENT:
        doubts.append(f"the generator used {cpu_percent:.0f} % of a processor: use more processes or less load")
    if lag_p99_us > MAX_LAG_P99_US:
        doubts.append(f"the generator's loop was {lag_p99_us / 1000:.0f} ms late at p99")
    if sent and late_sends > sent * MAX_LATE_SHARE:
        doubts.append(f"{late_sends / sent:.0%} of the messages were sent more than 10 ms after they were due")
    own = {text: count for text, count in counts.errors.items() if text.endswith(OWN_LIMITS)}
    doubts += [f"connections failed on this machine: {text} ×{count:,}" for text, count in own.items()]
    if len(parts) < workers:
        doubts.append(f"{workers - len(parts)} of {workers} processes gave no result")
    return Generator(
        cpu_percent=cpu_percent,
        lag_p99_us=lag_p99_us,
        lag_max_us=max((generator.lag_max_us for generator in generators), default=0.0),
        open_files=max((generator.open_files for generator in generators), default=0),
        file_limit=min((generator.file_limit for generator in generators), default=0),
        receive_floor_us=max((generator.receive_floor_us for generator in generators), default=0.0),
        late_sends=late_sends,
        doubts=tuple(doubts),
    )
