"""Graceful shutdown: say goodbye in batches and wait a bounded time for everyone to leave (design section 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from wscore.codes import CloseCode
from wscore.payloads import Disconnect
from wsserver.connections import ConnectionManager
from wsserver.delivery import Delivery
from wsserver.hub import Hub

BATCH_SIZE: Final = 200
# Clients are told to come back spread over this time, so that the next server is not stormed.
RETRY_SPREAD_MS: Final = 5_000


async def drain(
    connections: ConnectionManager, hub: Hub, delivery: Delivery, *, timeout_s: float, random: Callable[[], float]
) -> None:
    """Close every connection with 1001 and wait for them, at most `timeout_s`.

    Each gets a `disconnect` envelope with its own random `retryAfterMs` first. The loop runs between batches,
    so that the last ones are not kept waiting without heartbeats. `random` is in [0, 1).
    """
    everyone = connections.all()
    for start in range(0, len(everyone), BATCH_SIZE):
        for connection in everyone[start : start + BATCH_SIZE]:
            hub.send_to(connection, "disconnect", Disconnect(int(random() * RETRY_SPREAD_MS)))
            delivery.close(connection, CloseCode.GOING_AWAY, "Server shutting down")
        await asyncio.sleep(0)
    with suppress(TimeoutError):
        await asyncio.wait_for(connections.wait_empty(), timeout_s)
