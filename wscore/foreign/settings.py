"""Which protocol a server speaks, by name, and the few settings that describe any other."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from wscore.envelope import Envelope
from wscore.errors import ConfigError
from wscore.foreign.adapter import Adapter, Frame, HeartbeatFrame, Kind, Reading
from wscore.foreign.graphqlws import graphql_adapter
from wscore.foreign.jsonrpc import JSONRPC
from wscore.foreign.ours import wsctl_adapter
from wscore.foreign.phoenix import phoenix_adapter
from wscore.foreign.plain import DATA_KEYS, ID_KEYS, RAW, TYPE_KEYS, JsonKeys, json_adapter, wrapping_json_adapter
from wscore.foreign.socketio import socketio_adapter
from wscore.foreign.values import is_json

ANY: Final = "any"


class ProtocolName(StrEnum):
    """What `--protocol` chooses from."""

    AUTO = "auto"
    WSCTL = "wsctl"
    RAW = "raw"
    JSON = "json"
    GRAPHQL_WS = "graphql-ws"
    SOCKETIO = "socketio"
    PHOENIX = "phoenix"
    JSONRPC = "jsonrpc"


# How the first frame of a server begins, or its answer to one that was no message of its protocol.
_BEGINNINGS: Final = (
    (re.compile(r'0\{"sid":'), ProtocolName.SOCKETIO),
    (re.compile(r'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"'), ProtocolName.JSONRPC),
    (re.compile(r'\s*\[[^,]*,[^,]*,"[^"]*","phx_'), ProtocolName.PHOENIX),
    (re.compile(r'\s*\{"type":"connection_ack"'), ProtocolName.GRAPHQL_WS),
)


def looks_like(frame: Frame) -> ProtocolName | None:
    """Return the protocol that a frame belongs to by its looks, None for one that could be anything."""
    if isinstance(frame, bytes):
        return None
    return next((name for pattern, name in _BEGINNINGS if pattern.match(frame)), None)


_WITH_KEYS: Final = frozenset((ProtocolName.AUTO, ProtocolName.JSON))
_WITH_CHANNEL: Final = frozenset((ProtocolName.SOCKETIO, ProtocolName.PHOENIX))
_WITH_HELLO: Final = _WITH_CHANNEL | {ProtocolName.GRAPHQL_WS}


class ProtocolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol, and what is said of it; times in seconds.

    `on_open` are frames that go out first on every connection. The connection is ready with the first message of the
    type `greeting`, whatever comes first if that is `any`. `type_key`, `id_key` and `data_key` are members of JSON
    objects, with dots for members of members. `heartbeat` is a frame that is sent every `heartbeat_every_s`; a frame
    that is `beat`, or has it as its type, is answered with `beat_answer`. `channel` is the topic of Phoenix or the
    namespace of Socket.IO, `hello` the JSON that is given to connect or to join.

    Raises ConfigError for what contradicts each other.
    """

    name: ProtocolName = ProtocolName.AUTO
    on_open: tuple[str, ...] = ()
    greeting: str | None = None
    type_key: str | None = None
    id_key: str | None = None
    data_key: str | None = None
    heartbeat: str | None = None
    heartbeat_every_s: float = 30.0
    beat: str | None = None
    beat_answer: str | None = None
    channel: str | None = None
    hello: str | None = None

    def __post_init__(self) -> None:
        keys = (("--type-key", self.type_key), ("--id-key", self.id_key), ("--data-key", self.data_key))
        for option, value, names in (
            *((option, value, _WITH_KEYS) for option, value in keys),
            ("--channel", self.channel, _WITH_CHANNEL),
            ("--hello", self.hello, _WITH_HELLO),
        ):
            if value is not None and self.name not in names:
                raise ConfigError(option, f"means nothing to {self.name}", f"it is for {' and '.join(sorted(names))}")
        for option, value in keys:
            if value is not None and not all(value.split(".")):
                raise ConfigError(option, f"{value!r} is no key", "write a name, or names with dots between them")
        if self.hello is not None and not is_json(self.hello):
            raise ConfigError("--hello", "is not JSON")
        if self.name is ProtocolName.WSCTL and self.is_customised:
            raise ConfigError(
                "--protocol", "wsctl has its own greeting and heartbeat", "choose json for another server"
            )
        if (self.beat is None) is not (self.beat_answer is None):
            raise ConfigError("--beat-answer", "and --beat belong together", "write --beat ping --beat-answer pong")
        if self.heartbeat_every_s <= 0:
            raise ConfigError("--heartbeat-every", "must be more than 0")

    @property
    def is_customised(self) -> bool:
        """Whether first frames, a greeting or a heartbeat are given."""
        return bool(self.on_open) or any(value is not None for value in (self.greeting, self.heartbeat, self.beat))

    @property
    def is_chosen(self) -> bool:
        """Whether anything says what the server speaks."""
        return self != ProtocolSettings()

    def adapter(self, now_ms: Callable[[], int]) -> Adapter:
        """Return the adapter; `now_ms` gives the time of wsctl's envelopes, wall-clock ms."""
        adapter = self._named(now_ms)
        if self.is_customised:
            heartbeat = adapter.heartbeat
            if self.heartbeat is not None:
                frame = self.heartbeat
                heartbeat = HeartbeatFrame(self.heartbeat_every_s, lambda _: frame)
            adapter = msgspec.structs.replace(
                adapter,
                read=self._reading(adapter.read),
                first=(*adapter.first, *self.on_open),
                awaits_greeting=adapter.awaits_greeting or self.greeting is not None,
                heartbeat=heartbeat,
            )
        return adapter

    def _named(self, now_ms: Callable[[], int]) -> Adapter:
        hello = None if self.hello is None else msgspec.Raw(self.hello.strip().encode())
        match self.name:
            case ProtocolName.WSCTL:
                return wsctl_adapter(now_ms)
            case ProtocolName.RAW:
                return RAW
            case ProtocolName.GRAPHQL_WS:
                return graphql_adapter(hello)
            case ProtocolName.SOCKETIO:
                return socketio_adapter(self.channel or "/", hello)
            case ProtocolName.PHOENIX:
                return phoenix_adapter(self.channel or "room:lobby", hello)
            case ProtocolName.JSONRPC:
                return JSONRPC
        keys = JsonKeys(
            *(
                guessed if key is None else (key,)
                for key, guessed in ((self.type_key, TYPE_KEYS), (self.id_key, ID_KEYS), (self.data_key, DATA_KEYS))
            )
        )
        adapter = json_adapter(keys) if self.type_key is None else wrapping_json_adapter(keys)
        return msgspec.structs.replace(adapter, name=str(self.name))

    def _reading(self, read: Callable[[Frame], Reading]) -> Callable[[Frame], Reading]:
        """Return `read` with what was set instead of what the protocol has."""

        def customised(frame: Frame) -> Reading:
            reading = read(frame)
            name = None if reading.message is None else reading.message.type
            if self.beat is not None and self.beat in (frame, name):
                return Reading(Kind.HEARTBEAT, reading.message or Envelope("ping", 0), self.beat_answer)
            if self.greeting is not None and self.greeting in (ANY, name, frame):
                return Reading(Kind.GREETING, reading.message, reading.answer)
            return reading

        return customised
