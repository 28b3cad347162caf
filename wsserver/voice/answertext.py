"""An answer's text on its way to the caller, gathered to about ten messages a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from wscore.payloads import LlmResponse

INTERVAL_S: Final = 0.1


class AnswerText:
    """Sends the first piece at once and what follows at most once an interval; nothing after `close`."""

    __slots__ = ("_delta", "_response_id", "_send", "_timer", "text")

    def __init__(self, response_id: str, send: Callable[[LlmResponse], None]) -> None:
        self._response_id = response_id
        self._send = send
        self._delta = ""
        self._timer: asyncio.TimerHandle | None = None
        self.text = ""

    def add(self, piece: str) -> None:
        """Take more of the answer."""
        self.text += piece
        self._delta += piece
        if self._timer is None:
            self._flush()

    def finish(self) -> None:
        """Send the whole answer as final."""
        self.close()
        self._send(LlmResponse(self.text, self._response_id, True, self._delta))

    def close(self) -> None:
        """Send nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        self._timer = None
        if self._delta:
            delta, self._delta = self._delta, ""
            self._send(LlmResponse(self.text, self._response_id, False, delta))
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._flush)
