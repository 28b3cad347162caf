"""What is seen of a load test while it runs: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from cli.output import note
from loadtest.wire import Phase, Plan, RunProgress
from wscore.text import neutralise, redact

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

PLAIN_EVERY_S: Final = 5.0
SPARK_WIDTH: Final = 60
_BARS: Final = "▁▂▃▄▅▆▇█"
_FIRST_S: Final = 1.0


class View(Protocol):
    """Shows a run; use it as a context manager."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def show(self, progress: RunProgress) -> None:
        """Show a second."""

    def say(self, text: str) -> None:
        """Show a line of narration."""


def view_of(plan: Plan, title: str) -> View:
    """Return the live view if standard error is a terminal, else the plain one."""
    return LiveView(plan, title) if sys.stderr.isatty() else PlainView(plan, title)


def latency(microseconds: float | None) -> str:
    """Return a latency with three digits, in the unit that suits it."""
    if microseconds is None:
        return "–"
    value, unit = (microseconds, "µs")
    if microseconds >= 999_500:
        value, unit = microseconds / 1e6, "s"
    elif microseconds >= 999.5:
        value, unit = microseconds / 1e3, "ms"
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{0 if unit == 'µs' else digits}f} {unit}"


def sparkline(values: list[float], width: int = SPARK_WIDTH) -> str:
    """Return the last values as bars, from nothing to the largest of them."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    steps = len(_BARS) - 1
    return "".join(_BARS[round(value / top * steps)] if top else _BARS[0] for value in shown)


def _figures(progress: RunProgress) -> Iterator[str]:
    yield f"{progress.connected:,}/{progress.wanted:,} connections"
    if progress.phase is Phase.DRAIN:
        yield "waiting for late arrivals"
    yield f"sent {progress.sent_per_s:,.0f}/s"
    yield f"received {progress.received_per_s:,.0f}/s"
    if progress.p99_us is not None:
        yield f"p50 {latency(progress.p50_us)}, p99 {latency(progress.p99_us)}, max {latency(progress.max_us)}"
    if progress.errors:
        yield f"{progress.errors:,} errors"


class PlainView:
    """A line at each change of phase and every few seconds."""

    def __init__(self, plan: Plan, title: str) -> None:
        self._title = title
        self._phase: Phase | None = None
        self._next_s = 0.0

    def __enter__(self) -> Self:
        note(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, progress: RunProgress) -> None:
        """Print a line if it is time for one."""
        if progress.phase is self._phase and progress.elapsed_s < self._next_s:
            return
        self._phase = progress.phase
        self._next_s = progress.elapsed_s + PLAIN_EVERY_S
        note(f"{progress.elapsed_s:6.1f}s {progress.phase:<6} {'; '.join(_figures(progress))}")

    def say(self, text: str) -> None:
        """Print a line."""
        note(text)


class LiveView:
    """Bars for ramp and window, the figures of this second, and the latency of the last minute."""

    def __init__(self, plan: Plan, title: str) -> None:
        self._plan = plan
        self._title = title
        self._history: deque[float] = deque(maxlen=SPARK_WIDTH)
        self._steady_since_s: float | None = None
        self._last: RunProgress | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=sys.stderr, highlight=False, markup=False)
        self._live = Live(self._render(), console=console, transient=True, refresh_per_second=4)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, progress: RunProgress) -> None:
        """Draw a second."""
        self._last = progress
        if progress.phase is Phase.STEADY and self._steady_since_s is None:
            self._steady_since_s = max(0.0, progress.elapsed_s - _FIRST_S)
        if progress.p99_us is not None:
            self._history.append(progress.p99_us)
        if self._live is not None:
            self._live.update(self._render())

    def say(self, text: str) -> None:
        """Print a line above the view."""
        if self._live is None:
            note(text)
        else:
            self._live.console.print(redact(neutralise(text)))

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        last = self._last
        lines: list[RenderableType] = [Text(redact(neutralise(self._title)), style="bold")]
        if last is None:
            return Group(*lines, Text("starting …", style="dim"))
        bars = Table.grid(padding=(0, 2))
        for name, done, total in self._parts(last):
            bars.add_row(
                Text(name, style="bold" if name == last.phase else "dim"),
                ProgressBar(total=max(total, 0.001), completed=min(done, total), width=40),
                Text(f"{min(done, total):,.0f}/{total:,.0f}{'' if name == 'connected' else ' s'}"),
            )
        figures = Text(" · ".join(list(_figures(last))[1:]))
        machine = Text(f"generator CPU {last.cpu_percent:.0f} %", style="red" if last.cpu_percent > 90 else "dim")
        if last.server_rss_kib is not None:
            machine.append(f" · server memory {last.server_rss_kib / 1024:,.0f} MiB")
        lines += [bars, figures, machine]
        if self._history:
            spark = Text(f"p99 {sparkline(list(self._history))} ≤ {latency(max(self._history))}", style="cyan")
            lines.append(spark)
        return Group(*lines)

    def _parts(self, last: RunProgress) -> Iterator[tuple[str, float, float]]:
        since = self._steady_since_s
        total_s = self._plan.duration_s
        yield "connected", last.connected, last.wanted
        yield "ramp", last.elapsed_s if since is None else self._plan.ramp_s, self._plan.ramp_s
        over = last.phase in (Phase.DRAIN, Phase.DONE)
        yield "steady", total_s if over else 0.0 if since is None else last.elapsed_s - since, total_s
