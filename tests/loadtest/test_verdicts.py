"""From what the driver measured to a verdict: histograms, thresholds, the summary and the comparison of two."""

from __future__ import annotations

import msgspec
import pytest
from hdrh.histogram import HdrHistogram

from loadtest import wire
from loadtest.comparison import Change, compare
from loadtest.histograms import distribution
from loadtest.summary import Verdict, config_hash, encode, read_summary
from loadtest.thresholds import parse_threshold
from loadtest.verdicts import summarise
from loadtest.wire import CallerSpeech, Generator, Histograms, Ledger, Measured, Phase, Plan, RunProgress, Tokens
from wscore.errors import ConfigError

PLAN = Plan(run_id="r1", kind="broadcast", url="ws://127.0.0.1:8765/socket.io/", connections=10, rate=100.0)


def histogram(*values_us: int) -> str:
    made = HdrHistogram(1, 60_000_000, 3)
    for value in values_us:
        made.record_value(value)
    return made.encode().decode()


def measured(**changes) -> Measured:
    usual = {
        "run_id": "r1",
        "started_at_ms": 1_764_000_000_000,
        "steady_s": 10.0,
        "peak_connections": 10,
        "connections_opened": 10,
        "connections_failed": 0,
        "connections_lost": 0,
        "sent": 1000,
        "received": 10_000,
        "ledger": Ledger(published=1000, expected=10_000, received=10_000),
        "histograms": Histograms({wire.LATENCY: histogram(*range(1000, 2000)), wire.SERVICE: histogram(900)}),
    }
    return Measured(**{**usual, **changes})


def second(number: int, phase: Phase = Phase.STEADY, p50_us: float = 1500.0, **changes) -> RunProgress:
    usual = {"connected": 10, "wanted": 10, "sent": 100, "received": 1000, "errors": 0, "sent_per_s": 100.0}
    usual |= {"received_per_s": 1000.0, "p50_us": p50_us, "p99_us": 2 * p50_us, "max_us": 3 * p50_us}
    return RunProgress(elapsed_s=float(number), phase=phase, **{**usual, **changes})


SERIES = [second(0, Phase.RAMP), *(second(number) for number in range(1, 11)), second(11, Phase.DRAIN)]


def summary(*rules: str, plan: Plan = PLAN, series=SERIES, **changes):
    return summarise(plan, measured(**changes), series, [parse_threshold(rule) for rule in rules])


def test_percentiles_are_exact_to_three_digits():
    one = distribution(histogram(*range(1, 10_001)))
    assert (one.count, one.min_us) == (10_000, 1)
    for percentile, value in ((50, 5000), (99, 9900), (99.99, 9999)):
        assert one.percentile_us(percentile) == pytest.approx(value, rel=0.001)
    assert one.spectrum[0][0] == 0
    assert [value for _, value in one.spectrum] == sorted(value for _, value in one.spectrum)
    assert distribution(histogram()) is None


@pytest.mark.parametrize(
    ("rule", "actual", "passed"),
    [
        ("delivery.p50<2ms", 1500, True),
        ("latency.p99.9 <= 1 ms", 2000, False),
        ("delivery.max<2s", 2000, True),
        ("service.mean<1000us", 900, True),
        ("rate>=100", 100, True),
        ("received_rate>1001", 1000, False),
        ("loss<0.1%", 0, True),
        ("duplicates<=0", 0, True),
        ("errors<1", 0, True),
        ("missed_heartbeats<=0", 0, True),
        ("lost_connections<=0", 0, True),
        ("connect.p95<1s", None, False),
    ],
)
def test_a_threshold_is_held_against_the_run(rule, actual, passed):
    (one,) = summary(rule).checks
    assert one.passed is passed
    assert one.actual == (None if actual is None else pytest.approx(actual, rel=0.001))


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("nonsense", "is not METRIC<NUMBER"),
        ("speed.p99<1ms", "there is no metric 'speed.p99'"),
        ("delivery<1ms", "delivery has no"),
        ("delivery.p42<1ms", "it has p50"),
        ("delivery.p99<50", "is not a time; write us, ms or s"),
        ("errors<1ms", "has no unit"),
        ("rate<10%", "has no unit"),
        ("delivery.p99=5ms", "is not METRIC<NUMBER"),
    ],
)
def test_a_threshold_that_cannot_be_read_is_named(rule, problem):
    with pytest.raises(ConfigError) as error:
        parse_threshold(rule)
    assert str(error.value).startswith(f"--threshold {rule!r}")
    assert problem in str(error.value)


def test_a_good_run_passes():
    good = summary("delivery.p99<50ms")
    assert (good.verdict, good.reasons) == (Verdict.PASSED, ())
    assert (good.sent_per_s, good.received_per_s) == (100, 1000)
    assert summary().verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ledger": Ledger(published=10, expected=100, received=99, lost=1)}, "1 messages were lost."),
        ({"ledger": Ledger(duplicated=2)}, "2 messages came twice."),
        ({"ledger": Ledger(reordered=3)}, "3 messages came out of order."),
        ({"connections_failed": 4}, "4 connections failed."),
        ({"connections_lost": 5}, "5 connections were lost."),
        ({"errors": {"RATE_LIMITED": 6}}, "6 errors occurred."),
        ({"heartbeats_missed": 7}, "7 heartbeats were missed."),
    ],
)
def test_without_thresholds_any_fault_fails_the_run(changes, reason):
    failed = summary(**changes)
    assert (failed.verdict, failed.reasons) == (Verdict.FAILED, (reason,))
    assert summary("delivery.p50<1s", **changes).verdict is Verdict.PASSED


def test_a_run_that_the_generator_could_not_drive_is_invalid_whatever_it_shows():
    doubtful = summary("delivery.p99<1us", generator=Generator(doubts=("The generator used 97 % of its core.",)))
    assert doubtful.verdict is Verdict.INVALID
    assert doubtful.reasons[0] == "The generator used 97 % of its core."
    assert summary(steady_s=0.0, series=[second(0, Phase.RAMP)]).verdict is Verdict.INVALID


def test_a_target_that_died_fails_the_run_with_the_time_and_the_codes():
    died = summary("errors<=9", target_died_at_s=4.25, all_lost_at_s=4.25, close_codes={"1006": 10}, series=SERIES[:3])
    assert died.verdict is Verdict.FAILED
    assert died.reasons[0] == "The target died 4.2 s after the start (1006 ×10)."


def test_an_interrupted_run_is_judged_by_what_ran():
    cut = summary("delivery.p99<50ms", was_interrupted=True)
    assert cut.verdict is Verdict.PASSED
    assert "interrupted" in cut.reasons[-1]


def test_the_summary_is_read_as_it_was_written(tmp_path):
    made = summary("delivery.p99<50ms", errors={"x": 1}, server_rss_kib=(1, 2))
    (tmp_path / "summary.json").write_bytes(encode(made))
    assert encode(read_summary(tmp_path / "summary.json")) == encode(made)
    (tmp_path / "other.json").write_text('{"a": 1}')
    for name, problem in (("other.json", "is not a summary"), ("missing.json", "No such file")):
        with pytest.raises(ConfigError, match=problem):
            read_summary(tmp_path / name)


def test_no_secret_is_in_a_summary():
    plan = msgspec.structs.replace(
        PLAN, url="ws://x/?token=eyJa.b.c", tokens=Tokens(token="eyJ.to.ken", secret="the secret", as_users=True)
    )
    written = encode(summary(plan=plan)).decode()
    assert "the secret" not in written
    assert "eyJ" not in written


def test_runs_of_the_same_configuration_have_the_same_hash():
    elsewhere = msgspec.structs.replace(PLAN, url="ws://other/", run_id="r2", tokens=Tokens(token="x"))
    assert config_hash(elsewhere) == config_hash(PLAN)
    assert config_hash(msgspec.structs.replace(PLAN, payload_bytes=101)) != config_hash(PLAN)


def test_two_runs_of_the_same_thing_compare_as_the_same():
    noisy = [second(number, p50_us=1500 + 40 * (number % 5)) for number in range(30)]
    other = measured(histograms=Histograms({wire.LATENCY: histogram(*range(1010, 2010))}))
    compared = compare(summary(series=noisy), summarise(PLAN, other, noisy))
    assert compared.same_configuration
    assert not compared.is_worse
    assert {row.change for row in compared.rows} == {Change.SAME}


def test_what_became_slower_lost_or_rarer_is_worse():
    slower = measured(histograms=Histograms({wire.LATENCY: histogram(*range(2000, 4000))}))
    compared = compare(summary(), summarise(PLAN, slower, SERIES))
    assert compared.is_worse
    assert {row.metric for row in compared.rows if row.change is Change.WORSE} >= {"latency p50", "latency p99"}
    assert compare(summarise(PLAN, slower, SERIES), summary()).is_worse is False
    assert compare(summary(), summary(ledger=Ledger(lost=1))).is_worse
    assert compare(summary(), summary(received=8000)).is_worse


def test_noise_widens_the_tolerance():
    wild = [second(number, p50_us=(500, 4000, 1500)[number % 3]) for number in range(12)]
    slower = measured(histograms=Histograms({wire.LATENCY: histogram(*range(1300, 2600))}))
    assert not compare(summary(series=wild), summarise(PLAN, slower, wild)).is_worse
    assert compare(summary(), summarise(PLAN, slower, SERIES)).is_worse


def test_another_configuration_is_named():
    other = msgspec.structs.replace(PLAN, connections=20)
    compared = compare(summary(), summary(plan=other))
    assert not compared.same_configuration
    assert compared.differences == ("connections: 10 and 20",)


def test_a_voice_test_in_which_nobody_asked_anything_is_invalid():
    speech = CallerSpeech(16_000, 1, bytes(32_000))
    plan = msgspec.structs.replace(PLAN, kind="voice", rate=None, speech=speech)
    silent = summary("errors<=0", plan=plan, ledger=Ledger())
    assert silent.verdict is Verdict.INVALID
    assert silent.reasons[0].startswith("Nothing was measured: no caller began a turn")
    assert summary("stalls<=0", plan=plan).verdict is Verdict.PASSED
    stalled = Histograms({wire.LATENCY: histogram(1000), wire.STALL: histogram(50_000, 60_000)})
    assert summary("stalls<=1", plan=plan, histograms=stalled).verdict is Verdict.FAILED
    assert summary("stall.max<61ms", "stalls<3", plan=plan, histograms=stalled).verdict is Verdict.PASSED


def test_runs_with_other_speech_are_configured_differently_and_the_audio_is_not_in_the_report():
    plans = [msgspec.structs.replace(PLAN, speech=CallerSpeech(16_000, 1, audio)) for audio in (b"ab", b"cd")]
    assert config_hash(plans[0]) != config_hash(plans[1])
    assert len(summary(plan=plans[0]).config["speech"]) == 16
