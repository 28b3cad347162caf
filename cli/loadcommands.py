"""What the commands of `wsctl loadtest` do that run a plan: quick, the kinds, and replay."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from cli.exits import ExitCode
from cli.loadoptions import (
    BroadcastOptions,
    GateOptions,
    LoadOptions,
    MachineOptions,
    ReplayOptions,
    ReportOptions,
    TargetOptions,
    VoiceLoadOptions,
)
from cli.loadplan import load_plan, on_machines, replay_plan, voice_plan
from cli.loadreport import note_comparison, print_summaries, print_summary
from cli.loadrun import (
    EXIT_CODES,
    QUICK_RULES,
    Load,
    baseline_of,
    failed,
    ready_directory,
    target_of,
    thresholds_of,
    title_of,
    write,
)
from cli.output import fail
from loadtest.comparison import compare
from loadtest.running import NothingMeasuredError
from loadtest.speech import read_speech
from loadtest.summary import Summary
from loadtest.wire import Kind, Plan

QUICK: Final = {
    Kind.HEARTBEAT: LoadOptions(rate=1000, duration=5000, drain=1000),
    Kind.BROADCAST: BroadcastOptions(rate=20, duration=5000, drain=1000),
}


async def run_quick(url: str | None, target: TargetOptions, report: ReportOptions) -> ExitCode:
    """Run a short test of both kinds; the exit code is that of the worse one."""
    ready_directory(report.out)
    thresholds = thresholds_of(report, QUICK_RULES)
    summaries: list[Summary] = []
    async with target_of(url, target) as place:
        with Load() as load:
            for kind, options in QUICK.items():
                plan = load_plan(kind, place, target, options)
                with suppress(NothingMeasuredError):
                    summary = await load.measure(plan, thresholds, title_of(plan))
                    write(summary, None if report.out is None else report.out / kind)
                    summaries.append(summary)
                if load.is_interrupted():
                    break
    if not summaries:
        fail(str(NothingMeasuredError()))
        return ExitCode.INTERRUPTED
    print_summaries(summaries, json=report.json)
    codes = {EXIT_CODES[summary.verdict] for summary in summaries}
    worst_first = (ExitCode.THRESHOLD, ExitCode.INVALID_RUN, ExitCode.DONE)
    return next(code for code in worst_first if code in codes)


async def run_load(
    kind: Kind,
    url: str | None,
    load: LoadOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
) -> ExitCode:
    """Run a test of one kind."""
    async with target_of(url, target) as place:
        plan = on_machines(load_plan(kind, place, target, load), machine)
        return await _run(plan, gate)


async def run_replay(
    file: Path,
    url: str | None,
    load: ReplayOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
) -> ExitCode:
    """Play a recording."""
    async with target_of(url, target) as place:
        plan = on_machines(replay_plan(file, place, target, load), machine)
        return await _run(plan, gate)


async def run_voice(
    file: Path,
    url: str | None,
    load: VoiceLoadOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
) -> ExitCode:
    """Have callers say what is in a file."""
    speech = read_speech(file)
    async with target_of(url, target, Kind.VOICE) as place:
        plan = on_machines(voice_plan(speech, place, target, load), machine)
        return await _run(plan, gate)


async def _run(plan: Plan, gate: GateOptions) -> ExitCode:
    thresholds = thresholds_of(gate)
    baseline = baseline_of(gate)
    ready_directory(gate.out)
    grace_s = None if gate.abort_on_fail is None else gate.abort_on_fail / 1000
    with Load() as load:
        try:
            summary = await load.measure(plan, thresholds, title_of(plan), grace_s=grace_s)
        except NothingMeasuredError as error:
            fail(str(error))
            return ExitCode.INTERRUPTED
    if baseline is not None:
        comparison = compare(baseline, summary)
        note_comparison(comparison)
        if comparison.is_worse:
            summary = failed(summary, f"The run is worse than {gate.baseline}.")
    write(summary, gate.out)
    print_summary(summary, json=gate.json)
    return EXIT_CODES[summary.verdict]
