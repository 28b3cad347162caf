"""The server: engines, sessions, fan-out and heartbeats; `App` and `Context` are its SDK."""

from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import InvalidMessageError, UnsendableError
from wscore.errors import ConfigError
from wscore.guest import GuestMode
from wscore.heartbeat import HeartbeatPolicy
from wscore.keys import JwtKey
from wscore.message import Message
from wscore.principal import Principal
from wscore.ratelimit import Rate
from wscore.recovery import RecoveryLimits
from wscore.revocations import Revocation
from wscore.rooms import RoomAccess, RoomGrant, RoomName
from wscore.tokens import ClaimNames
from wsserver.brokers.base import (
    BrokerRefusedError,
    BrokerUnreachableError,
    NotPublished,
    NotPublishedError,
    PublishResult,
)
from wsserver.brokers.redistarget import RedisTarget
from wsserver.brokers.revoked import NotRevokedError, RevocationsFullError
from wsserver.connections.inbound import InboundLimits
from wsserver.connections.ratelimits import RatePolicy
from wsserver.connections.rooms import RoomLimitError, RoomLimits
from wsserver.connections.sessions import SessionJoin
from wsserver.connections.users import User
from wsserver.engines.listener import ListenError
from wsserver.engines.pending import PendingLimits
from wsserver.handshake.forwarded import ForwardedHeader
from wsserver.handshake.limits import ConnectionLimits
from wsserver.outbound.backlog import OutboundLimits
from wsserver.sdk.app import App, default_app, fan_out
from wsserver.sdk.appsettings import Secret
from wsserver.sdk.connecting import ConnectRequest
from wsserver.sdk.context import Context
from wsserver.sdk.errors import AppError, AppErrorCode
from wsserver.sdk.failures import ExitRequest
from wsserver.sdk.hub import Hub
from wsserver.sdk.lifespans import LifespanError
from wsserver.sdk.requests import ConnectionGoneError
from wsserver.server import WebSocketServer
from wsserver.settings import EngineName, Profile, ServerSettings
from wsserver.telemetry.budget import AbandonedError
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics, Sample
from wsserver.webhooks.settings import ConnectingSettings, HookUrl, WebhookEvent, WebhookSettings
from wsserver.webhooks.signing import SigningKeys

__all__ = [
    "AbandonedError",
    "App",
    "AppError",
    "AppErrorCode",
    "BrokerRefusedError",
    "BrokerUnreachableError",
    "ClaimNames",
    "Clock",
    "CloseCode",
    "ConfigError",
    "ConnectRequest",
    "ConnectingSettings",
    "ConnectionGoneError",
    "ConnectionLimits",
    "Context",
    "EngineName",
    "ErrorCode",
    "EventLog",
    "ExitRequest",
    "ForwardedHeader",
    "GuestMode",
    "HeartbeatPolicy",
    "HookUrl",
    "Hub",
    "InboundLimits",
    "InvalidMessageError",
    "JwtKey",
    "LifespanError",
    "ListenError",
    "Message",
    "Metrics",
    "NotPublished",
    "NotPublishedError",
    "NotRevokedError",
    "OutboundLimits",
    "PendingLimits",
    "Principal",
    "Profile",
    "PublishResult",
    "Rate",
    "RatePolicy",
    "RecoveryLimits",
    "RedisTarget",
    "Revocation",
    "RevocationsFullError",
    "RoomAccess",
    "RoomGrant",
    "RoomLimitError",
    "RoomLimits",
    "RoomName",
    "Sample",
    "Secret",
    "ServerSettings",
    "SessionJoin",
    "SigningKeys",
    "UnsendableError",
    "User",
    "WebSocketServer",
    "WebhookEvent",
    "WebhookSettings",
    "default_app",
    "fan_out",
]
