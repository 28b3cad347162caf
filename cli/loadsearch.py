"""`wsctl loadtest find-max`: probes a server until the highest load that holds is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.exits import ExitCode
from cli.loadmetrics import metrics_on
from cli.loadplan import Place, content_of, plan_of
from cli.loadpublish import publish
from cli.loadrun import LoadRunner, ready_directory, target_of, thresholds_of, title_of
from cli.loadview import latency
from cli.options.load import By, LoadTargetOptions, ReportOptions, SearchOptions
from cli.output import note, out, out_json, table
from loadtest.running import NothingMeasuredError
from loadtest.scenarios import SCENARIOS
from loadtest.scenarios.base import Scenario, SearchRange
from loadtest.search import Knee, Outcome, Search, Stop
from loadtest.summary import Summary, Verdict
from loadtest.thresholds import Threshold
from loadtest.verdicts import late_percentiles, unmeasured
from loadtest.wire import LATENCY, Plan
from wscore.errors import ConfigError, CredentialError, TargetError, WsctlError
from wscore.units import join_words

GRACE_S: Final = 2.0
REFUSALS: Final = 3  # in a row, after which the target is gone
REFUSED_PAUSE_S: Final = 1.0
_WORDS: Final = {
    Outcome.HELD: "held",
    Outcome.BROKE: "broke",
    Outcome.INVALID: "is invalid",
    Outcome.UNTOLD: "tells nothing",
}


async def run_find_max(
    kind_name: str, url: str | None, options: SearchOptions, target: LoadTargetOptions, report: ReportOptions
) -> ExitCode:
    """Search; each probe is a run of its own with `level` connections or messages a second."""
    scenario = _scenario(kind_name)
    found = _range(scenario, options)
    by_rate = options.by is By.RATE
    unit = "messages/s" if by_rate else found.unit
    content = content_of(scenario, _file(scenario, options))
    thresholds_of(report)  # before anything runs
    first, last = found.rate if by_rate and found.rate is not None else found.connections
    start = options.start or first
    search = Search(start, options.ceiling or max(start, last), step=options.step, tolerance=options.tolerance)
    ready_directory(report.out)
    probes: list[dict[str, Any]] = []
    refusals = 0
    ended_by: WsctlError | None = None
    async with target_of(url, target, scenario) as place, metrics_on(report) as metrics:
        with LoadRunner(metrics, place) as load:
            while (level := search.level) is not None:
                plan = probe_plan(scenario, place, target, options, level, content)
                thresholds = thresholds_of(report, scenario.rules_for(plan.protocol))
                try:
                    summary = await load.measure(plan, thresholds, title_of(plan), grace_s=GRACE_S)
                except NothingMeasuredError:
                    break
                except WsctlError as error:
                    refusals += 1
                    if _may_pass(error, probes) and refusals < REFUSALS and place.obstacle is None:
                        note(f"{level:,} {unit} could not begin, trying again: {error}")
                        await asyncio.sleep(REFUSED_PAUSE_S)
                        continue
                    if not probes:
                        publish(unmeasured(plan, str(error)), report, f"probe-01-{level}")
                        raise
                    ended_by = error  # the target died under the last probe, or soon after
                    break
                refusals = 0
                if load.is_interrupted():
                    break
                outcome, limits = judge(summary, thresholds, load.broken)
                search.report(outcome, limits)
                probes.append(_row(level, outcome, limits, summary))
                note(f"{level:,} {unit} {_WORDS[outcome]}{': ' if limits else ''}{'; '.join(limits)}")
                publish(summary, report, f"probe-{len(probes):02}-{level}")
                if load.is_interrupted():
                    break
    knee = search.knee
    is_done = search.level is None
    if report.json:
        out_json(_document(scenario.name, options.by, knee, is_done, probes))
    else:
        _print(unit, knee, is_done, probes, _ending(ended_by))
    if ended_by is not None:
        raise ended_by
    return _exit_code(knee, is_done)


def _may_pass(error: WsctlError, probes: Sequence[object]) -> bool:
    """Tell whether the same probe may find a connection the next time: a token that has worked may work again."""
    return isinstance(error, TargetError) or (isinstance(error, CredentialError) and bool(probes))


def _ending(error: WsctlError | None) -> str:
    """Return in few words why a search ended before its end."""
    match error:
        case None:
            return "interrupted"
        case CredentialError():
            return "the server takes nobody any more"
        case TargetError():
            return "the target is gone"
    return "the load driver failed"


def _scenario(name: str) -> Scenario:
    searchable = [scenario.name for scenario in SCENARIOS.values() if scenario.search is not None]
    if name not in searchable:
        raise ConfigError("KIND", f"{name!r} cannot be searched", f"it is {join_words(searchable)}")
    return SCENARIOS[name]


def _range(scenario: Scenario, options: SearchOptions) -> SearchRange:
    assert scenario.search is not None
    if options.by is By.RATE and scenario.search.rate is None:
        raise ConfigError("--by", "callers speak as fast as people do", "leave it out: their number is what is raised")
    return scenario.search


def _file(scenario: Scenario, options: SearchOptions) -> Path | None:
    if scenario.file is not None and options.wav is None:
        raise ConfigError("--wav", "is missing", "name a WAV file with what the callers say")
    return options.wav


def probe_plan(
    scenario: Scenario, place: Place, target: LoadTargetOptions, options: SearchOptions, level: int, content: Any = None
) -> Plan:
    """Return the plan of the probe at a level; raises ConfigError."""
    found = _range(scenario, options)
    known = scenario.options.__struct_fields__
    values = {name: getattr(options, name) for name in options.__struct_fields__ if name in known}
    values["duration"] = found.duration_ms if options.duration is None else options.duration
    values["drain"] = found.drain_ms if options.drain is None else options.drain
    if options.by is By.RATE:
        values["rate"] = float(level)
    else:
        values["connections"] = level
    plan = plan_of(scenario, scenario.options(**values), content, place, target)
    return msgspec.structs.replace(plan, processes=options.processes)


def judge(summary: Summary, thresholds: Sequence[Threshold], aborted_by: str | None) -> tuple[Outcome, tuple[str, ...]]:
    """Return how a probe ended and what limits it: the rules that it missed, or the doubts about the generator."""
    if summary.verdict is Verdict.INVALID:
        doubts = summary.generator.doubts or tuple(late_percentiles(summary, thresholds))
        return (Outcome.INVALID, doubts) if doubts else (Outcome.UNTOLD, summary.reasons)
    missed = [check.rule for check in summary.checks if not check.passed]
    if aborted_by is not None and aborted_by not in missed:
        missed.append(aborted_by)
    if not missed and summary.verdict is Verdict.PASSED:
        return Outcome.HELD, ()
    return Outcome.BROKE, tuple(missed) or summary.reasons


def _exit_code(knee: Knee, is_done: bool) -> ExitCode:
    if not is_done:
        return ExitCode.INTERRUPTED
    if knee.stop in (Stop.GENERATOR, Stop.UNTOLD):
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


def _document(kind: str, by: By, knee: Knee, is_done: bool, probes: list[dict[str, Any]]) -> dict[str, Any]:
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


def _print(unit: str, knee: Knee, is_done: bool, probes: list[dict[str, Any]], ending: str) -> None:
    out(verdict_line(unit, knee, is_done, ending))
    if not probes:
        return
    out("")
    rows = [[unit, "", "sent", "p50", "p99", "max", "CPU", "limit"]]
    for probe in probes:
        times = [latency(probe[name]) for name in ("p50Us", "p99Us", "maxUs")]
        machine = f"{probe['generatorCpuPercent']:.0f} %"
        limit = next(iter(probe["limits"]), "")
        rows.append([f"{probe['level']:,}", probe["outcome"], f"{probe['sentPerS']:,.0f}/s", *times, machine, limit])
    table(rows)


def verdict_line(unit: str, knee: Knee, is_done: bool, ending: str) -> str:
    """Return the result in one sentence; `ending` is why it is not done, if it is not."""
    level = f"{knee.level:,} {unit}"
    limits = "; ".join(knee.limits)
    if not is_done:
        return f"{ending}; {level} held so far" if knee.level else f"{ending} before anything held"
    if not knee.level:
        why = {
            Stop.GENERATOR: f"the generator cannot drive {knee.broken:,}",
            Stop.UNTOLD: f"{knee.broken:,} cannot be judged",
        }
        return f"{why.get(knee.stop or Stop.THRESHOLD, 'nothing holds')}: {limits}"
    match knee.stop:
        case Stop.THRESHOLD:
            return f"{level} hold, confirmed {knee.confirmed} times; {knee.broken:,} break {limits}"
        case Stop.GENERATOR:
            return f"at least {level} hold; at {knee.broken:,} the generator is the limit: {limits}"
        case Stop.UNTOLD:
            return f"at least {level} hold; {knee.broken:,} cannot be judged: {limits}"
        case Stop.CEILING:
            return f"at least {level} hold, confirmed {knee.confirmed} times; that is the --ceiling"
        case _:
            return f"{level} hold, but it never settled"
