"""What the options of a load test become: the plan for its driver."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from cli.loadplan import Place, content_of, on_machines, plan_of
from cli.main import load_command
from cli.options.credentials import CrowdOptions
from cli.options.load import LoadTargetOptions, MachineOptions
from cli.options.tokens import SecretOptions
from loadtest.options import LoadOptions
from loadtest.scenarios import SCENARIOS
from loadtest.scenarios.broadcast import BroadcastOptions
from loadtest.scenarios.replay import ReplayOptions
from loadtest.scenarios.soak import SoakOptions
from loadtest.wire import LoadStage, Plan, SentMessage
from wscore.errors import ConfigError
from wscore.secrets import SecretEncoding
from wscore.tokens import JwtKey

PLACE = Place("ws://127.0.0.1:8765/socket.io/", os.getpid())
SECRET = "a secret for tests, 32 bytes or more"


@pytest.fixture(autouse=True)
def _no_secret_of_ours(monkeypatch):
    monkeypatch.delenv("WSCTL_JWT_SECRET", raising=False)


def plan(kind: str = "heartbeat", load: LoadOptions | None = None, **who: object) -> Plan:
    key = SecretOptions(**{name: who.pop(name) for name in list(who) if name.startswith("jwt_")})
    target = LoadTargetOptions(who=CrowdOptions(key=key, **who))
    return plan_of(SCENARIOS[kind], load or LoadOptions(), None, PLACE, target)


def replay_plan(file: Path, options: ReplayOptions) -> Plan:
    replay = SCENARIOS["replay"]
    return plan_of(replay, options, content_of(replay, file), PLACE, LoadTargetOptions())


def test_without_options_it_is_a_moderate_open_model():
    made = plan()
    assert (made.connections, made.rate, made.think_ms, made.ramp_s, made.duration_s) == (100, 100.0, None, 1.0, 10.0)
    assert (made.url, made.server_pid) == (PLACE.url, os.getpid())


@pytest.mark.parametrize(
    ("kind", "load", "rate"),
    [
        ("heartbeat", LoadOptions(connections=5000), 5000),
        ("broadcast", BroadcastOptions(connections=1000, sessions=10, publishers=2), 200),
        ("soak", SoakOptions(connections=5000), 500),
        ("heartbeat", LoadOptions(rate=7), 7),
        ("heartbeat", LoadOptions(think=100), None),
    ],
)
def test_a_run_without_a_rate_has_one_that_suits_its_kind(kind, load, rate):
    assert plan(kind, load).rate == rate


def test_the_closed_model_has_a_pause_and_no_rate():
    made = plan(load=LoadOptions(think=250))
    assert (made.think_ms, made.rate) == (250, None)


def test_stages_set_the_connections_and_the_time_of_the_run():
    made = plan(load=LoadOptions(stages="100:30s,500:1m,20:1s", connections=7, duration=1))
    assert made.stages == (LoadStage(100, 30), LoadStage(500, 60), LoadStage(20, 1))
    assert (made.connections, made.duration_s) == (500, 91)


def test_the_ramp_opens_500_connections_a_second_unless_told_otherwise():
    assert plan(load=LoadOptions(connections=5000)).ramp_s == 10
    assert plan(load=LoadOptions(connections=5000, ramp=1500)).ramp_s == 1.5


@pytest.mark.parametrize(
    ("load", "target", "problem"),
    [
        (LoadOptions(rate=1, think=1), {}, "either a rate or a pause"),
        (LoadOptions(stages="1:1"), {}, "--stages"),
        (BroadcastOptions(connections=5, sessions=3, publishers=2), {}, "3 × 2 publishers are more than 5"),
        (BroadcastOptions(connections=5, rooms=3, publishers=2), {}, "3 × 2 publishers are more than 5"),
        (BroadcastOptions(connections=9, rooms=3, sessions=2), {}, "--rooms: --sessions is given too"),
        (LoadOptions(), {"token": "a", "sub": "b"}, "more than one token"),
        (LoadOptions(), {"users": True, "token_file": Path("x")}, "more than one token"),
        (LoadOptions(), {"users": True}, "JWT secret: none is set"),
        (LoadOptions(), {"sub": "ann"}, "JWT secret: none is set"),
        (LoadOptions(), {"token_file": Path("missing")}, "--token-file: missing"),
        (LoadOptions(), {"jwt_secret_file": Path("missing")}, "--jwt-secret-file: missing"),
    ],
)
def test_what_contradicts_itself_is_refused(load, target, problem):
    with pytest.raises(ConfigError) as caught:
        plan("broadcast" if isinstance(load, BroadcastOptions) else "heartbeat", load, **target)
    assert problem in str(caught.value)


def test_tokens_are_given_minted_or_guests(tmp_path, monkeypatch):
    assert (plan().tokens.token, plan().tokens.secret) == (None, None)
    assert plan(token="given").tokens.token == "given"
    (tmp_path / "token").write_text("from a file\n")
    assert plan(token_file=tmp_path / "token").tokens.token == "from a file"
    monkeypatch.setenv("WSCTL_JWT_SECRET", SECRET)
    signed = plan().tokens
    assert (signed.secret, signed.as_users) == (SECRET.encode(), False)
    users = plan(users=True).tokens
    assert (users.secret, users.as_users) == (SECRET.encode(), True)
    assert SECRET not in repr(users)


def test_a_minted_token_outlives_the_run(monkeypatch):
    monkeypatch.setenv("WSCTL_JWT_SECRET", SECRET)
    token = plan(load=LoadOptions(duration=7_200_000), sub="ann").tokens.token
    assert token
    from cli.inspection import Rules, inspect_token

    in_an_hour_and_a_half = 5_400_000
    from wscore.wallclock import now_ms

    rules = Rules(JwtKey(secret=SECRET.encode()))
    assert inspect_token(token, rules, now_ms() + 2 * in_an_hour_and_a_half - 60_000)["verdict"] == "valid"


def test_a_secret_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\xff" * 32)
    with pytest.raises(ConfigError, match="is not text"):
        plan(jwt_secret_file=tmp_path / "secret")
    raw = plan(jwt_secret_file=tmp_path / "secret", jwt_secret_encoding=SecretEncoding.RAW)
    assert msgspec.json.decode(msgspec.json.encode(raw), type=Plan).tokens.secret == b"\xff" * 32


def test_a_recording_is_played_as_its_client_sent_it(tmp_path):
    file = tmp_path / "r.jsonl"
    lines = [
        {"type": "session_created", "timestamp": 1, "data": {}, "receivedAtMs": 900},
        {"type": "message", "timestamp": 1, "data": "a", "sentAtMs": 1000},
        {"type": "pong", "timestamp": 1, "sentAtMs": 1100},
        {"type": "auth_refresh", "timestamp": 1, "data": {"token": "t"}, "sentAtMs": 1200},
        {"type": "message", "timestamp": 1, "data": "b", "sentAtMs": 5000},
    ]
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    made = replay_plan(file, ReplayOptions(speed=2))
    assert made.recording == (
        SentMessage(0, '{"type":"message","timestamp":1,"data":"a"}'),
        SentMessage(4000, '{"type":"message","timestamp":1,"data":"b"}'),
    )
    assert (made.kind, made.speed, made.connections, made.duration_s) == ("replay", 2, 10, 2.01)


def test_a_recording_in_which_nothing_was_sent_is_refused(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text('{"type":"message","timestamp":1,"receivedAtMs":1}\n')
    with pytest.raises(ConfigError, match="no message that the client sent"):
        replay_plan(file, ReplayOptions())


def test_what_drives_it_is_in_the_plan():
    assert on_machines(plan(), MachineOptions(processes=2, web=8089)).processes == 2
    master = on_machines(plan(), MachineOptions(master=5557, expect_workers=3))
    assert (master.master_port, master.expected_workers) == (5557, 3)
    worker = on_machines(plan(), MachineOptions(worker="a:5557"))
    assert (worker.worker_of, worker.expected_workers) == ("a:5557", 0)


@pytest.mark.parametrize(
    ("machine", "problem"),
    [
        (MachineOptions(master=1, worker="a:1"), "one process is one of them"),
        (MachineOptions(processes=2, worker="a:1"), "start more workers"),
        (MachineOptions(worker="a"), "is not HOST:PORT"),
    ],
)
def test_roles_that_do_not_go_together_are_refused(machine, problem):
    with pytest.raises(ConfigError, match=problem):
        on_machines(plan(), machine)


def test_each_option_of_a_command_is_a_field_and_the_other_way_round():
    options = {param.name for param in load_command("loadtest").commands["broadcast"].params}
    assert {"sessions", "publishers", "abort_on_fail", "serve", "web", "config", "url"} <= options
    assert not options & {"load", "target", "gate", "machine", "speed"}
