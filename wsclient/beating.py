"""The heartbeat that a client owes by its protocol, for as long as one connection lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from wsclient.errors import NotConnectedError
from wsclient.replies import Replies
from wscore.foreign import Adapter, Frame


class Beating:
    """Sends the adapter's heartbeat while the block lasts; one without any needs no task."""

    __slots__ = ("_adapter", "_replies", "_send", "_task")

    def __init__(self, adapter: Adapter, replies: Replies, send: Callable[[Frame], Awaitable[None]]) -> None:
        self._adapter = adapter
        self._replies = replies
        self._send = send
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        if self._adapter.heartbeat is not None:
            self._task = asyncio.get_running_loop().create_task(self._beat())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _beat(self) -> None:
        heartbeat = self._adapter.heartbeat
        assert heartbeat is not None
        while True:
            await asyncio.sleep(heartbeat.interval_s)
            try:
                await self._send(heartbeat.frame(self._replies.new_id(self._adapter)))
            except NotConnectedError:  # the connection's own end tells why
                return
