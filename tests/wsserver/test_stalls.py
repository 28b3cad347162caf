"""What is said of a stall when the machine slept, and nothing when all is well; real stalls are in tests/cli."""

from __future__ import annotations

import logging
import sys

import pytest

from wsserver.telemetry import stalls
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics
from wsserver.telemetry.stalls import MAX_FRAMES, SUSPENDED, StallWatch, running_code


def test_a_machine_that_slept_is_told_though_its_monotonic_clock_stood_still(monkeypatch, caplog):
    slept_s = 0.0
    monkeypatch.setattr(stalls, "_suspended_s", lambda: slept_s)
    metrics = Metrics()
    watch = StallWatch(EventLog(), metrics, lambda: 100.0)
    watch.start(100.25)
    with caplog.at_level(logging.WARNING, "wsctl"):
        watch.tick(100.26, 100.5)
        assert metrics.stalls.value == 0
        slept_s = 3600.0
        watch.tick(100.51, 100.75)
        watch.tick(100.76, 101.0)
    watch.stop()
    (record,) = caplog.records
    assert record.fields == {"seconds": 3600.0, "problem": SUSPENDED, "running": ""}
    assert metrics.stalls.value == 1


@pytest.mark.parametrize("late_s", [0.0, 0.49])
def test_a_small_delay_is_no_stall(late_s):
    metrics = Metrics()
    watch = StallWatch(EventLog(), metrics, lambda: 100.0)
    watch.start(100.25)
    watch.tick(100.25 + late_s, 101)
    watch.stop()
    assert metrics.stalls.value == 0


def test_where_code_runs_begins_with_the_innermost_function_and_is_not_endless():
    def deep(level: int) -> str:
        return running_code(sys._getframe()) if level == 0 else deep(level - 1)

    places = deep(MAX_FRAMES * 2).split(" < ")
    assert len(places) == MAX_FRAMES
    assert all(f".deep ({__file__}:" in place for place in places)
