"""Lines on their way to the server: paced, proven to have been taken, sent again, or named as lost.

That a server took a line is proven by a fence, a `ping` with an `id` behind it: messages of a connection are handled in
the order in which they came, so what was refused was refused before the `pong`. A server that did not greet as one of
ours promises nothing of the kind and gets nothing that nobody asked for: what it was sent counts as taken.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from wsclient.errors import NotConnectedError, ServerError
from wsclient.flight import Flight, OutgoingLine
from wsclient.losses import Losses
from wsclient.pacing import Pacer
from wsclient.replies import server_error
from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol
from wscore.foreign import Frame
from wscore.payloads import SessionCreated, Timestamp

QUEUED_LINES: Final = 16
IDLE_S: Final = 0.2  # without another line for so long, what is under way gets its fence
MAX_RATE_TRIES: Final = 10
MAX_TRIES: Final = 3  # of what failed for another reason than its rate
PAUSE_S: Final = 0.25
MAX_RETRY_AFTER_S: Final = 60.0

UNCONFIRMED: Final = "the connection ended before the server confirmed it"
NOT_SENT: Final = "it was not sent"


class ReliableSender:
    """Sends lines in order, a bounded number of them without proof that the server took them.

    `send` sends a frame, `ready` waits until more may be sent at all, `losses` counts what does not go through,
    a frame that is no envelope only if it `judges_invalid`.
    """

    def __init__(
        self,
        protocol: MessageProtocol,
        pacer: Pacer,
        *,
        send: Callable[[Frame], Awaitable[None]],
        ready: Callable[[], Awaitable[None]],
        losses: Losses,
        judges_invalid: bool,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._protocol = protocol
        self._pacer = pacer
        self._send = send
        self._ready = ready
        self._losses = losses
        self._blamed = {ErrorCode.RATE_LIMITED, *((ErrorCode.INVALID_MESSAGE,) if judges_invalid else ())}
        self._now_s = now_s
        self._flight = Flight()
        self._queue: deque[OutgoingLine] = deque()
        self._again: list[OutgoingLine] = []
        self._session: SessionCreated | None = None
        self._is_open = self._is_settling = False
        self._fence_text = ""
        self._sent_at_s = 0.0
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()

    async def put(self, line: OutgoingLine) -> None:
        """Send a line when its turn has come."""
        while len(self._queue) >= QUEUED_LINES:
            await self._wait_for_move()
        self._losses.given += 1
        self._queue.append(line)
        self._changed.set()

    @property
    def is_settled(self) -> bool:
        """Whether everything that was put has gone through, or has not."""
        return not (self._queue or self._again or self._flight)

    async def settled(self) -> None:
        """Wait until that is so."""
        self._is_settling = True
        self._changed.set()
        try:
            while not self.is_settled:
                await self._wait_for_move()
        finally:
            self._is_settling = False

    def drop(self) -> None:
        """Forget what was not sent yet: nobody needs it any more."""
        self._losses.given -= len(self._queue)
        self._queue.clear()

    def stop(self) -> None:
        """Send nothing more: what was not sent yet is lost."""
        unsent = sorted([*self._again, *self._queue], key=lambda line: line.number)
        self._again.clear()
        self._queue.clear()
        for line in unsent:
            self._losses.add(line, NOT_SENT)

    def give_up(self) -> None:
        """Count everything that is not proven as lost."""
        for line in self._flight.end():
            self._losses.add(line, UNCONFIRMED)
        self.stop()

    def opened(self, session: SessionCreated | None) -> None:
        """Note that there is a connection, and what its greeting says."""
        self._is_open = True
        self._session = session
        if session is not None:
            self._pacer.greeted(session.limits, self._now_s())
        self._changed.set()

    def closed(self, code: int) -> None:
        """Note that the connection is gone: of what was under way nobody knows whether it arrived."""
        self._is_open = False
        lines = self._flight.end()
        # A server that closes normally while one line is under way was asked to, by that line.
        if not (code == CloseCode.NORMAL and len(lines) == 1 and not self._queue and not self._again):
            for line in lines:
                self._losses.add(line, UNCONFIRMED)
        self._move()

    def is_own(self, text: str) -> bool:
        """Tell whether a frame that went out is a fence, and so nobody's message."""
        return bool(text) and text == self._fence_text

    def take(self, envelope: Envelope, *, is_wanted: bool) -> bool:
        """Learn from what came in; returns whether it is the answer to a fence, and so nobody's message.

        An error that is wanted is as good an answer as any.
        """
        if envelope.type == "pong" and self._flight.passed(envelope.id):
            self._pacer.passed()
            self._move()
            return True
        if envelope.type != "error":
            return False
        try:
            error = server_error(envelope)
        except InvalidMessageError:
            return False
        retry_after_s = _retry_after_s(error)
        if envelope.id is None:
            if not is_wanted:
                self._blame_nameless(error)
        elif (fence_sent_s := self._flight.fence_failed(envelope.id)) is not None:
            self._pacer.refused(fence_sent_s, retry_after_s, self._now_s())
            self._move()
            return True
        elif (line := self._flight.answered(envelope.id)) is not None and not is_wanted:
            self._refused(line, error, retry_after_s)
        self._move()
        return False

    async def run(self) -> None:
        """Send what there is to send, for ever."""
        while True:
            self._changed.clear()
            line = self._next_line()
            is_fence = self._is_fence_due(line)
            if line is None and not is_fence:
                await self._wait_for_change(self._until_idle_s())
                continue
            size = 0 if line is None or is_fence else line.size
            wait_s = self._pacer.wait_s(size, self._now_s(), is_line=not is_fence)
            if wait_s > 0:
                await self._wait_for_change(wait_s)
                continue
            await self._ready()
            if self._changed.is_set():
                continue  # while it was not ready, what comes next may have changed
            if line is None or is_fence:
                await self._send_fence()
            else:
                await self._send_line(line)
            self._pacer.sent(size, self._now_s(), is_line=not is_fence)

    def _next_line(self) -> OutgoingLine | None:
        """Return the line that comes next: what was refused comes before what is new."""
        if not self._is_open or self._flight.is_full:
            return None
        return min(self._again, key=lambda line: line.number, default=self._queue[0] if self._queue else None)

    def _is_fence_due(self, line: OutgoingLine | None) -> bool:
        if not self._is_open or self._session is None:
            return False
        if self._flight.needs_fence:
            return True
        idle = self._is_settling or self._flight.is_full or self._now_s() - self._sent_at_s >= IDLE_S
        return line is None and self._flight.is_unfenced and idle

    def _until_idle_s(self) -> float | None:
        if not self._is_open or not self._flight.is_unfenced:
            return None
        return max(0.0, self._sent_at_s + IDLE_S - self._now_s())

    async def _send_line(self, line: OutgoingLine) -> None:
        if self._again:
            self._again.remove(line)
        else:
            self._queue.popleft()
        problem = self._too_big(line)
        if problem is not None:
            self._losses.add(line, problem)
        else:
            line.tries += 1
            line.sent_at_s = self._sent_at_s = self._now_s()
            order = self._flight.start(line)
            try:
                await self._send(line.text)
            except NotConnectedError:  # lost, and the client is about to notice: it waits for the next connection
                self._is_open = False
                if self._flight.cancel(order):
                    line.tries -= 1
                    self._again.append(line)
            if self._session is None:
                self._flight.land(order)
        self._move()

    async def _send_fence(self) -> None:
        fence_id = self._flight.fence(self._now_s())
        ping = self._protocol.create_envelope("ping", id=fence_id)
        ping.data = Timestamp(ping.timestamp)
        self._fence_text = self._protocol.serialize(ping).decode()
        try:
            await self._send(self._fence_text)
        except NotConnectedError:
            self._is_open = False

    def _too_big(self, line: OutgoingLine) -> str | None:
        if self._session is None:
            return None
        limits = self._session.limits
        most = limits.max_message_bytes
        if limits.bytes is not None:
            most = min(most, int(limits.bytes.burst))
        return f"it has {line.size:,} bytes, and the server takes {most:,} at most" if line.size > most else None

    def _refused(self, line: OutgoingLine, error: ServerError, retry_after_s: float) -> None:
        is_rate = error.code == ErrorCode.RATE_LIMITED
        if is_rate:
            self._pacer.refused(line.sent_at_s, retry_after_s, self._now_s())
        if not error.retryable or line.tries >= (MAX_RATE_TRIES if is_rate else MAX_TRIES):
            self._losses.add(line, str(error))
            return
        if not is_rate:
            self._pacer.hold(self._now_s() + PAUSE_S * 2**line.tries)
        self._again.append(line)

    def _blame_nameless(self, error: ServerError) -> None:
        """Count an error that names no line, while lines are under way that it could not name."""
        lines = self._flight.nameless
        if not lines or error.code not in self._blamed:
            return
        which = lines[0].place if len(lines) == 1 else f"{lines[0].place}, or one after it up to {lines[-1].place},"
        self._losses.add(OutgoingLine(lines[0].number, which, "", None), str(error))

    def _move(self) -> None:
        self._changed.set()
        self._moved.set()

    async def _wait_for_move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def _wait_for_change(self, timeout_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()


def _retry_after_s(error: ServerError) -> float:
    wait_ms = (error.details or {}).get("retryAfterMs")
    return min(wait_ms / 1000, MAX_RETRY_AFTER_S) if isinstance(wait_ms, int | float) and wait_ms > 0 else 0.0
