"""The operations port beside a server, or beside the supervisor of several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wscore.units import counted_noun
from wsserver.operations.asking import Operations
from wsserver.operations.settings import PortSettings
from wsserver.telemetry.logs import EventLog


@asynccontextmanager
async def operations_port(settings: PortSettings | None, operations: Operations, log: EventLog) -> AsyncIterator[str]:
    """Serve the port while the block runs, if there is to be one; yields what to say of it. Raises ConfigError."""
    if settings is None:
        yield ""
        return
    # Imported here: an extra brings what they need.
    from wsserver.operations.port.app import port_app
    from wsserver.operations.port.serving import OperationsPort

    port = OperationsPort(settings)
    port.start(port_app(operations, settings.keys, log), log)
    count = 0 if settings.keys is None else len(settings.keys)
    log.info("ops.listening", url=port.url, keys=count)
    opened = f"by {counted_noun(count, 'key')}" if count else "open to everybody on this machine"
    try:
        yield f"{port.url} ({opened})"
    finally:
        await port.stop()
