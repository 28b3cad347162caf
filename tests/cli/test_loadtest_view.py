"""What is seen of a load test while it runs."""

from __future__ import annotations

import io
import sys

import pytest

from cli.loadview import LiveView, PlainView, latency, sparkline, view_of
from loadtest.wire import Phase, Plan, RunProgress

PLAN = Plan(run_id="r", kind="heartbeat", url="ws://h/", connections=100, ramp_s=2, duration_s=10)


def second(elapsed_s: float, phase: Phase = Phase.STEADY, **figures: object) -> RunProgress:
    fixed = {"connected": 90, "wanted": 100, "sent": 5, "received": 4, "errors": 0, "sent_per_s": 1234.4}
    return RunProgress(**{"elapsed_s": elapsed_s, "phase": phase, "received_per_s": 0.0} | fixed | figures)


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (None, "–"),
        (0.4, "0 µs"),
        (87, "87 µs"),
        (999, "999 µs"),
        (999.9, "1.00 ms"),
        (1234, "1.23 ms"),
        (12_345, "12.3 ms"),
        (123_456, "123 ms"),
        (999_600, "1.00 s"),
        (12_345_678, "12.3 s"),
    ],
)
def test_a_latency_has_three_digits_and_a_fitting_unit(microseconds, text):
    assert latency(microseconds) == text


def test_a_sparkline_goes_from_nothing_to_its_largest_value():
    assert sparkline([0, 5, 10]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
    assert sparkline([9.0] * 5 + [1.0], width=1) == "█"


def test_plain_lines_come_at_each_phase_and_every_five_seconds(capsys):
    with PlainView(PLAN, "heartbeat ws://h/") as view:
        view.show(second(0.5, Phase.RAMP))
        for number in range(1, 13):
            view.show(second(float(number), p50_us=400.0, p99_us=1500.0, max_us=20_000.0, errors=number // 12))
        view.say("half way")
        view.show(second(13, Phase.DRAIN))
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert said.out == ""
    assert lines[0] == "heartbeat ws://h/"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["0.5s", "ramp"],
        ["1.0s", "steady"],
        ["6.0s", "steady"],
        ["11.0s", "steady"],
        ["half", "way"],
        ["13.0s", "drain"],
    ]
    assert "90/100 connections; sent 1,234/s; received 0/s; p50 400 µs, p99 1.50 ms, max 20.0 ms" in lines[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_live_view_shows_progress_figures_and_a_sparkline_and_leaves_nothing_behind(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    view = view_of(PLAN, "heartbeat [bold]ws://h/\x1b]0;evil\x07")
    assert isinstance(view, LiveView)
    with view:
        view.show(second(1, Phase.RAMP))
        for number in range(3, 8):
            view.show(second(number, p50_us=400.0, p99_us=1500.0, max_us=20_000.0, cpu_percent=97.0, errors=3))
        view.say("a line [red]above\x1b[2J")
        view._live.refresh()
    text = screen.getvalue()
    for part in (
        "heartbeat [bold]ws://h/",
        "p99 1.50 ms",
        "generator CPU 97 %",
        "█████ ≤ 1.50 ms",
        "3 errors",
        "90/100",
    ):
        assert part in text, part
    assert "a line [red]above\\x1b[2J" in text
    assert "\x1b]0;" not in text
    assert "5/10 s" in text


def test_a_pipe_gets_the_plain_view(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(view_of(PLAN, "title"), PlainView)
