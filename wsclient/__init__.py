"""The client library and its scriptable twin."""

from wsclient.client import Client
from wsclient.dialling import DialOptions
from wsclient.errors import (
    AuthenticationRefusedError,
    ConnectionClosedError,
    ConnectionFailedError,
    NoReplyError,
    NotConnectedError,
    ServerError,
)
from wsclient.events import ClientState, Closed, Event, Opened, Received, Reconnecting, Sent
from wsclient.tokens import GuestTokens, StaticToken, TokenSource

__all__ = [
    "AuthenticationRefusedError",
    "Client",
    "ClientState",
    "Closed",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "DialOptions",
    "Event",
    "GuestTokens",
    "NoReplyError",
    "NotConnectedError",
    "Opened",
    "Received",
    "Reconnecting",
    "Sent",
    "ServerError",
    "StaticToken",
    "TokenSource",
]
