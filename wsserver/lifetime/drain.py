"""Graceful shutdown: goodbyes in batches, then everything ends within one budget of time (design section 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from wscore.disconnects import SHUTDOWN
from wscore.payloads import Disconnect
from wsserver.connections.delivery import Delivery
from wsserver.connections.handlerqueue import HandlerTasks
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.sender import EnvelopeSender
from wsserver.lifetime.echo import EchoRoom
from wsserver.lifetime.heartbeats import Heartbeats
from wsserver.sdk.lifespans import LifespanError, Lifespans
from wsserver.telemetry.budget import GOODBYE, HANDLERS, AbandonedError, Budget, within
from wsserver.telemetry.logs import EventLog

BATCH_SIZE: Final = 200
# Clients are told to come back spread over this time, so that the next server is not stormed.
RETRY_SPREAD_MS: Final = 5_000
AT_ONCE_S: Final = 0.3  # what is left of the budget when the drain itself is cancelled


class Drain:
    """The end of a server: clients and handlers first, then what they worked with. `random` is in [0, 1)."""

    def __init__(
        self,
        *,
        connections: ConnectionManager,
        echo: EchoRoom,
        sender: EnvelopeSender,
        delivery: Delivery,
        tasks: HandlerTasks,
        heartbeats: Heartbeats,
        lifespans: Lifespans,
        random: Callable[[], float],
        log: EventLog,
    ) -> None:
        self._connections = connections
        self._echo = echo
        self._sender = sender
        self._delivery = delivery
        self._tasks = tasks
        self._heartbeats = heartbeats
        self._lifespans = lifespans
        self._random = random
        self._log = log

    async def run(self, budget_ms: int, stop_listening: Callable[[], None]) -> None:
        """Say goodbye to everyone, wait for them and for the app, and end what is left.

        Cancelled, it drops what is left at once. Raises AbandonedError for what of the app did not end even then,
        LifespanError for what failed at its end.
        """
        budget = Budget(budget_ms / 1000)
        self._log.info("server.draining", connections=len(self._connections))
        try:
            self._echo.close_all()
            await self._say_goodbye()
            await within(budget.left_s(GOODBYE), self._connections.wait_empty(), self._echo.wait_empty())
            await self._tasks.wait(budget.left_s(GOODBYE))
        except asyncio.CancelledError:
            budget.cut(AT_ONCE_S)
            raise
        finally:
            await self._end_the_rest(budget, budget_ms, stop_listening)

    async def _say_goodbye(self) -> None:
        """Close every connection with 1001, after a `disconnect` with its own random `retryAfterMs`.

        The loop runs between batches, so that the last ones are not kept waiting without heartbeats.
        """
        everyone = self._connections.all()
        for start in range(0, len(everyone), BATCH_SIZE):
            for connection in everyone[start : start + BATCH_SIZE]:
                self._sender.send(connection, "disconnect", Disconnect(int(self._random() * RETRY_SPREAD_MS)))
                self._delivery.close(connection, SHUTDOWN)
            await asyncio.sleep(0)

    async def _end_the_rest(self, budget: Budget, budget_ms: int, stop_listening: Callable[[], None]) -> None:
        dropped = self._connections.all()
        for connection in dropped:
            connection.channel.abort()
        self._echo.abort_all()
        await within(budget.left_s(HANDLERS), self._connections.wait_empty(), self._echo.wait_empty())
        left: tuple[str, ...] = ()
        if handlers := await self._tasks.cancel(budget.left_s(HANDLERS)):
            left = (f"{handlers} handler{'s' * (handlers > 1)}",)
        self._heartbeats.stop()
        stop_listening()
        failed: LifespanError | None = None
        try:
            left += await self._lifespans.leave(budget)
        except LifespanError as error:
            failed = error
        finally:
            self._log.info("server.stopped", dropped=len(dropped))
        if left:
            self._log.error("server.abandoned", left=", ".join(left))
            raise AbandonedError(left, budget_ms)
        if failed is not None:
            raise failed
