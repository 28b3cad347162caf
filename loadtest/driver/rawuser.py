"""A Locust user of any WebSocket server: texts and bytes as they are, for people's own scenarios."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.event

from loadtest.driver.measureduser import MeasuredUser, ScenarioError
from loadtest.driver.userconnection import RawConnection
from loadtest.generator.connections import monotonic_ns
from loadtest.generator.marks import PREFIX
from loadtest.generator.usertraffic import step_of
from wscore.foreign import Frame, ProtocolName, ProtocolSettings
from wscore.units import format_figure
from wscore.wallclock import now_ms

KEPT: Final = 1000  # messages that nobody has asked for yet, and marks that are still looked for

Where = Callable[[Any], object]


class RawUser(MeasuredUser):
    """A MeasuredUser that sends and gets texts (str) and binary messages (bytes), and no token of its own."""

    abstract = True
    _adapter = ProtocolSettings(name=ProtocolName.RAW).adapter(now_ms)

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._inbox: deque[Frame] = deque(maxlen=KEPT)
        self._arrived = gevent.event.Event()

    def connect(self) -> None:
        """Open the WebSocket."""
        self._again = self._connect
        self._timed("CONNECT", "connect", self._connect)

    def send(self, message: Frame, *, name: str = "message") -> None:
        """Send a text or bytes and wait for nothing."""
        self._timed("SEND", name, lambda: self._send(message))

    def expect(self, timeout_s: float = 10.0, *, where: Where = lambda message: True, name: str = "message") -> Any:
        """Return the next message, a str or bytes, for which `where` holds, one that came before included."""
        return self._timed("EXPECT", name, lambda: self._wait(timeout_s, where))

    def request(
        self,
        message: Frame,
        timeout_s: float = 10.0,
        *,
        where: Where | None = None,
        name: str = "message",
    ) -> Any:
        """Send a message and return the next one that comes, or the next for which `where` holds.

        With a `mark()` in it, it is the next that holds that one.
        """
        return self._timed("REQUEST", name, lambda: self._request(message, timeout_s, where, name))

    def _connect(self) -> None:
        loop = self._running_loop().loop
        self._open(RawConnection(loop, self._owner(), self._number, self._index(), self._take, self._lost), {})

    def _send(self, message: Frame) -> None:
        is_text = isinstance(message, str)
        self._connected().send(message.encode() if isinstance(message, str) else message, is_text=is_text)

    def _request(self, message: Frame, timeout_s: float, where: Where | None, name: str) -> Frame:
        marked = self._marks.own(_bytes_of(message))
        sent_ns = monotonic_ns()
        self._send(message)
        if marked is None:
            return self._wait(timeout_s, where or (lambda message: True))
        mark, number = marked
        try:
            return self._wait(timeout_s, where or (lambda reply: mark in _bytes_of(reply)))
        except ScenarioError:
            self._overdue[number] = sent_ns, step_of("REQUEST", name)
            if len(self._overdue) > KEPT:
                del self._overdue[next(iter(self._overdue))]
            raise

    def _wait(self, timeout_s: float, where: Where) -> Frame:
        with gevent.Timeout(timeout_s, False):
            while True:
                for message in self._inbox:
                    if where(message):
                        self._inbox.remove(message)
                        return message
                self._connected()
                self._arrived.clear()
                self._arrived.wait()
        raise ScenarioError(f"no such message within {format_figure(timeout_s)} s")

    def _take(self, message: Frame) -> None:
        payload = _bytes_of(message)
        if PREFIX in payload:
            self._see(payload)
        self._inbox.append(message)
        self._arrived.set()

    def _lost(self, ending: str) -> None:
        self._arrived.set()


def _bytes_of(message: Frame) -> bytes:
    return message.encode(errors="replace") if isinstance(message, str) else message
