"""What the commands of `wsctl loadtest` do that run a plan: quick, the kinds, and replay."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cli.exits import ExitCode
from cli.loadmetrics import metrics_on
from cli.loadplan import Place, content_of, on_machines, plan_of
from cli.loadpublish import publish, publishing_failure
from cli.loadreport import note_comparison, print_summaries, print_summary
from cli.loadrun import (
    EXIT_CODES,
    LoadRunner,
    baseline_of,
    failed,
    ready_directory,
    target_of,
    thresholds_of,
    title_of,
)
from cli.options.load import GateOptions, LoadTargetOptions, MachineOptions, ReportOptions
from cli.output import fail, note
from loadtest.comparison import compare
from loadtest.running import NothingMeasuredError
from loadtest.scenarios import SCENARIOS
from loadtest.scenarios.base import Scenario
from loadtest.summary import Summary, Verdict
from loadtest.thresholds import Threshold
from loadtest.wire import Plan

QUICK: Final = [scenario for scenario in SCENARIOS.values() if scenario.quick is not None]


async def run_quick(url: str | None, target: LoadTargetOptions, report: ReportOptions) -> ExitCode:
    """Run a short test of both kinds, of round trips alone with a server of another protocol.

    The exit code is that of the worse one.
    """
    ready_directory(report.out)
    thresholds_of(report)  # before anything runs
    summaries: list[Summary] = []
    async with target_of(url, target, QUICK[0]) as place, metrics_on(report) as metrics:
        with LoadRunner(metrics, place) as load:
            for scenario in QUICK:
                plan = plan_of(scenario, scenario.quick, None, place, target)
                thresholds = thresholds_of(report, scenario.rules_for(plan.protocol))
                with suppress(NothingMeasuredError):
                    with publishing_failure(plan, report, scenario.name):
                        summary = await load.measure(plan, thresholds, title_of(plan))
                    publish(summary, report, scenario.name)
                    summaries.append(summary)
                if load.is_interrupted():
                    break
                if plan.dialogue is not None:
                    note(
                        "the broadcast is left out: you alone know what this server sends to everyone; "
                        "see wsctl loadtest broadcast --help"
                    )
                    break
    if not summaries:
        fail(str(NothingMeasuredError()))
        return ExitCode.INTERRUPTED
    print_summaries(summaries, json=report.json)
    codes = {EXIT_CODES[summary.verdict] for summary in summaries}
    worst_first = (ExitCode.THRESHOLD, ExitCode.INVALID_RUN, ExitCode.DONE)
    return next(code for code in worst_first if code in codes)


async def run_scenario(
    scenario: Scenario,
    file: Path | None,
    url: str | None,
    load: Any,
    target: LoadTargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
) -> ExitCode:
    """Run a test of one kind; `file` is what it plays, if it plays something."""
    content = content_of(scenario, file)
    thresholds = thresholds_of(gate)
    baseline = baseline_of(gate)
    ready_directory(gate.out)
    async with target_of(url, target, scenario, content) as place:
        plan = on_machines(plan_of(scenario, load, content, place, target), machine)
        return await _run(plan, place, gate, thresholds, baseline)


async def _run(
    plan: Plan, place: Place, gate: GateOptions, thresholds: Sequence[Threshold], baseline: Summary | None
) -> ExitCode:
    grace_s = None if gate.abort_on_fail is None else gate.abort_on_fail / 1000
    async with metrics_on(gate) as metrics:
        try:
            with LoadRunner(metrics, place) as load, publishing_failure(plan, gate):
                summary = await load.measure(plan, thresholds, title_of(plan), grace_s=grace_s)
        except NothingMeasuredError as error:
            fail(str(error))
            return ExitCode.INTERRUPTED
    if baseline is not None and summary.verdict is not Verdict.INVALID:
        comparison = compare(baseline, summary)
        note_comparison(comparison)
        if comparison.is_worse:
            summary = failed(summary, f"The run is worse than {gate.baseline}.")
    publish(summary, gate)
    print_summary(summary, json=gate.json)
    return EXIT_CODES[summary.verdict]
