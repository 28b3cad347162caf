"""Delivers events to one target: in order, a batch at a time, again and again until it has them, or it is too late."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from wscore.reconnect import ReconnectPolicy
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics, WebhookDrop
from wsserver.webhooks.exchange import BackendAnswer, PostError
from wsserver.webhooks.waiting import EventBatch, EventQueue

GATHER_S: Final = 0.1  # what happens within so long is sent together
GIVE_UP_S: Final = 15 * 60  # a batch that is not taken for so long is dropped, and the next one is tried
RETRIES: Final = ReconnectPolicy(base_ms=500, cap_ms=60_000)
AT_END: Final = ReconnectPolicy(base_ms=100, cap_ms=500)  # while the server shuts down
LONGEST_PAUSE_S: Final = 60  # whatever a target asks for
LOG_EVERY_S: Final = 60.0


class Deliverer:
    """The one sender for a target; `start` and `stop` it on the event loop."""

    def __init__(
        self,
        number: int,
        queue: EventQueue,
        post: Callable[[str, bytes], Awaitable[BackendAnswer]],
        body_of: Callable[[EventBatch], bytes],
        *,
        now_s: Callable[[], float],
        metrics: Metrics,
        log: EventLog,
    ) -> None:
        self._number = number
        self._queue = queue
        self._post = post
        self._body_of = body_of
        self._now_s = now_s
        self._metrics = metrics
        self._log = log
        self._run_id = secrets.token_hex(8)
        self._batches = 0
        self._is_failing = False
        self._dropped = 0  # since the log was last told
        self._told_s = -LOG_EVERY_S
        self._is_ending = False
        self._changed = asyncio.Event()  # there is something to send, or it is to end
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, event: bytes) -> None:
        """Have an event sent."""
        if dropped := self._queue.put(event):
            self._drop(WebhookDrop.NO_ROOM, dropped)
        self._changed.set()

    async def stop(self, within_s: float) -> None:
        """Send what waits, within so many seconds; what is left then is dropped, and counted."""
        self._is_ending = True
        self._changed.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=within_s)
            self._task.cancel()
            await asyncio.wait((self._task,))
        if left := self._queue.clear():
            self._drop(WebhookDrop.SHUTDOWN, left)
        self._tell_dropped(always=True)

    async def _run(self) -> None:
        while True:
            if not len(self._queue):
                if self._is_ending:
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            if not self._queue.fills_batch and not self._is_ending:
                await asyncio.sleep(GATHER_S)
            await self._deliver(self._queue.take())

    async def _deliver(self, batch: EventBatch) -> None:
        """Send one batch until it is taken, the same each time, or given up."""
        self._batches += 1
        message_id = f"msg_{self._run_id}_{self._batches}"
        body = self._body_of(batch)
        began_s = self._now_s()
        attempt = 0
        while True:
            pause_s = 0.0
            try:
                answer = await self._post(message_id, body)
                problem = "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
                pause_s = float(min(answer.retry_after_s, LONGEST_PAUSE_S))
            except PostError as error:
                problem = str(error)
            if not problem:
                self._taken(len(batch.events))
                return
            if not self._is_failing:
                self._is_failing = True
                self._log.warning("webhook.failing", target=self._number, problem=problem)
            if self._now_s() - began_s >= GIVE_UP_S:
                self._queue.done(lost=len(batch.events) + batch.lost)
                self._drop(WebhookDrop.GIVEN_UP, len(batch.events))
                return
            await self._pause(attempt, pause_s)
            attempt += 1
            self._metrics.webhook_retries.value += 1

    def _taken(self, count: int) -> None:
        self._queue.done()
        self._metrics.webhook_sent.value += count
        if self._is_failing:
            self._is_failing = False
            self._log.info("webhook.recovered", target=self._number, waiting=len(self._queue))
        self._tell_dropped(always=True)

    async def _pause(self, attempt: int, at_least_s: float) -> None:
        """Wait before the next try: a random time, and a short one from the moment on that the server ends."""
        if not self._is_ending:
            delay_s = RETRIES.delay_ms(attempt, random.random()) / 1000  # noqa: S311 - it is no secret
            end_s = self._now_s() + max(delay_s, at_least_s)
            while not self._is_ending and (left_s := end_s - self._now_s()) > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._changed.wait()
            return
        await asyncio.sleep(AT_END.delay_ms(attempt, random.random()) / 1000)  # noqa: S311

    def _drop(self, reason: WebhookDrop, count: int) -> None:
        self._metrics.webhook_dropped[reason].value += count
        self._dropped += count
        self._tell_dropped()

    def _tell_dropped(self, *, always: bool = False) -> None:
        now_s = self._now_s()
        if self._dropped and (always or now_s - self._told_s >= LOG_EVERY_S):
            self._log.warning("webhook.dropped", target=self._number, events=self._dropped)
            self._dropped, self._told_s = 0, now_s
