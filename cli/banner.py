"""What `wsctl serve` says when it starts: where, with which choices, and how to connect."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli.options.tokens import SecretOptions
from cli.secrets import SECRET_VARIABLE
from wscore.guest import GuestMode
from wscore.recovery import RecoveryLimits
from wscore.secrets import SecretEncoding
from wscore.tokens import ClaimNames, JwtKey
from wscore.units import counted_noun, format_duration, format_figure, format_size
from wsserver.engines.pending import PendingLimits
from wsserver.settings import ServerSettings
from wsserver.webhooks.settings import MAX_ASKED, MAX_WAITING, WebhookEvent, WebhookSettings

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SAY: Final = 'voice say "what time is it"'
USER: Final = "alice"
TOKEN_FILE: Final = f"{USER}.jwt"


def banner(
    settings: ServerSettings, url: str, loop: str, *, voice: Sequence[str], app: str, key: SecretOptions, ops: str
) -> Iterator[str]:
    """Yield the lines, ending with the exact commands to paste into another terminal.

    `loop` is the module of the event loop, `voice` says what the voice app works with,
    `app` what the app is set to, `key` where the secret is, `ops` where the operations port is.
    """
    yield f"wsctl serves {url} (engine {settings.resolved_engine}, {loop.partition('.')[0]})"
    yield f"profile {settings.profile}: " + ", ".join(_choices(settings))
    if app:
        yield f"app: {app}"
    for line in voice:
        yield f"voice: {line}"
    yield ""
    named = _by_name_of_certificate(settings, url)
    yield f"  connect:  {_line(settings, named, 'connect', key)}"
    if voice:
        yield f"  speak:    {_line(settings, named, SAY, key)}"
    if named != url:
        yield "            the certificate is for this name, and not for the address"
    if settings.proxy_protocol:
        yield "            through the proxy: what begins without its PROXY header is dropped"
    if settings.guests is GuestMode.OFF and settings.jwt_key is None:
        yield "            the backend decides by what comes along, such as a cookie"
    elif settings.guests is not GuestMode.UNSIGNED:
        if not _mints(settings):
            yield f"            {TOKEN_FILE} holds a token that whoever has the private key has signed"
        elif key.jwt_secret_file is None:
            yield f"            in a terminal where {SECRET_VARIABLE} is set as it is here"
    if settings.echo_path is not None:
        yield f"  echo:     {settings.echo_path} (raw, without auth)"
    if ops:
        yield f"  ops:      {ops}"
    yield "  stop:     Ctrl-C"
    yield ""


def _choices(settings: ServerSettings) -> Iterator[str]:
    yield f"guests {settings.guests}"
    yield "no JWT key" if settings.jwt_key is None else " ".join(_jwt(settings, settings.jwt_key))
    yield f"session join {settings.session_join}"
    if settings.allowed_hosts:
        yield "hosts localhost, addresses, " + ", ".join(settings.allowed_hosts)
    if settings.trusted_proxies:
        header = "PROXY protocol and " if settings.proxy_protocol else ""
        yield f"client by {header}{settings.forwarded_header} from " + ", ".join(settings.trusted_proxies)
    messages = settings.rates.messages
    yield (
        "no rate limit"
        if messages is None
        else f"{format_figure(messages.per_second)} messages/s (burst {format_figure(messages.burst)})"
    )
    per_ip = settings.connections.per_ip
    yield "no limit per IP" if per_ip is None else f"{per_ip} connections per IP"
    yield from _pending(settings.pending)
    yield f"messages up to {format_size(settings.max_message_bytes)}"
    rooms = settings.rooms
    yield f"{counted_noun(rooms.per_connection, 'room')} per connection, {format_size(rooms.in_all)} in all"
    inbound = settings.inbound_limits
    yield f"{format_size(inbound.per_connection)} waiting per connection, {format_size(inbound.in_all)} in all"
    outbound = settings.outbound
    yield f"slow readers up to {format_size(outbound.per_connection)}, {format_size(outbound.in_all)} in all"
    yield _recovery(settings.recovery_limits)
    if settings.webhooks is not None:
        yield _webhooks(settings.webhooks)
    if settings.connecting is not None:
        yield f"a backend decides who connects ({MAX_ASKED} at once, {MAX_WAITING} waiting)"
    heartbeat = settings.heartbeat
    yield f"heartbeat {format_duration(heartbeat.interval_ms)}/{format_duration(heartbeat.timeout_ms)}"
    yield f"shutdown within {format_duration(settings.drain_timeout_ms)}"


def _webhooks(hooks: WebhookSettings) -> str:
    events = ", ".join(event for event in WebhookEvent if event in hooks.events)
    return f"{counted_noun(len(hooks.targets), 'webhook')} ({events}), {format_size(hooks.memory)} in all"


def _recovery(limits: RecoveryLimits) -> str:
    if not limits.is_on:
        return "no recovery"
    age, size = format_duration(round(limits.age_s * 1000)), format_size(limits.size)
    messages = counted_noun(limits.messages, "message")
    return f"recovery of {messages}, {size} and {age} per session and room, {format_size(limits.memory)} in all"


def _pending(limits: PendingLimits) -> Iterator[str]:
    if limits.total is not None:
        yield f"{limits.total} pending"
    if limits.per_ip is not None:
        yield f"{limits.per_ip} pending per IP"
    if limits.rate is not None:
        yield f"{format_figure(limits.rate.per_second)} new connections/s per IP"


def _jwt(settings: ServerSettings, key: JwtKey) -> Iterator[str]:
    yield f"JWT {key.algorithm}"
    if settings.jwks_file is not None:
        yield f"({counted_noun(len(key), 'key')} of {settings.jwks_file})"
    if settings.audience is not None:
        yield f"for {settings.audience}"
    if settings.claim_names != ClaimNames():
        names = settings.claim_names
        yield f"(user {names.user}, session {names.session}, scope {names.scope})"


def _line(settings: ServerSettings, url: str, command: str, key: SecretOptions) -> str:
    """Return a command that works in any folder."""
    program = _program()
    words: list[str] = []
    secret = [] if key.jwt_secret_file is None else ["--jwt-secret-file", os.path.abspath(key.jwt_secret_file)]
    if key.jwt_secret_encoding is not SecretEncoding.TEXT:
        secret += ["--jwt-secret-encoding", key.jwt_secret_encoding]
    before = ""
    if settings.guests is GuestMode.SIGNED:
        words += secret
    elif settings.guests is GuestMode.OFF and settings.jwt_key is None:
        pass  # there is no token: the backend decides
    elif settings.guests is GuestMode.OFF and not _mints(settings):
        words += ["--token-file", TOKEN_FILE]
    elif settings.guests is GuestMode.OFF:
        claims = {"--issuer": settings.issuer, "--audience": settings.audience}
        claims["--user-claim"] = None if settings.claim_names.user == ClaimNames().user else settings.claim_names.user
        named = [word for name, value in claims.items() if value is not None for word in (name, value)]
        if named:
            before = f'WSCTL_TOKEN="$({program} {shlex.join(["token", "jwt", "--sub", USER, *named, *secret])})" '
        else:
            words += ["--sub", USER, *secret]
    if settings.tls_cert is not None and _is_self_signed(settings.tls_cert):
        words += ["--ca", os.path.abspath(settings.tls_cert)]
    words += ["--uds", os.path.abspath(url)] if settings.uds else [url]
    return f"{before}{program} {command} {shlex.join(words)}"


def _mints(settings: ServerSettings) -> bool:
    """Tell whether tokens can be made with what this server has."""
    if settings.guests is GuestMode.SIGNED:
        return True
    return settings.jwt_key is not None and settings.jwt_key.algorithm == "HS256"


def _is_self_signed(certificate: Path) -> bool:
    return any(item.subject == item.issuer for item in _certificates(certificate))


def _by_name_of_certificate(settings: ServerSettings, url: str) -> str:
    """Return the URL with a name that the certificate is for, in place of an address that it is not for."""
    from cryptography import x509

    if settings.tls_cert is None or settings.uds:
        return url
    try:
        own = _certificates(settings.tls_cert)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, IndexError):
        return url
    parts = urlsplit(url)
    names = [name for name in own.get_values_for_type(x509.DNSName) if not name.startswith("*")]
    addresses = {str(address) for address in own.get_values_for_type(x509.IPAddress)}
    if parts.hostname in addresses or not names:
        return url
    return parts._replace(netloc=f"{names[0]}:{parts.port}").geturl()


def _certificates(file: Path) -> list[Certificate]:
    """Return the chain; none where it holds what OpenSSL serves but this library, which is stricter, does not read."""
    from cryptography import x509

    with suppress(ValueError):
        return x509.load_pem_x509_certificates(file.read_bytes())
    return []


def _program() -> str:
    """Return what to type to run this very program: its name if the PATH finds it, else its path."""
    path = os.path.abspath(sys.argv[0])
    found = shutil.which("wsctl")
    if found is not None and os.path.realpath(found) == os.path.realpath(path):
        return "wsctl"
    if not os.access(path, os.X_OK) or path.endswith(".py"):
        return f"{shlex.quote(sys.executable)} -m cli.main"
    return shlex.quote(path)
