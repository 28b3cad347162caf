"""Turns the options of a load test into the plan for its driver."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cli.clock import now_ms
from cli.loadoptions import (
    BroadcastOptions,
    LoadOptions,
    MachineOptions,
    ReplayOptions,
    TargetOptions,
    VoiceLoadOptions,
)
from cli.secrets import read_file, read_jwt_secret
from loadtest.stages import parse_stages
from loadtest.wire import Kind, Plan, SentMessage, Speech, Tokens
from wscore.errors import ConfigError

CONNECTIONS_A_SECOND: Final = 500
BROADCASTS_A_SECOND: Final = 10
SOAK_PING_EVERY_S: Final = 10
TOKEN_SPARE_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Place:
    """Where the load goes: the URL, and the server's process if it is ours; else the driver looks for it."""

    url: str
    server_pid: int | None = None


def load_plan(kind: Kind, place: Place, target: TargetOptions, load: LoadOptions) -> Plan:
    """Return the plan for every kind but replay; raises ConfigError for options that contradict each other."""
    if load.rate is not None and load.think is not None:
        raise ConfigError("--think", "--rate is given too", "a run has either a rate or a pause after each reply")
    stages = parse_stages(load.stages) if load.stages else ()
    connections = max((stage.connections for stage in stages), default=load.connections)
    sessions = publishers = 1
    if isinstance(load, BroadcastOptions):
        sessions, publishers = load.sessions, load.publishers
        if sessions * publishers > connections:
            raise ConfigError(
                "--publishers", f"{sessions} × {publishers} publishers are more than {connections} connections"
            )
    duration_s = sum(stage.seconds for stage in stages) or load.duration / 1000
    rate = load.rate
    if rate is None and load.think is None:
        rate = default_rate(kind, connections, sessions * publishers)
    return Plan(
        run_id=secrets.token_hex(6),
        kind=kind,
        url=place.url,
        connections=connections,
        sessions=sessions,
        publishers=publishers,
        rate=rate,
        think_ms=None if load.think is None else float(load.think),
        payload_bytes=load.payload_bytes,
        ramp_s=ramp_s(load.ramp, connections),
        duration_s=duration_s,
        drain_s=load.drain / 1000,
        stages=stages,
        tokens=tokens(target, duration_s),
        server_pid=place.server_pid,
        insecure=target.insecure,
    )


def replay_plan(file: Path, place: Place, target: TargetOptions, load: ReplayOptions) -> Plan:
    """Return the plan that plays a recording; raises ConfigError if there is nothing to play."""
    recording = read_sent(file)
    once_s = recording[-1].offset_ms / 1000 / load.speed
    duration_s = load.duration / 1000 if load.duration is not None else max(1.0, once_s)
    return Plan(
        run_id=secrets.token_hex(6),
        kind=Kind.REPLAY,
        url=place.url,
        connections=load.connections,
        ramp_s=ramp_s(load.ramp, load.connections),
        duration_s=duration_s,
        drain_s=load.drain / 1000,
        recording=recording,
        speed=load.speed,
        tokens=tokens(target, duration_s),
        server_pid=place.server_pid,
        insecure=target.insecure,
    )


def voice_plan(speech: Speech, place: Place, target: TargetOptions, load: VoiceLoadOptions) -> Plan:
    """Return the plan for callers who say this."""
    duration_s = load.duration / 1000
    return Plan(
        run_id=secrets.token_hex(6),
        kind=Kind.VOICE,
        url=place.url,
        connections=load.connections,
        think_ms=float(load.think),
        ramp_s=ramp_s(load.ramp, load.connections),
        duration_s=duration_s,
        drain_s=load.drain / 1000,
        speech=speech,
        tokens=tokens(target, duration_s),
        server_pid=place.server_pid,
        insecure=target.insecure,
    )


def on_machines(plan: Plan, machine: MachineOptions) -> Plan:
    """Return the plan with what drives it; raises ConfigError for options that contradict each other."""
    roles = {"--master": machine.master is not None, "--worker": machine.worker is not None}
    if all(roles.values()):
        raise ConfigError("--worker", "--master is given too", "one process is one of them")
    if machine.processes > 1 and any(roles.values()):
        raise ConfigError("--processes", "does not go with --master and --worker", "start more workers instead")
    if machine.worker is not None and not machine.worker.rpartition(":")[2].isdecimal():
        raise ConfigError("--worker", f"{machine.worker!r} is not HOST:PORT")
    return msgspec.structs.replace(
        plan,
        processes=machine.processes,
        web_port=machine.web,
        master_port=machine.master,
        expected_workers=machine.expect_workers if machine.master is not None else 0,
        worker_of=machine.worker,
    )


def read_sent(file: Path) -> tuple[SentMessage, ...]:
    """Return what the client of a recording sent; raises ConfigError."""
    from wsclient.recording import read_recording
    from wsclient.replay import is_for_one_connection

    sent = [record for record in read_recording(file) if record.is_sent and not is_for_one_connection(record)]
    if not sent:
        raise ConfigError(str(file), "holds no message that the client sent", "record some with wsctl connect")
    first = sent[0].at_ms
    return tuple(SentMessage(float(max(0, record.at_ms - first)), record.text) for record in sent)


def default_rate(kind: Kind, connections: int, publishers: int) -> float | None:
    """Return the messages a second of a run that names neither rate nor pause."""
    match kind:
        case Kind.HEARTBEAT | Kind.RECONNECT:
            return float(connections)
        case Kind.BROADCAST:
            return float(publishers * BROADCASTS_A_SECOND)
        case Kind.SOAK:
            return connections / SOAK_PING_EVERY_S
        case _:
            return None


def ramp_s(given_ms: int | None, connections: int) -> float:
    """Return how long the ramp takes, in seconds."""
    return max(1.0, connections / CONNECTIONS_A_SECOND) if given_ms is None else given_ms / 1000


def tokens(target: TargetOptions, run_s: float) -> Tokens:
    """Return where the tokens of a run come from; raises ConfigError."""
    given = [target.token is not None, target.token_file is not None, target.sub is not None, target.users]
    if sum(given) > 1:
        raise ConfigError(
            "--token", "more than one token is given", "use one of --token, --token-file, --sub and --users"
        )
    secret = read_jwt_secret(target.jwt_secret_file)
    if target.token is not None:
        return Tokens(token=target.token)
    if target.token_file is not None:
        return Tokens(token=read_file(target.token_file, "--token-file").decode("ascii", "replace").strip())
    if target.sub is not None:
        from wscore.tokens import checked_secret, mint_jwt

        expires_s = now_ms() // 1000 + round(run_s) + TOKEN_SPARE_S
        return Tokens(token=mint_jwt(checked_secret(secret), {"sub": target.sub, "exp": expires_s}))
    if target.users:
        from wscore.tokens import checked_secret

        secret = checked_secret(secret)
    return Tokens(secret=None if secret is None else _text(secret), as_users=target.users)


def _text(secret: bytes) -> str:
    try:
        return secret.decode()
    except UnicodeDecodeError:
        raise ConfigError("JWT secret", "is not text", "a load test needs one in UTF-8") from None
