"""The client library and its scriptable twin.

A name is imported when somebody asks for it: the terminal client shows its first frame before it needs most of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
    from wsclient.publishing.errors import (
        OperationRefusedError,
        OperationsError,
        OperationsKeyError,
        OperationsUnreachableError,
    )
    from wsclient.publishing.publisher import AsyncPublisher, Publisher
    from wsclient.tokens import GuestTokens, NoToken, StaticToken, TokenSource
    from wscore.codes import Action, CloseCode, CloseSpec
    from wscore.envelope import Envelope, InvalidMessageError, OutboundEnvelope
    from wscore.errors import ConfigError
    from wscore.foreign import Adapter, Frame, HeartbeatFrame, Kind, ProtocolName, ProtocolSettings, Reading
    from wscore.operations import (
        ActResult,
        ApiErrorCode,
        BatchResult,
        BroadcastResult,
        ConnectionRow,
        ConnectionsPage,
        DisconnectResult,
        GroupRow,
        HistoryRemoved,
        PresencePage,
        Problem,
        Published,
        RevokeResult,
        RoomsPage,
        SendResult,
        SessionsPage,
        TargetResult,
    )
    from wscore.payloads import Heartbeat, Limits, RateLimit, RoomJoined, RoomRecovery, SessionCreated, SessionRecovery
    from wscore.reconnect import ReconnectPolicy

__all__ = [
    "ActResult",
    "Action",
    "Adapter",
    "ApiErrorCode",
    "AsyncPublisher",
    "AuthenticationRefusedError",
    "BatchResult",
    "BroadcastResult",
    "Client",
    "ClientState",
    "CloseCode",
    "CloseSpec",
    "Closed",
    "ConfigError",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "ConnectionRow",
    "ConnectionsPage",
    "ControlFrame",
    "CredentialsRefusedError",
    "DialOptions",
    "DisconnectResult",
    "Doubled",
    "Envelope",
    "Event",
    "Frame",
    "Gap",
    "GroupEvent",
    "GroupRow",
    "GuestTokens",
    "Handshake",
    "HandshakeRefusedError",
    "Heartbeat",
    "HeartbeatFrame",
    "HistoryRemoved",
    "InvalidMessageError",
    "Kind",
    "Limits",
    "LineMark",
    "Lost",
    "NoReplyError",
    "NoToken",
    "NotConnectedError",
    "Opened",
    "OperationRefusedError",
    "OperationsError",
    "OperationsKeyError",
    "OperationsUnreachableError",
    "OutboundEnvelope",
    "Pings",
    "PresencePage",
    "Problem",
    "ProtocolName",
    "ProtocolSettings",
    "Published",
    "Publisher",
    "RateLimit",
    "Reading",
    "Received",
    "ReconnectPolicy",
    "Reconnecting",
    "Replayed",
    "Resumed",
    "RevokeResult",
    "RoomJoined",
    "RoomRecovery",
    "RoomRefused",
    "RoomsPage",
    "SendResult",
    "Sent",
    "ServerError",
    "SessionCreated",
    "SessionRecovery",
    "SessionsPage",
    "StaticToken",
    "TargetResult",
    "TlsFacts",
    "TokenSource",
]

_HOMES: Final = {
    "wsclient.client": "Client",
    "wsclient.dialling": "DialOptions Pings",
    "wsclient.errors": (
        "AuthenticationRefusedError ConnectionClosedError ConnectionFailedError CredentialsRefusedError "
        "HandshakeRefusedError NoReplyError NotConnectedError ServerError"
    ),
    "wsclient.events": (
        "ClientState Closed ControlFrame Doubled Event Gap GroupEvent Lost Opened Received Reconnecting "
        "Replayed Resumed RoomRefused Sent"
    ),
    "wsclient.handshake": "Handshake LineMark TlsFacts",
    "wsclient.publishing.errors": "OperationRefusedError OperationsError OperationsKeyError OperationsUnreachableError",
    "wsclient.publishing.publisher": "AsyncPublisher Publisher",
    "wsclient.tokens": "GuestTokens NoToken StaticToken TokenSource",
    "wscore.codes": "Action CloseCode CloseSpec",
    "wscore.envelope": "Envelope InvalidMessageError OutboundEnvelope",
    "wscore.errors": "ConfigError",
    "wscore.foreign": "Adapter Frame HeartbeatFrame Kind ProtocolName ProtocolSettings Reading",
    "wscore.operations": (
        "ActResult ApiErrorCode BatchResult BroadcastResult ConnectionRow ConnectionsPage DisconnectResult "
        "GroupRow HistoryRemoved PresencePage Problem Published RevokeResult RoomsPage SendResult "
        "SessionsPage TargetResult"
    ),
    "wscore.payloads": "Heartbeat Limits RateLimit RoomJoined RoomRecovery SessionCreated SessionRecovery",
    "wscore.reconnect": "ReconnectPolicy",
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
