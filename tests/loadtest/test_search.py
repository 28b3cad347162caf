"""The search for the highest load that holds, against targets whose knee is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.search import CONFIRMATIONS, MAX_PROBES, Knee, Outcome, Search, Stop
from wscore.errors import ConfigError

LIMIT = ("rtt.p99<50ms",)
DOUBT = ("CPU at 97 %",)


def breaks_above(knee: int, outcome: Outcome = Outcome.BROKE) -> Callable[[int], Outcome]:
    return lambda level: Outcome.HELD if level <= knee else outcome


def run(search: Search, target: Callable[[int], Outcome]) -> Knee:
    while (level := search.level) is not None:
        outcome = target(level)
        limits = {Outcome.HELD: (), Outcome.BROKE: LIMIT}.get(outcome, DOUBT)
        search.report(outcome, limits)
    return search.knee


def test_it_doubles_bisects_and_confirms_the_knee_twice():
    search = Search(100, 100_000, tolerance=0.1)
    knee = run(search, breaks_above(500))
    assert [probe.level for probe in search.probes] == [100, 200, 400, 800, 800, 600, 600, 500, 550, 550, 500, 500]
    assert knee == Knee(500, CONFIRMATIONS, 550, Stop.THRESHOLD, LIMIT)


def test_with_a_step_it_rises_by_that():
    search = Search(10, 1000, step=10, tolerance=0.3)
    knee = run(search, breaks_above(35))
    assert [probe.level for probe in search.probes] == [10, 20, 30, 40, 40, 30, 30]
    assert (knee.level, knee.broken) == (30, 40)


@given(
    knee=st.integers(1, 5000),
    start=st.integers(1, 5000),
    step=st.none() | st.integers(300, 5000),
    tolerance=st.floats(0.01, 0.5),
    outcome=st.sampled_from([Outcome.BROKE, Outcome.INVALID]),
)
def test_the_knee_is_found_to_the_tolerance_from_any_start(knee, start, step, tolerance, outcome):
    found = run(Search(start, 10_000, step=step, tolerance=tolerance), breaks_above(knee, outcome))
    assert found.broken is not None
    assert found.level <= knee < found.broken
    assert found.broken - found.level <= max(1, found.broken * tolerance)
    assert found.stop is (Stop.THRESHOLD if outcome is Outcome.BROKE else Stop.GENERATOR)
    assert found.confirmed == (CONFIRMATIONS if found.level else 0)


@given(st.lists(st.sampled_from(Outcome), min_size=MAX_PROBES, max_size=MAX_PROBES), st.integers(1, 500))
def test_whatever_the_outcomes_it_ends_and_never_leaves_its_range(outcomes, start):
    search = Search(start, 500)
    for outcome in outcomes:
        if search.level is None:
            break
        assert 1 <= search.level <= 500
        search.report(outcome)
    assert search.level is None
    knee = search.knee
    assert knee.broken is None or knee.level < knee.broken
    held = {probe.level for probe in search.probes if probe.outcome is Outcome.HELD}
    assert knee.level == 0 or knee.level in held


def test_one_hiccup_does_not_end_the_rise():
    search = Search(100, 800)
    hiccups = iter([True, False])
    knee = run(search, lambda level: Outcome.BROKE if level == 200 and next(hiccups, False) else Outcome.HELD)
    assert (knee.level, knee.stop) == (800, Stop.CEILING)


def test_a_knee_that_does_not_hold_again_is_left_for_a_lower_one():
    search = Search(100, 1000, step=100, tolerance=0.2)
    visits: dict[int, int] = {}

    def tired(level: int) -> Outcome:
        visits[level] = visits.get(level, 0) + 1
        return Outcome.BROKE if level > 400 or (level == 400 and visits[level] > 1) else Outcome.HELD

    knee = run(search, tired)
    assert (knee.level, knee.broken, knee.confirmed) == (350, 400, 2)


def test_a_generator_that_cannot_go_on_is_the_limit_and_not_a_threshold():
    knee = run(Search(100, 10_000, tolerance=0.5), breaks_above(450, Outcome.INVALID))
    assert knee == Knee(400, 2, 800, Stop.GENERATOR, DOUBT)


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.UNTOLD])
def test_one_probe_that_says_nothing_is_tried_again_wherever_it_happens(at, outcome):
    search = Search(100, 350)
    knee = run(search, lambda _: outcome if len(search.probes) == at else Outcome.HELD)
    assert knee == Knee(350, 2, None, Stop.CEILING, ())


def test_what_cannot_be_judged_is_no_limit_of_the_generator():
    knee = run(Search(100, 10_000, tolerance=0.5), breaks_above(450, Outcome.UNTOLD))
    assert knee == Knee(400, 2, 800, Stop.UNTOLD, DOUBT)


def test_a_target_that_holds_everything_is_confirmed_at_the_ceiling():
    search = Search(100, 350)
    knee = run(search, breaks_above(10_000))
    assert [probe.level for probe in search.probes] == [100, 200, 350, 350, 350]
    assert knee == Knee(350, 2, None, Stop.CEILING, ())


def test_a_target_that_holds_nothing_has_no_knee():
    knee = run(Search(8, 100), breaks_above(0))
    assert knee == Knee(0, 0, 1, Stop.THRESHOLD, LIMIT)


def test_a_search_that_was_ended_early_tells_what_it_knows():
    search = Search(100, 10_000)
    search.report(Outcome.HELD)
    search.report(Outcome.HELD)
    assert search.knee == Knee(200, 0, None, None, ())


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"start": 0, "ceiling": 10}, "--start"),
        ({"start": 11, "ceiling": 10}, "--start"),
        ({"start": 1, "ceiling": 10, "step": 0}, "--step"),
        ({"start": 1, "ceiling": 10, "tolerance": 0.0}, "--tolerance"),
        ({"start": 1, "ceiling": 10, "tolerance": 1.0}, "--tolerance"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments, setting):
    with pytest.raises(ConfigError) as caught:
        Search(**arguments)
    assert caught.value.setting == setting
