"""The server: engines, sessions, fan-out and heartbeats; `App` and `Context` are its SDK."""

from wsserver.app import App, default_app, fan_out
from wsserver.context import Context
from wsserver.hub import Hub
from wsserver.server import ListenError, WebSocketServer
from wsserver.settings import ServerSettings

__all__ = ["App", "Context", "Hub", "ListenError", "ServerSettings", "WebSocketServer", "default_app", "fan_out"]
