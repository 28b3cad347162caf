"""What log and metrics tell of a connection that is refused or has ended."""

from __future__ import annotations

from wscore.disconnects import OF_AUTH_ERRORS, Disconnect, DisconnectError
from wsserver.telemetry.metrics import PEER, Metrics


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


def count_refusal(metrics: Metrics, refusal: DisconnectError, error_bytes: int) -> None:
    """Count a connection that is not let in, and the `error` of so many bytes that it gets."""
    disconnect = refusal.disconnect
    metrics.refused[disconnect.name].value += 1
    if disconnect.error in OF_AUTH_ERRORS:
        metrics.auth_failures[refusal.rule].value += 1
    if disconnect.error is not None:
        metrics.errors[disconnect.error].value += 1
        metrics.sent["error"].add(error_bytes)


def count_end(metrics: Metrics, code: int, disconnect: Disconnect | None) -> None:
    """Count one that has ended: by the server for that `disconnect`, else by its peer with `code`."""
    name, code = (PEER, code) if disconnect is None else (disconnect.name, disconnect.close_code)
    metrics.closed[name, str(int(code))].value += 1
