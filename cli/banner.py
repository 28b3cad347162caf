"""What `wsctl serve` says when it starts: where, with which choices, and how to connect."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from wscore.guest import GuestMode
from wscore.tokens import ClaimNames, JwtKey
from wscore.units import counted_noun, format_duration, format_figure, format_size
from wsserver.settings import ServerSettings

SAY: Final = 'voice say "what time is it"'


def banner(settings: ServerSettings, url: str, voice: Sequence[str], *, loop: str) -> Iterator[str]:
    """Yield the lines, ending with the exact commands to paste; `voice` says what the voice app works with."""
    yield f"wsctl serves {url} (engine {settings.resolved_engine}, {loop.partition('.')[0]})"
    yield f"profile {settings.profile}: " + ", ".join(_choices(settings))
    for line in voice:
        yield f"voice: {line}"
    yield ""
    yield f"  connect:  {_line(settings, url, 'connect')}"
    if voice:
        yield f"  speak:    {_line(settings, url, SAY)}"
    if settings.echo_path is not None:
        yield f"  echo:     {settings.echo_path} (raw, without auth)"
    yield "  stop:     Ctrl-C"
    yield ""


def _choices(settings: ServerSettings) -> Iterator[str]:
    yield f"guests {settings.guests}"
    yield "no JWT key" if settings.jwt_key is None else " ".join(_jwt(settings, settings.jwt_key))
    yield f"session join {settings.session_join}"
    if settings.allowed_hosts:
        yield "hosts localhost, addresses, " + ", ".join(settings.allowed_hosts)
    if settings.trusted_proxies:
        yield f"client by {settings.forwarded_header} from " + ", ".join(settings.trusted_proxies)
    messages = settings.rates.messages
    yield (
        "no rate limit"
        if messages is None
        else f"{format_figure(messages.per_second)} messages/s (burst {format_figure(messages.burst)})"
    )
    per_ip = settings.connections.per_ip
    yield "no limit per IP" if per_ip is None else f"{per_ip} connections per IP"
    yield f"messages up to {format_size(settings.max_message_bytes)}"
    inbound = settings.inbound
    yield f"{format_size(inbound.per_connection)} waiting per connection, {format_size(inbound.in_all)} in all"
    heartbeat = settings.heartbeat
    yield f"heartbeat {format_duration(heartbeat.interval_ms)}/{format_duration(heartbeat.timeout_ms)}"


def _jwt(settings: ServerSettings, key: JwtKey) -> Iterator[str]:
    yield f"JWT {key.algorithm}"
    if settings.jwks_file is not None:
        yield f"({counted_noun(len(key), 'key')} of {settings.jwks_file})"
    if settings.audience is not None:
        yield f"for {settings.audience}"
    if settings.claim_names != ClaimNames():
        names = settings.claim_names
        yield f"(user {names.user}, session {names.session}, scope {names.scope})"


def _line(settings: ServerSettings, url: str, command: str) -> str:
    program = _program()
    token = ""
    if settings.guests is GuestMode.SIGNED:
        token = f'WSCTL_TOKEN="$({program} token guest --signed)" '
    elif settings.guests is GuestMode.OFF:
        token = f"WSCTL_TOKEN={_jwt_to_paste(settings, program)} "
    target = f"--uds {shlex.quote(url)}" if settings.uds else url
    return f"{token}{program} {command} {target}"


def _jwt_to_paste(settings: ServerSettings, program: str) -> str:
    key, names = settings.jwt_key, settings.claim_names
    if key is None or key.algorithm != "HS256":
        return '"$(cat alice.jwt)"'  # whoever has the private key minted it
    given = {"issuer": settings.issuer, "audience": settings.audience}
    given["user-claim"] = names.user if names.user != ClaimNames().user else None
    options = "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value is not None)
    return f'"$({program} token jwt --sub alice{options})"'


def _program() -> str:
    """Return what to type to run this very program: its name if the PATH finds it, else its path."""
    path = os.path.abspath(sys.argv[0])
    found = shutil.which("wsctl")
    if found is not None and os.path.realpath(found) == os.path.realpath(path):
        return "wsctl"
    if not os.access(path, os.X_OK) or path.endswith(".py"):
        return f"{shlex.quote(os.path.relpath(sys.executable))} -m cli.main"
    return shlex.quote(os.path.relpath(path))
