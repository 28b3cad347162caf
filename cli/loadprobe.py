"""Finds out what a server speaks before it is loaded, by what comes at one connection (design section 13)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli.options.handshake import RouteOptions
from cli.options.load import LoadTargetOptions
from loadtest.scenarios.base import FileKind, Scenario
from loadtest.wire import Tokens
from wscore.errors import ConfigError
from wscore.foreign import Frame, ProtocolName, is_ours, looks_like
from wscore.foreign.graphqlws import SUBPROTOCOL
from wscore.foreign.plain import read_json
from wscore.text import neutralise, redact
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from wsclient import ConnectionFailedError, ControlFrame, Handshake, TokenSource
    from wsclient.dialling import End

SILENCE_S: Final = 1.0  # a server that says nothing for so long waits for its client to speak
TRIES: Final = 3  # one refusal is no verdict
PAUSE_S: Final = 0.3
_NO_SUBPROTOCOL: Final = 4406  # "Subprotocol not acceptable", as graphql-ws closes for want of its own
_NO_ENGINE: Final = ("Transport unknown", "Unsupported protocol version")  # Engine.IO's words without its fields
_SHOWN: Final = 60  # characters of the type of a first message
_JSON: Final = re.compile(r"\s*(\{(?!\{)|\[)")  # an object or a list, and no variable
_PROBE_USER: Final = "load-0"


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a server speaks, and what tells that."""

    name: ProtocolName
    by: str

    def __str__(self) -> str:
        return f"{self.name}, by {self.by}"


@dataclass(slots=True)
class _Signs:
    """What came: the handshake, and a frame, an end, or nothing behind it."""

    handshake: Handshake | None = None
    frame: Frame | None = None
    end: End | None = None
    error: ConnectionFailedError | None = None

    @property
    def is_mute(self) -> bool:
        """Whether the server takes connections and answers nothing in time, as it will the next time."""
        return self.error is not None and self.error.problem.startswith("no answer")

    def see(self, event: Handshake | ControlFrame) -> None:
        """Note the handshake."""
        from wsclient import Handshake

        if isinstance(event, Handshake):
            self.handshake = event


async def find_out(url: str, target: LoadTargetOptions, tokens: Tokens, lines: Sequence[str]) -> Spoken | None:
    """Return what the server at `url` speaks, to which `lines` will be said; None where the load itself will tell.

    Nothing is sent: only what the options ask for is in the request. Raises ConfigError where nothing tells, and
    ConnectionFailedError where no connection comes about.
    """
    from wsclient import ConnectionFailedError, CredentialsRefusedError
    from wsclient.url import is_seed_url, shown_url

    settings = target.protocol.settings()
    if settings != msgspec.structs.replace(settings, type_key=None, id_key=None, data_key=None):
        return Spoken(ProtocolName.JSON, "the keys that are given")
    is_presumed = is_seed_url(url)
    token = _token_source(url, target, tokens)
    for number in range(1 if is_presumed else TRIES):
        if number:
            await asyncio.sleep(PAUSE_S)
        signs = await _signs(url, target, token)
        spoken = _told(signs) or _written(signs, lines)
        if spoken is not None:
            return spoken
        if signs.error is None or isinstance(signs.error, CredentialsRefusedError) or signs.is_mute:
            break
    if is_presumed:
        return None if signs.error is not None else Spoken(ProtocolName.WSCTL, "its path")
    if signs.error is not None:
        raise signs.error
    if signs.end is not None:
        end = neutralise(f"{signs.end.code} {signs.end.reason}".rstrip())
        raise ConnectionFailedError(
            shown_url(url), f"closed with {end} before it said anything; say with --protocol what it speaks"
        )
    raise ConfigError(
        "--protocol",
        f"{shown_url(url)} takes connections and says nothing, so nothing tells what it speaks",
        "say raw for an echo, else name it and give a --message that it answers",
    )


def lines_of(scenario: Scenario, target: LoadTargetOptions, content: Any) -> Sequence[str]:
    """Return what will be said to a server; people's own users say what nobody knows, so it is text."""
    match None if scenario.file is None else scenario.file.kind:
        case FileKind.RECORDING:
            return [message.text for message in content]
        case FileKind.SCENARIO:
            return target.messages.message or ("",)
    return target.messages.message or ()


def written_in(lines: Sequence[str]) -> ProtocolName:
    """Return what messages are written in, which may have {{variables}} in them."""
    names = {looks_like(line) or _form_of(line) for line in lines}
    return names.pop() if len(names) == 1 else ProtocolName.RAW


def _form_of(text: str) -> ProtocolName:
    return ProtocolName.JSON if _JSON.match(text) else ProtocolName.RAW


def _told(signs: _Signs) -> Spoken | None:
    """Return what the server itself shows."""
    handshake, frame = signs.handshake, signs.frame
    if frame is not None and is_ours(frame):
        return Spoken(ProtocolName.WSCTL, "its first message")
    if signs.end is not None and signs.end.code == _NO_SUBPROTOCOL:
        return Spoken(ProtocolName.GRAPHQL_WS, f"its close code {_NO_SUBPROTOCOL}")
    if handshake is not None and handshake.subprotocol == SUBPROTOCOL:
        return Spoken(ProtocolName.GRAPHQL_WS, "the subprotocol that it chose")
    if handshake is not None and handshake.status == HTTPStatus.BAD_REQUEST:
        said = next((words for words in _NO_ENGINE if words in handshake.body), None)
        if said is not None:
            return Spoken(ProtocolName.SOCKETIO, f"its answer {said}")
    if isinstance(frame, bytes):
        return Spoken(ProtocolName.RAW, "its first message, which is binary")
    if frame is not None:
        type_name = "" if (message := read_json(frame).message) is None else neutralise(redact(message.type[:_SHOWN]))
        shown = f", of the type {type_name}" if type_name else ""
        return Spoken(looks_like(frame) or _form_of(frame), f"its first message{shown}")
    return None


def _written(signs: _Signs, lines: Sequence[str]) -> Spoken | None:
    """Return what is to be said to a server that listens: it is for whoever wrote that."""
    is_silent = signs.error is None and signs.end is None
    return Spoken(written_in(lines), "what is sent, as it says nothing first") if lines and is_silent else None


def _token_source(url: str, target: LoadTargetOptions, tokens: Tokens) -> TokenSource | None:
    """Return where the token comes from; a guest is nobody, whose token goes to where wsctl's clients look alone."""
    from wsclient import GuestTokens, StaticToken
    from wsclient.url import has_token, is_seed_url

    if tokens.token is not None:
        return StaticToken(tokens.token)
    if tokens.as_users and tokens.secret is not None:
        from wscore.tokens import mint_jwt

        return StaticToken(mint_jwt(tokens.secret, {"sub": _PROBE_USER, "exp": now_ms() // 1000 + 60}))
    carries_token = has_token(url) or target.handshake.dial().has_token
    is_guest = is_seed_url(url) and not carries_token and not tokens.is_none
    return GuestTokens(now_ms, tokens.secret) if is_guest else None


async def _signs(url: str, target: LoadTargetOptions, token: TokenSource | None) -> _Signs:
    """Connect, wait for what comes first, and leave."""
    from wsclient import ConnectionFailedError
    from wsclient.clientsocket import ClientSocket
    from wsclient.dialling import NO_PROXY, End
    from wsclient.url import connect_url, shown_url

    signs = _Signs()
    tls = target.trust.tls()
    dial = target.handshake.dial(tls=tls, route=RouteOptions(proxy=NO_PROXY))
    full_url = connect_url(url, token=None if token is None else await token(), session_id=None)
    try:
        socket = await ClientSocket.dial(full_url, shown_url(url), dial, signs.see)
    except ConnectionFailedError as error:
        signs.error = error
        return signs
    try:
        async with asyncio.timeout(SILENCE_S):
            came = await socket.receive()
    except TimeoutError:
        return signs
    finally:
        await socket.close()
    if isinstance(came, End):
        signs.end = came
    else:
        signs.frame = came
    return signs
