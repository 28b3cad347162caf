"""Protocols of other servers, each an adapter: data and pure functions that client and load tester share."""

from wscore.foreign.adapter import Adapter, Frame, HeartbeatFrame, Kind, Reading
from wscore.foreign.ours import error_code, is_ours, lacks_token, wsctl_adapter
from wscore.foreign.settings import ProtocolName, ProtocolSettings, looks_like

__all__ = [
    "Adapter",
    "Frame",
    "HeartbeatFrame",
    "Kind",
    "ProtocolName",
    "ProtocolSettings",
    "Reading",
    "error_code",
    "is_ours",
    "lacks_token",
    "looks_like",
    "wsctl_adapter",
]
