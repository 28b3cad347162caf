"""`wsctl loadtest find-max`: probes a server until the highest load that holds is known."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cli.exits import ExitCode
from cli.loadoptions import (
    BroadcastOptions,
    By,
    LoadOptions,
    ReportOptions,
    SearchOptions,
    TargetOptions,
    VoiceLoadOptions,
)
from cli.loadplan import Place, load_plan, voice_plan
from cli.loadrun import QUICK_RULES, VOICE_RULES, Load, ready_directory, target_of, thresholds_of, title_of, write
from cli.loadview import latency
from cli.output import fail, note, out, out_json, table
from loadtest.running import NothingMeasuredError
from loadtest.search import Knee, Outcome, Search, Stop
from loadtest.speech import read_speech
from loadtest.summary import Summary, Verdict
from loadtest.wire import LATENCY, Kind, Plan, Speech
from wscore.errors import ConfigError, TargetError

GRACE_S: Final = 2.0
_START: Final = {By.CONNECTIONS: 100, By.RATE: 1000}
_CEILING: Final = {By.CONNECTIONS: 20_000, By.RATE: 1_000_000}
_VOICE_START, _VOICE_CEILING = 1, 1000
_DURATION_MS, _DRAIN_MS = 5_000, 2_000
_VOICE_DURATION_MS, _VOICE_DRAIN_MS = 20_000, 30_000
_WORDS: Final = {Outcome.HELD: "held", Outcome.BROKE: "broke", Outcome.INVALID: "is invalid"}
_UNIT: Final = {By.CONNECTIONS: "connections", By.RATE: "messages/s"}
_CALLERS: Final = "callers"


async def run_find_max(
    kind_name: str, url: str | None, options: SearchOptions, target: TargetOptions, report: ReportOptions
) -> ExitCode:
    """Search; each probe is a run of its own with `level` connections or messages a second."""
    kind = _kind(kind_name)
    is_voice = kind is Kind.VOICE
    unit = _CALLERS if is_voice else _UNIT[options.by]
    speech = _speech(options) if is_voice else None
    thresholds = thresholds_of(report, VOICE_RULES if is_voice else QUICK_RULES)
    start = options.start or (_VOICE_START if is_voice else _START[options.by])
    search = Search(
        start,
        options.ceiling or max(start, _VOICE_CEILING if is_voice else _CEILING[options.by]),
        step=options.step,
        tolerance=options.tolerance,
    )
    ready_directory(report.out)
    probes: list[dict[str, Any]] = []
    async with target_of(url, target, kind) as place:
        with Load() as load:
            while (level := search.level) is not None:
                plan = probe_plan(kind, place, target, options, level, speech)
                try:
                    summary = await load.measure(plan, thresholds, title_of(plan), grace_s=GRACE_S)
                except NothingMeasuredError:
                    break
                except TargetError as error:
                    if not probes:
                        raise
                    fail(str(error))  # it died under the last probe, or soon after
                    break
                if load.is_interrupted():
                    break
                outcome, limits = judge(summary, load.broken)
                search.report(outcome, limits)
                probes.append(_row(level, outcome, limits, summary))
                note(f"{level:,} {unit} {_WORDS[outcome]}{': ' if limits else ''}{'; '.join(limits)}")
                if report.out is not None:
                    write(summary, report.out / f"probe-{len(probes):02}-{level}")
                if load.is_interrupted():
                    break
    knee = search.knee
    is_done = search.level is None
    if report.json:
        out_json(_document(kind, options.by, knee, is_done, probes))
    else:
        _print(unit, knee, is_done, probes)
    return _exit_code(knee, is_done)


def _kind(name: str) -> Kind:
    if name not in (Kind.HEARTBEAT, Kind.BROADCAST, Kind.VOICE):
        raise ConfigError("KIND", f"{name!r} cannot be searched", "it is heartbeat, broadcast or voice")
    return Kind(name)


def _speech(options: SearchOptions) -> Speech:
    if options.by is not By.CONNECTIONS:
        raise ConfigError("--by", "callers speak as fast as people do", "leave it out: their number is what is raised")
    if options.wav is None:
        raise ConfigError("--wav", "is missing", "name a WAV file with what the callers say")
    return read_speech(options.wav)


def probe_plan(
    kind: Kind,
    place: Place,
    target: TargetOptions,
    options: SearchOptions,
    level: int,
    speech: Speech | None = None,
) -> Plan:
    """Return the plan of the probe at a level; raises ConfigError."""
    if speech is not None:
        callers = VoiceLoadOptions(
            connections=level,
            duration=_VOICE_DURATION_MS if options.duration is None else options.duration,
            drain=_VOICE_DRAIN_MS if options.drain is None else options.drain,
        )
        return msgspec.structs.replace(voice_plan(speech, place, target, callers), processes=options.processes)
    is_rate = options.by is By.RATE
    common: dict[str, Any] = {
        "connections": options.connections if is_rate else level,
        "rate": float(level) if is_rate else options.rate,
        "payload_bytes": options.payload_bytes,
        "duration": _DURATION_MS if options.duration is None else options.duration,
        "drain": _DRAIN_MS if options.drain is None else options.drain,
    }
    if kind is Kind.HEARTBEAT:
        load = LoadOptions(**common)
    else:
        load = BroadcastOptions(**common, sessions=options.sessions, publishers=options.publishers)
    return msgspec.structs.replace(load_plan(kind, place, target, load), processes=options.processes)


def judge(summary: Summary, aborted_by: str | None) -> tuple[Outcome, tuple[str, ...]]:
    """Return how a probe ended and what limits it: the rules that it missed, or the doubts about the generator."""
    if summary.verdict is Verdict.INVALID:
        return Outcome.INVALID, summary.generator.doubts or summary.reasons
    missed = [one.rule for one in summary.checks if not one.passed]
    if aborted_by is not None and aborted_by not in missed:
        missed.append(aborted_by)
    if not missed and summary.verdict is Verdict.PASSED:
        return Outcome.HELD, ()
    return Outcome.BROKE, tuple(missed) or summary.reasons


def _exit_code(knee: Knee, is_done: bool) -> ExitCode:
    if not is_done:
        return ExitCode.INTERRUPTED
    if knee.stop is Stop.GENERATOR:
        return ExitCode.INVALID_RUN
    return ExitCode.DONE if knee.level else ExitCode.THRESHOLD


def _row(level: int, outcome: Outcome, limits: tuple[str, ...], summary: Summary) -> dict[str, Any]:
    found = summary.latencies.get(LATENCY)
    return {
        "level": level,
        "outcome": outcome.name.lower(),
        "limits": list(limits),
        "sentPerS": round(summary.sent_per_s, 1),
        "p50Us": None if found is None else found.percentile_us(50),
        "p99Us": None if found is None else found.percentile_us(99),
        "maxUs": None if found is None else found.max_us,
        "generatorCpuPercent": summary.generator.cpu_percent,
    }


def _document(kind: Kind, by: By, knee: Knee, is_done: bool, probes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": kind,
        "by": by,
        "level": knee.level,
        "confirmed": knee.confirmed,
        "broken": knee.broken,
        "stop": None if knee.stop is None else knee.stop.value,
        "limits": list(knee.limits),
        "isDone": is_done,
        "probes": probes,
    }


def _print(unit: str, knee: Knee, is_done: bool, probes: list[dict[str, Any]]) -> None:
    out(verdict_line(unit, knee, is_done))
    if not probes:
        return
    out("")
    rows = [[unit, "", "sent", "p50", "p99", "max", "CPU", "limit"]]
    for one in probes:
        times = [latency(one[name]) for name in ("p50Us", "p99Us", "maxUs")]
        machine = f"{one['generatorCpuPercent']:.0f} %"
        limit = next(iter(one["limits"]), "")
        rows.append([f"{one['level']:,}", one["outcome"], f"{one['sentPerS']:,.0f}/s", *times, machine, limit])
    table(rows)


def verdict_line(unit: str, knee: Knee, is_done: bool) -> str:
    """Return the result in one sentence."""
    level = f"{knee.level:,} {unit}"
    limits = "; ".join(knee.limits)
    if not is_done:
        return f"interrupted; {level} held so far" if knee.level else "interrupted before anything held"
    if not knee.level:
        why = f"the generator cannot drive {knee.broken:,}" if knee.stop is Stop.GENERATOR else "nothing holds"
        return f"{why}: {limits}"
    match knee.stop:
        case Stop.THRESHOLD:
            return f"{level} hold, confirmed {knee.confirmed} times; {knee.broken:,} break {limits}"
        case Stop.GENERATOR:
            return f"at least {level} hold; at {knee.broken:,} the generator is the limit: {limits}"
        case Stop.CEILING:
            return f"at least {level} hold, confirmed {knee.confirmed} times; that is the --ceiling"
        case _:
            return f"{level} hold, but it never settled"
