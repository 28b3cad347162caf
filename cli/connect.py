"""`wsctl connect`: the scriptable client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clock import now_ms
from cli.output import note, out
from cli.secrets import read_file, read_jwt_secret
from cli.settings import ConfigFile, duration_option
from cli.stdin import is_terminal, stdin_lines
from wsclient.url import DEFAULT_URL
from wscore.envelope import MessageProtocol
from wscore.errors import ConfigError
from wscore.reconnect import ReconnectPolicy

if TYPE_CHECKING:
    from wsclient import DialOptions, TokenSource

JWT_TTL_S = 3600
CLOSE_TIMEOUT_S = 2  # somebody waits for the prompt


def connect(
    url: Annotated[str, typer.Argument(metavar="URL", help="A ws:// or wss:// URL.")] = DEFAULT_URL,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Session to join.")] = None,
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Token; WSCTL_TOKEN keeps it out of the process list.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token, read again at each connection.")
    ] = None,
    sub: Annotated[str | None, typer.Option(metavar="USER", help="Mint JWTs for this user with the secret.")] = None,
    jwt_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the secret (or WSCTL_JWT_SECRET); signs guests too.")
    ] = None,
    send: Annotated[list[str] | None, typer.Option(metavar="LINE", help="Send this first (repeatable).")] = None,
    type: Annotated[str, typer.Option(metavar="TYPE", help="Type of the envelope around bare text.")] = "message",
    expect: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="End with 0 once this type came (repeatable: all of them).")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="End with 0 after N lines.")] = None,
    timeout: Annotated[
        int | None, duration_option("End after this time; with 1 if --expect or --count is not met.")
    ] = None,
    linger: Annotated[
        int, duration_option("Silence after the last line of input that ends it.", show_default="500ms")
    ] = 500,
    auto_pong: Annotated[bool, typer.Option(help="Answer the server's pings and do not show them.")] = True,
    raw: Annotated[bool, typer.Option("--raw", help="Send and print frames as they are.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines in and out, also in a terminal.")] = False,
    reconnect: Annotated[
        bool | None, typer.Option(help="Come back after a lost connection.", show_default="in a terminal")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="HTTP header (repeatable).")
    ] = None,
    origin: Annotated[str | None, typer.Option(metavar="ORIGIN", help="Origin header, as a web page sends.")] = None,
    subprotocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Subprotocol (repeatable).")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA certificates to trust, PEM.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the TLS certificate.")] = False,
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="Connect through this Unix socket.")] = None,
    config: ConfigFile = None,
) -> None:
    """Talk to a server by lines: each envelope that arrives is one line of JSON on standard output.

    A line of input that is a JSON object with a "type" is sent as an envelope; any other object, list or text is
    the data of a message. At the end of the input it waits for replies until --linger of silence; with no input
    at all (such as </dev/null) it listens. Without a token it connects as a guest.
    """
    from wsclient import Client, DialOptions
    from wsclient.script import Script, ScriptOptions

    options = ScriptOptions(
        # Arguments that are not UTF-8 come as lone surrogates, which no frame can hold.
        sends=[line.encode(errors="surrogateescape").decode(errors="replace") for line in send or ()],
        bare_type=type,
        expect=frozenset(expect or ()),
        count=count,
        timeout_s=None if timeout is None else timeout / 1000,
        linger_s=linger / 1000,
        stop_at_eof=is_terminal(),
        raw=raw,
        show_pings=not auto_pong,
    )
    comes_back = is_terminal() if reconnect is None else reconnect
    dial = DialOptions(
        headers=[_header(text) for text in header or ()],
        origin=origin,
        subprotocols=tuple(subprotocol or ()),
        tls=_tls(ca, insecure),
        uds=uds,
        close_timeout_s=CLOSE_TIMEOUT_S,
    )
    tokens = _token_source(token, token_file, sub, read_jwt_secret(jwt_secret_file), dial)

    async def run() -> None:
        policy = ReconnectPolicy() if comes_back else None
        client = Client(url, token=tokens, session_id=session, reconnect=policy, auto_pong=auto_pong, dial=dial)
        await Script(client, options, MessageProtocol(now_ms), lines=stdin_lines(), out=out, note=note).run()

    asyncio.run(run())


def _token_source(
    token: str | None, file: Path | None, sub: str | None, secret: bytes | None, dial: DialOptions
) -> TokenSource | None:
    if sum(one is not None for one in (token, file, sub)) > 1:
        raise ConfigError("--token", "more than one token is given", "use one of --token, --token-file and --sub")
    from wsclient import GuestTokens, StaticToken

    if token is not None:
        return StaticToken(token)
    if file is not None:
        return _Computed(lambda: read_file(file, "--token-file").decode("ascii", "replace").strip())
    if sub is not None:
        from wscore.tokens import checked_secret, mint_jwt

        key = checked_secret(secret)
        return _Computed(lambda: mint_jwt(key, {"sub": sub, "exp": now_ms() // 1000 + JWT_TTL_S}))
    # The client makes unsigned guest tokens by itself, unless a header or the URL carries a token.
    return None if secret is None or dial.has_token else GuestTokens(now_ms, secret)


class _Computed:
    """A token source that calls a function each time."""

    def __init__(self, function: Callable[[], str]) -> None:
        self._function = function

    async def __call__(self) -> str:
        return self._function()


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        # Only the first word is repeated: what follows may be a secret.
        raise ConfigError("--header", f"{(text.split() or [text])[0]!r} is not NAME:VALUE")
    if "\r" in text or "\n" in text:
        raise ConfigError("--header", f"{name.strip()!r} contains a line break")
    return name.strip(), value.strip()


def _tls(ca: Path | None, insecure: bool) -> ssl.SSLContext | None:
    if ca is None and not insecure:
        return None
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise ConfigError("--ca", f"{ca}: {error.strerror or error}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


command = connect
