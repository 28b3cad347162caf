"""What several processes measured becomes one result, with doubts where the generator could not do its part."""

from __future__ import annotations

import pytest
from hdrh.histogram import HdrHistogram

from loadtest.generator.clock import Offset, drifted, estimate
from loadtest.generator.latencies import LatencyRecorder, coarse, encode, percentile
from loadtest.generator.messages import MAX_TEXTS, Counts, Part, Window
from loadtest.generator.results import Course, measured
from loadtest.wire import LATENCY, Generator, Plan

S = 10**9
PLAN = Plan(run_id="r", kind="heartbeat", url="ws://127.0.0.1/", connections=2)


def course(workers: int = 1) -> Course:
    return Course(1, 5 * S, Window(6 * S, 8 * S), was_interrupted=False, rss_kib=None, workers=workers)


def recorder_of(*values_us: int) -> LatencyRecorder:
    recorder = LatencyRecorder()
    recorder.record([value * 1000 for value in values_us])
    recorder.fold_all()
    return recorder


def test_the_histograms_of_processes_are_merged_exactly():
    parts = [
        Part(histograms={LATENCY: encode(recorder_of(*values).histogram)}) for values in ((10, 20), (20, 3_000_000))
    ]
    merged = HdrHistogram.decode(measured(PLAN, parts, course()).histograms.encoded[LATENCY])
    together = recorder_of(10, 20, 20, 3_000_000).histogram
    assert merged.total_count == 4
    assert merged.get_count_at_value(20) == 2
    assert encode(merged) == encode(together)


def test_counts_add_up_and_the_worst_process_speaks_for_the_generator():
    parts = [
        Part(
            Counts(opened=3, counted_sent=5, counted_received=4, errors={"a": 1}),
            generator=Generator(cpu_percent=20, late_sends=0),
        ),
        Part(
            Counts(opened=2, counted_sent=5, counted_received=5, errors={"a": 2}),
            generator=Generator(cpu_percent=60, lag_max_us=9),
        ),
    ]
    result = measured(PLAN, parts, course(workers=2))
    assert (result.connections_opened, result.sent, result.received) == (5, 10, 9)
    assert result.errors == {"a": 3}
    assert (result.generator.cpu_percent, result.generator.lag_max_us) == (60, 9)
    assert result.generator.doubts == ()
    assert result.steady_s == 2.0


@pytest.mark.parametrize("text", ["too many open files", "connect connect: no free local port"])
def test_connections_that_fail_on_this_machine_say_nothing_about_the_target(text):
    result = measured(PLAN, [Part(Counts(opened=1, failed=3, errors={text: 3, "connection refused": 9}))], course())
    assert result.generator.doubts == (f"connections failed on this machine: {text} ×3",)


@pytest.mark.parametrize(
    ("generator", "word"),
    [
        (Generator(cpu_percent=91), "processor"),
        (Generator(lag_p99_us=60_000), "loop"),
        (Generator(late_sends=2), "after they were due"),
    ],
)
def test_a_generator_that_could_not_drive_it_is_doubted(generator, word):
    doubts = measured(PLAN, [Part(Counts(counted_sent=100), generator=generator)], course()).generator.doubts
    assert len(doubts) == 1
    assert word in doubts[0]


def test_a_process_that_gave_no_result_is_a_doubt():
    assert measured(PLAN, [Part()], course(workers=2)).generator.doubts == ("1 of 2 processes gave no result",)


def test_the_target_died_when_the_last_process_had_lost_all():
    parts = [Part(all_lost_ns=6 * S), Part(all_lost_ns=7 * S)]
    assert measured(PLAN, parts, course()).target_died_at_s == 2.0
    assert measured(PLAN, [*parts, Part()], course()).target_died_at_s is None


def test_a_latency_below_zero_or_beyond_a_minute_stays_in_the_histogram():
    histogram = recorder_of(-5, 90_000_000).histogram
    assert histogram.total_count == 2
    assert histogram.get_count_at_value(0) == 1


def test_what_does_not_count_is_shown_and_not_recorded():
    recorder = LatencyRecorder()
    recorder.observe([7000])
    recorder.record([9000])
    latest: dict[int, int] = {}
    for _ in recorder.fold(latest):
        pass
    assert latest == {7: 1, 9: 1}
    assert recorder.histogram.total_count == 1


def test_the_figures_of_a_second_are_within_two_percent():
    for value in (1, 127, 128, 1000, 12_345, 59_999_999):
        assert 0 <= value - coarse(value) <= value * 0.02
    assert percentile({}, 0.5) is None
    assert percentile({1: 50, 5: 49, 9: 1}, 0.5) == 1
    assert percentile({1: 50, 5: 49, 9: 1}, 0.99) == 5
    assert percentile({1: 50, 5: 49, 9: 1}, 1.0) == 9


def test_the_quickest_exchange_tells_the_offset_of_a_clock():
    # This clock is 1000 behind; the answer of the quick exchange is given in its middle, the slow one's at its end.
    assert estimate([(0, 1100, 100), (200, 1205, 210)]) == Offset(1000, 5)


def test_the_drift_of_a_clock_over_the_run_is_part_of_the_uncertainty():
    assert drifted(Offset(1000, 5), Offset(1040, 7)) == 47


def test_what_a_target_words_itself_is_counted_by_its_words_and_in_a_bounded_number_of_them():
    counts = Counts()
    for number in range(3 * MAX_TEXTS):
        counts.closed(4000, b"no. %d" % number)
        counts.error(f"E{number}")
    counts.closed(4009, b"\x1b[31mlate \xff")
    counts.closed(1006)
    assert counts.close_codes == {"4000": 3 * MAX_TEXTS, "4009": 1, "1006": 1}
    assert counts.close_reasons["4000 no. 7"] == 1
    assert counts.close_reasons["4000 others"] == 2 * MAX_TEXTS
    assert counts.errors["others"] == 2 * MAX_TEXTS
    assert len(counts.close_reasons) <= MAX_TEXTS + 3
    early = Counts()
    early.closed(4009, b"\x1b[31mlate \xff token=abc")
    assert list(early.close_reasons) == ["4009 \\x1b[31mlate \ufffd token=[redacted]"]
