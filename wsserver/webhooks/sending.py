"""The webhooks of a server, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from wsserver.telemetry.budget import ALL, Budget
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics
from wsserver.webhooks.delivering import Deliverer
from wsserver.webhooks.events import Events
from wsserver.webhooks.posting import Poster
from wsserver.webhooks.settings import WebhookSettings
from wsserver.webhooks.waiting import EventQueue

POST_TIMEOUT_S: Final = 10.0


class Webhooks:
    """Tells every target of `events`; `process` is what the others call this one."""

    def __init__(self, settings: WebhookSettings, process: str, clock: Clock, metrics: Metrics, log: EventLog) -> None:
        memory = settings.memory // len(settings.targets)
        self._queues = [EventQueue(memory) for _ in settings.targets]
        self._posters = [
            Poster(target, settings.keys, clock.now_ms, timeout_s=POST_TIMEOUT_S) for target in settings.targets
        ]
        self._targets = [
            Deliverer(
                target.number,
                queue,
                poster.post,
                lambda batch: self.events.body_of(batch),
                now_s=clock.now_s,
                metrics=metrics,
                log=log,
            )
            for target, queue, poster in zip(settings.targets, self._queues, self._posters, strict=True)
        ]
        self.events = Events(settings.events, self._targets, process, clock.now_ms)

    @property
    def size(self) -> int:
        """What waits to be sent, in bytes."""
        return sum(queue.size for queue in self._queues)

    @property
    def waiting(self) -> int:
        """How many events wait to be sent, once for each target."""
        return sum(map(len, self._queues))

    def start(self) -> None:
        """Send from now on."""
        for target in self._targets:
            target.start()

    async def stop(self, budget: Budget, rooms_told: Callable[[], Awaitable[None]]) -> None:
        """Send what waits within the budget, drop the rest, and hang up; at once, if whoever calls it was cancelled.

        `rooms_told` waits until everything that has happened in rooms is known.
        """
        task = asyncio.current_task()
        is_cut = task is not None and task.cancelling() > 0
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if is_cut else budget.left_s(ALL) / 2):
                await rooms_told()
        within_s = 0 if is_cut else budget.left_s(ALL)
        await asyncio.gather(*(target.stop(within_s) for target in self._targets))
        for poster in self._posters:
            poster.close()
