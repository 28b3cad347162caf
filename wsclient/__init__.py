"""The client library and its scriptable twin."""

from wsclient.client import Client
from wsclient.dialling import DialOptions, Pings
from wsclient.errors import (
    AuthenticationRefusedError,
    ConnectionClosedError,
    ConnectionFailedError,
    CredentialsRefusedError,
    HandshakeRefusedError,
    NoReplyError,
    NotConnectedError,
    ServerError,
)
from wsclient.events import (
    ClientState,
    Closed,
    ControlFrame,
    Doubled,
    Event,
    Gap,
    GroupEvent,
    Lost,
    Opened,
    Received,
    Reconnecting,
    Replayed,
    Resumed,
    RoomRefused,
    Sent,
)
from wsclient.handshake import Handshake, LineMark, TlsFacts
from wsclient.tokens import GuestTokens, StaticToken, TokenSource
from wscore.codes import Action, CloseCode, CloseSpec
from wscore.envelope import Envelope, InvalidMessageError, OutboundEnvelope
from wscore.errors import ConfigError
from wscore.foreign import Adapter, Frame, HeartbeatFrame, Kind, ProtocolName, ProtocolSettings, Reading
from wscore.payloads import Heartbeat, Limits, RateLimit, RoomJoined, RoomRecovery, SessionCreated, SessionRecovery
from wscore.reconnect import ReconnectPolicy

__all__ = [
    "Action",
    "Adapter",
    "AuthenticationRefusedError",
    "Client",
    "ClientState",
    "CloseCode",
    "CloseSpec",
    "Closed",
    "ConfigError",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "ControlFrame",
    "CredentialsRefusedError",
    "DialOptions",
    "Doubled",
    "Envelope",
    "Event",
    "Frame",
    "Gap",
    "GroupEvent",
    "GuestTokens",
    "Handshake",
    "HandshakeRefusedError",
    "Heartbeat",
    "HeartbeatFrame",
    "InvalidMessageError",
    "Kind",
    "Limits",
    "LineMark",
    "Lost",
    "NoReplyError",
    "NotConnectedError",
    "Opened",
    "OutboundEnvelope",
    "Pings",
    "ProtocolName",
    "ProtocolSettings",
    "RateLimit",
    "Reading",
    "Received",
    "ReconnectPolicy",
    "Reconnecting",
    "Replayed",
    "Resumed",
    "RoomJoined",
    "RoomRecovery",
    "RoomRefused",
    "Sent",
    "ServerError",
    "SessionCreated",
    "SessionRecovery",
    "StaticToken",
    "TlsFacts",
    "TokenSource",
]
