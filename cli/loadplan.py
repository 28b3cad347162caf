"""Turns the options of a load test into the plan for its driver."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.loaddialogue import dialogue_of
from cli.loadprobe import Spoken
from cli.options.load import LoadTargetOptions, MachineOptions
from cli.secrets import read_token, read_token_file
from loadtest.scenarios.base import FileKind, Scenario
from loadtest.speech import read_speech
from loadtest.wire import Headers, Plan, SentMessage, Tokens
from wscore.errors import ConfigError, WsctlError
from wscore.foreign import ProtocolName
from wscore.secrets import checked_secret
from wscore.text import checked_text
from wscore.wallclock import now_ms

TOKEN_SPARE_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Place:
    """Where the load goes: the URL, and the server's process if it is ours; else the driver looks for it.

    `spoken` is what it was found to speak, None where nobody had to find out, or could: `obstacle` is why not.
    """

    url: str
    server_pid: int | None = None
    spoken: Spoken | None = None
    obstacle: WsctlError | None = None


def plan_of(scenario: Scenario, options: Any, content: Any, place: Place, target: LoadTargetOptions) -> Plan:
    """Return the plan that a scenario's options make; raises ConfigError for those that contradict each other."""
    trust = target.trust
    trust.tls()  # before anything runs: the file may not be readable
    fields = scenario.plan_fields(options, content)
    dialogue = None if place.obstacle is not None else dialogue_of(scenario, place.spoken, target)
    plan = Plan(
        run_id=secrets.token_hex(6),
        kind=scenario.name,
        url=place.url,
        tokens=tokens(target, fields["duration_s"]),
        server_pid=place.server_pid,
        headers=Headers(target.handshake.headers()),
        ca=None if trust.ca is None else str(trust.ca.absolute()),
        insecure=trust.insecure,
        dialogue=dialogue,
        protocol=str(place.spoken or (ProtocolName.WSCTL if dialogue is None else dialogue.protocol.name)),
        reply_timeout_s=target.patience.reply_timeout / 1000,
        reconnects=target.patience.reconnect,
        cert=None if trust.cert is None else str(trust.cert.absolute()),
        key=None if trust.key is None else str(trust.key.absolute()),
        **fields,
    )
    scenario.check(plan)
    return plan


def content_of(scenario: Scenario, path: Path | None) -> Any:
    """Return what is in the file that a scenario plays, None if it plays none; raises ConfigError."""
    if scenario.file is None or path is None:
        return None
    return _READERS[scenario.file.kind](path)


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

    records = list(read_recording(file))
    sent = [record for record in records if record.is_sent and not is_for_one_connection(record)]
    if not sent:
        raise ConfigError(str(file), "holds no message that the client sent", "record some with wsctl connect")
    if any(record.binary is not None for record in sent):
        raise ConfigError(str(file), "holds binary frames, which a load test does not send")
    first = sent[0].at_ms
    received = [record.envelope for record in records if not record.is_sent and record.envelope is not None]
    answered: set[str | None] = {envelope.id for envelope in received if envelope.id is not None}
    if any(envelope.type == "pong" for envelope in received):
        answered.add(None)  # pings without an id
    return tuple(
        SentMessage(
            float(max(0, record.at_ms - first)),
            record.text,
            record.envelope is not None and record.envelope.id in answered,
        )
        for record in sent
    )


def read_script(file: Path) -> Path:
    """Return where a scenario is; raises ConfigError."""
    if not file.is_file():
        raise ConfigError(str(file), "is no file" if file.exists() else "No such file or directory")
    return file.absolute()


_READERS: Final = {FileKind.RECORDING: read_sent, FileKind.SPEECH: read_speech, FileKind.SCENARIO: read_script}


def tokens(target: LoadTargetOptions, run_s: float) -> Tokens:
    """Return where the tokens of a run come from; raises ConfigError."""
    who = target.who
    credentials = who.credentials()
    credentials.check(who.users)
    if credentials.no_token:
        return Tokens(is_none=True)
    if credentials.token is not None:
        return Tokens(token=read_token(credentials.token))
    if credentials.file is not None:
        return Tokens(token=read_token_file(credentials.file))
    if credentials.sub is not None:
        from wscore.tokens import mint_jwt

        expires_s = now_ms() // 1000 + round(run_s) + TOKEN_SPARE_S
        claims = {"sub": checked_text(credentials.sub, "--sub"), "exp": expires_s}
        return Tokens(token=mint_jwt(checked_secret(credentials.secret), claims))
    if who.users:
        checked_secret(credentials.secret)
    elif target.handshake.dial().has_token:  # no guest has to be minted: a header says who connects
        return Tokens()
    return Tokens(secret=credentials.secret, as_users=who.users)
