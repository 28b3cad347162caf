"""Carries a load test out: the server of `--serve`, the driver, the view, the reports, the exit code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from cli.exits import ExitCode
from cli.loadmetrics import RunMetrics
from cli.loadplan import Place, tokens
from cli.loadprobe import Spoken, find_out, lines_of
from cli.loadserver import serving
from cli.loadview import View, view_of
from cli.options.load import GateOptions, LoadTargetOptions, ReportOptions
from cli.output import note
from cli.tls import tls_context
from loadtest import running
from loadtest.running import Driver, NothingMeasuredError, TargetUnreachableError, TooMuchError
from loadtest.scenarios import SCENARIOS
from loadtest.scenarios.base import Scenario
from loadtest.summary import Summary, Verdict, read_summary
from loadtest.thresholds import Threshold, parse_threshold
from loadtest.verdicts import summarise, undriven
from loadtest.watching import Watch
from loadtest.wire import Phase, Plan, RunProgress
from wsclient.errors import ConnectionFailedError
from wsclient.tls import tls_obstacle
from wsclient.url import DEFAULT_URL, is_loopback_url, is_seed_url, normalise_url, shown_url
from wscore.errors import ConfigError, CredentialError, TargetError
from wscore.foreign import ProtocolName
from wscore.units import counted_noun

EXIT_CODES: Final = {
    Verdict.PASSED: ExitCode.DONE,
    Verdict.FAILED: ExitCode.THRESHOLD,
    Verdict.INVALID: ExitCode.INVALID_RUN,
}
NOTHING_LISTENS: Final = "connection refused"  # as the driver puts it
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@asynccontextmanager
async def target_of(
    url: str | None, options: LoadTargetOptions, scenario: Scenario, content: Any = None
) -> AsyncIterator[Place]:
    """Give the place to load: the URL, or a server for that scenario that runs for the time of the block.

    Raises ConfigError also where nothing tells what the server speaks, which may depend on the `content` to be sent.
    """
    if not options.serve:
        yield await _looked_at(normalise_url(url or DEFAULT_URL), options, scenario, content)
        return
    if url is not None:
        raise ConfigError("--serve", "a URL is given too", "leave one of them out")
    origin = options.handshake.origin
    allowed = () if origin is None else ("--origin", origin)
    async with serving(options.who.key.secret(), *scenario.server_options, *allowed) as (place, pid):
        yield Place(place, pid, Spoken(ProtocolName.WSCTL, "--serve"))


async def _looked_at(url: str, options: LoadTargetOptions, scenario: Scenario, content: Any) -> Place:
    """Return the place at a URL, with what it speaks if nobody said so."""
    if options.protocol.settings().name is not ProtocolName.AUTO or scenario.foreign_traffic() is None:
        return Place(url)
    try:
        spoken = await find_out(url, options, tokens(options, 0), lines_of(scenario, options, content))
    except (TargetError, CredentialError) as error:
        return Place(url, obstacle=_nothing_there(error, url) or error)
    if spoken is not None and not (spoken.name is ProtocolName.WSCTL and is_seed_url(url)):
        note(f"{shown_url(url)} speaks {spoken}")
    return Place(url, spoken=spoken)


def _nothing_there(error: TargetError | CredentialError, url: str) -> TargetError | None:
    """Return what to do about it where nothing listens on this machine."""
    is_refused = isinstance(error, ConnectionFailedError) and error.problem.startswith(NOTHING_LISTENS)
    return _NothingThereError(url, NOTHING_LISTENS) if is_refused and is_loopback_url(url) else None


def thresholds_of(report: ReportOptions, default: Sequence[str] = ()) -> tuple[Threshold, ...]:
    """Return the rules of `--threshold`, else the default ones; raises ConfigError."""
    return tuple(parse_threshold(text) for text in report.threshold or default)


class LoadRunner:
    """Runs plans one after the other; use it as a context manager, in which an interrupt ends the run of the moment."""

    def __init__(self, metrics: RunMetrics, place: Place) -> None:
        self.broken: str | None = None  # the threshold that ended the last run early
        self._metrics = metrics
        self._obstacle = place.obstacle
        self._driver: Driver | None = None
        self._is_interrupted = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def is_interrupted(self) -> bool:
        """Tell whether somebody wants it to end."""
        return self._is_interrupted

    async def measure(
        self, plan: Plan, thresholds: Sequence[Threshold], title: str, *, grace_s: float | None = None
    ) -> Summary:
        """Run a plan; with `grace_s` it ends early once a threshold is broken.

        Raises what is in the way at its place, and what Driver.run raises, NothingMeasuredError also for a run that was
        ended before its window.
        """
        if self._obstacle is not None and plan.master_port is None:  # a master need not reach the target itself
            raise self._obstacle
        self.broken = None
        watch = None if grace_s is None else Watch(thresholds, grace_s)
        with view_of(plan, title) as view:
            self._driver = driver = Driver(
                plan,
                on_progress=lambda progress: self._on_progress(plan, progress, view, watch),
                on_note=view.say,
                command=running.DRIVER,
            )
            try:
                run = await driver.run()
            except TooMuchError as error:
                return undriven(plan, str(error))
            except TargetUnreachableError as error:
                raise await _explained(error, plan) from None
            finally:
                self._driver = None
        if self._is_interrupted and not any(second.phase is Phase.STEADY for second in run.series):
            raise NothingMeasuredError
        summary = summarise(plan, run.measured, run.series, thresholds)
        return summary if self.broken is None else failed(summary, f"{self.broken} was broken, which ended the run.")

    def _on_progress(self, plan: Plan, progress: RunProgress, view: View, watch: Watch | None) -> None:
        view.show(progress)
        self._metrics.see(plan, progress)
        if watch is None or self.broken is not None or self._driver is None:
            return
        self.broken = watch.see(progress)
        if self.broken is not None:
            view.say(f"{self.broken} is broken: ending the run")
            self._driver.interrupt()

    def _interrupt(self) -> None:
        self._is_interrupted = True
        if self._driver is not None:
            self._driver.interrupt()


class _NothingThereError(TargetUnreachableError):
    """On this machine nothing listens there, and what to do about it."""

    def __str__(self) -> str:
        return f"no server at {self.url}: {self.reason}; `wsctl serve` starts one, or add --serve"


async def _explained(error: TargetUnreachableError, plan: Plan) -> TargetError:
    """Return the error with what is known about its cause: the driver counts reasons in few words."""
    ca, cert, key = (None if name is None else Path(name) for name in (plan.ca, plan.cert, plan.key))
    context = tls_context(ca, plan.insecure, cert, key)
    if (problem := await tls_obstacle(plan.url, context)) is not None:
        return ConnectionFailedError(shown_url(plan.url), problem)
    if plan.dialogue is None and error.reason.startswith("no session_created"):
        mend = "if it is no wsctl server, say with --protocol what it speaks"
        return TargetUnreachableError(error.url, f"{error.reason}; {mend}")
    is_nothing_there = error.reason == NOTHING_LISTENS and is_loopback_url(error.url)
    return _NothingThereError(error.url, error.reason) if is_nothing_there else error


def title_of(plan: Plan) -> str:
    """Return what is about to happen, in one line."""
    scenario = SCENARIOS[plan.kind]
    parts = [f"{plan.kind} {shown_url(plan.url)}", counted_noun(plan.connections, scenario.user)]
    return ", ".join([*parts, *scenario.title_parts(plan)])


def baseline_of(gate: GateOptions) -> Summary | None:
    """Return the summary to compare with; read before the run, which may be long. Raises ConfigError."""
    if gate.baseline is None:
        return None
    baseline = read_summary(summary_file(gate.baseline))
    if baseline.verdict is Verdict.INVALID:
        raise ConfigError("--baseline", f"{gate.baseline} is an invalid run and says nothing", "measure it anew")
    return baseline


def summary_file(path: Path) -> Path:
    """Return the summary that a path means: itself, or the one in a directory."""
    return path / "summary.json" if path.is_dir() else path


def ready_directory(directory: Path | None) -> None:
    """Make the directory of `--out` before the run, which may be long; raises ConfigError."""
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--out", f"{directory}: {error.strerror}") from None


def failed(summary: Summary, reason: str) -> Summary:
    """Return a summary that failed for one reason more; an invalid run stays one."""
    verdict = Verdict.FAILED if summary.verdict is Verdict.PASSED else summary.verdict
    return msgspec.structs.replace(summary, verdict=verdict, reasons=(*summary.reasons, reason))
