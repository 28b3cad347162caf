"""The server: engines, sessions, fan-out and heartbeats; `App` and `Context` are its SDK."""

from wscore.codes import CloseCode, ErrorCode
from wscore.errors import ConfigError
from wscore.guest import GuestMode
from wscore.heartbeat import HeartbeatPolicy
from wscore.keys import JwtKey
from wscore.principal import Principal
from wscore.ratelimit import Rate
from wscore.tokens import ClaimNames
from wsserver.admission import ConnectionLimits
from wsserver.app import App, default_app, fan_out
from wsserver.backlog import OutboundLimits
from wsserver.clock import Clock
from wsserver.context import Context
from wsserver.counters import Counters
from wsserver.failures import ExitRequest
from wsserver.hub import Hub
from wsserver.inbound import InboundLimits
from wsserver.lifespans import LifespanError
from wsserver.logs import EventLog
from wsserver.proxies import ForwardedHeader
from wsserver.ratelimits import RatePolicy
from wsserver.server import ListenError, WebSocketServer
from wsserver.sessions import SessionJoin
from wsserver.settings import EngineName, Profile, ServerSettings

__all__ = [
    "App",
    "ClaimNames",
    "Clock",
    "CloseCode",
    "ConfigError",
    "ConnectionLimits",
    "Context",
    "Counters",
    "EngineName",
    "ErrorCode",
    "EventLog",
    "ExitRequest",
    "ForwardedHeader",
    "GuestMode",
    "HeartbeatPolicy",
    "Hub",
    "InboundLimits",
    "JwtKey",
    "LifespanError",
    "ListenError",
    "OutboundLimits",
    "Principal",
    "Profile",
    "Rate",
    "RatePolicy",
    "ServerSettings",
    "SessionJoin",
    "WebSocketServer",
    "default_app",
    "fan_out",
]
