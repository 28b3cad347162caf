"""How a run of the driver ends: refused, interrupted, abandoned by its target, or as planned."""

from __future__ import annotations

import pytest

from loadtest.wire import RECONNECT, LoadStage, Phase, SentMessage
from tests.loadtest.driving import drive, drive_until_steady_then_interrupt, lying_server, short_plan


def test_where_nothing_listens_it_ends_at_once_with_3_and_one_line():
    outcome = drive(short_plan("ws://127.0.0.1:1/socket.io/", connections=1000))
    assert (outcome.code, outcome.words, outcome.lines) == (3, "connection refused\n", [])


def test_a_refused_token_ends_it_with_4():
    with lying_server(refuse_with=4001, error_code="AUTH_EXPIRED") as url:
        outcome = drive(short_plan(url))
    assert (outcome.code, outcome.words) == (4, "AUTH_EXPIRED\n")


def test_a_server_that_is_full_from_the_start_is_not_reachable():
    with lying_server(accept=0) as url:
        outcome = drive(short_plan(url))
    assert (outcome.code, outcome.words) == (3, "HTTP 503\n")


def test_more_connections_than_files_are_refused_before_the_start():
    outcome = drive(short_plan("ws://127.0.0.1:1/socket.io/", connections=50_000_000))
    assert outcome.code == 5
    assert "ulimit -n" in outcome.words


@pytest.mark.slow
def test_connections_that_are_refused_later_are_counted_and_the_rest_goes_on():
    with lying_server(accept=3) as url:  # one of them is the driver's trial
        outcome = drive(short_plan(url, connections=5))
    measured = outcome.measured
    assert (measured.connections_opened, measured.connections_failed) == (2, 3)
    assert measured.errors == {"HTTP 503": 3}
    assert outcome.code == 0


def test_a_target_that_dies_is_reported_with_the_time_and_ends_the_run():
    with lying_server(die_after=150) as url:
        outcome = drive(short_plan(url, rate=100.0, duration_s=30.0))
    measured = outcome.measured
    assert measured.target_died_at_s is not None
    assert 1 <= measured.target_died_at_s < 30
    assert measured.steady_s < 30
    assert measured.connections_lost == 4
    assert measured.close_codes == {"1006": 4}
    assert not measured.was_interrupted


@pytest.mark.slow
def test_the_close_codes_of_lost_connections_are_counted():
    with lying_server(close_after=50, close_code=4003) as url:
        outcome = drive(short_plan(url, duration_s=30.0))
    assert outcome.measured.close_codes == {"4003": 4}
    assert outcome.measured.close_reasons == {"4003": 4}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupt_ends_it_with_what_was_measured(processes):
    with lying_server() as url:
        outcome = drive_until_steady_then_interrupt(short_plan(url, duration_s=60.0, processes=processes))
    measured = outcome.measured
    assert outcome.code == 0
    assert measured.was_interrupted
    assert 0 < measured.steady_s < 60
    assert 0 < measured.sent == measured.received


@pytest.mark.slow
def test_a_storm_brings_everyone_back_and_says_who_was_resumed():
    with lying_server(recovers=True) as url:
        outcome = drive(short_plan(url, "reconnect", connections=8))
    measured = outcome.measured
    assert outcome.histogram(RECONNECT).total_count == measured.resumed == 8
    assert measured.connections_lost == measured.connections_failed == 0
    assert measured.target_died_at_s is None


@pytest.mark.slow
def test_a_soak_counts_the_heartbeats_that_the_server_owes():
    with lying_server(heartbeat_ms=200) as url:
        outcome = drive(short_plan(url, "soak", connections=3, rate=10.0))
    assert outcome.measured.heartbeats_missed >= 3 * 3
    assert outcome.measured.server_rss_kib is not None


@pytest.mark.slow
def test_stages_hold_their_numbers_and_the_seconds_tell_of_every_phase():
    stages = (LoadStage(2, 1.2), LoadStage(6, 1.2), LoadStage(3, 1.2))
    with lying_server() as url:
        outcome = drive(short_plan(url, connections=6, stages=stages, duration_s=3.6, ramp_s=1.2))
    assert {2, 6, 3} <= {second.connected for second in outcome.seconds}
    phases = [second.phase for second in outcome.seconds]
    assert phases == sorted(phases, key=list(Phase).index)
    assert phases[-2:] == [Phase.STEADY, Phase.DONE]
    assert outcome.measured.connections_opened == outcome.measured.peak_connections == 6
    assert outcome.measured.connections_lost == 0
    assert outcome.measured.steady_s == pytest.approx(3.6)
    assert all((second.server_rss_kib or 0) > 1000 for second in outcome.seconds)
    assert outcome.measured.generator.receive_floor_us > 0
    assert outcome.measured.generator.file_limit > 0


@pytest.mark.slow
def test_a_recording_is_played_by_every_connection_until_the_end():
    recording = (
        SentMessage(0.0, '{"type":"ping","timestamp":1,"id":"a"}'),
        SentMessage(80.0, '{"type":"ping","timestamp":1}'),
    )
    with lying_server() as url:
        outcome = drive(short_plan(url, "replay", rate=None, connections=3, recording=recording, speed=2.0))
    # 80 ms and as long again till the next turn, at double speed: a message each 40 ms.
    assert outcome.measured.sent == 3 * 12 + 3
    assert outcome.measured.received == outcome.histogram("latency").total_count == outcome.measured.sent
