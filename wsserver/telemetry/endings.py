"""What log lines tell of a connection that is refused or has ended."""

from __future__ import annotations

from wscore.disconnects import Disconnect, DisconnectError


def refusal_fields(refusal: DisconnectError) -> dict[str, object]:
    """Return the fields for a connection that is not let in."""
    disconnect = refusal.disconnect
    named = {"code": int(disconnect.close_code), "disconnect": disconnect.name, "rule": refusal.rule}
    return {**named, "reason": disconnect.reason, **refusal.details}


def end_fields(code: int, reason: str, disconnect: Disconnect | None) -> dict[str, object]:
    """Return the fields for one that has ended: by the server for that `disconnect`, or by its peer."""
    if disconnect is None:
        return {"code": int(code), "by": "peer", "reason": reason}
    named = {"code": int(disconnect.close_code), "by": "server", "disconnect": disconnect.name}
    return {**named, "reason": disconnect.reason}
