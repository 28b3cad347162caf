"""A Locust user that speaks envelopes, for people's own locustfiles (docs/loadtest.md)."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.event
import gevent.queue
import msgspec

from loadtest.driver.measureduser import MeasuredUser, ScenarioError
from loadtest.driver.userconnection import EnvelopeConnection
from loadtest.generator.connections import monotonic_ns
from loadtest.generator.marks import PREFIX
from loadtest.generator.usertraffic import UserTraffic, step_of
from wscore.envelope import MessageProtocol
from wscore.jsonvalues import NOT_JSON
from wscore.message import Message
from wscore.text import neutralise, redact
from wscore.units import format_figure
from wscore.wallclock import now_ms

KEPT: Final = 1000  # messages that nobody has asked for yet


class EnvelopeUser(MeasuredUser):
    """A MeasuredUser that speaks envelopes. Server pings are answered; without a token and a secret it is a guest."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._protocol = MessageProtocol(now_ms)
        self._inbox: deque[Message] = deque(maxlen=KEPT)
        self._arrived = gevent.event.Event()
        self._replies: dict[str, Any] = {}
        # When requests were sent, the oldest first, and their types, whose replies may still come.
        self._given_up: dict[str, tuple[int, str]] = {}
        self._handlers: dict[str, list[Callable[[Message], object]]] = {}
        self._handled: Any = None
        self._ids = itertools.count(1)

    def connect(self, session_id: str | None = None, *, timeout_s: float = 10.0) -> Message:
        """Connect, to a session if one is given; returns `session_created`."""
        self._again = lambda: self._connect(session_id, timeout_s)
        greeting: Message = self._timed("CONNECT", "connect", lambda: self._connect(session_id, timeout_s))
        return greeting

    def send(self, type: str, data: object = msgspec.UNSET, *, id: str | None = None, room: str | None = None) -> None:
        """Send a message, to a room if one is given, and wait for nothing; the time is that of handing it over."""
        self._timed("SEND", type, lambda: self._send(type, data, id, room))

    def request(
        self, type: str, data: object = msgspec.UNSET, timeout_s: float = 10.0, *, room: str | None = None
    ) -> Message:
        """Send a message with an id and return the reply that carries it; an `error` that does is raised."""
        reply: Message = self._timed("REQUEST", type, lambda: self._request(type, data, timeout_s, room))
        return reply

    def expect(
        self, type: str, timeout_s: float = 10.0, *, where: Callable[[Message], bool] = lambda message: True
    ) -> Message:
        """Return the next message of that type for which `where` holds, one that came before included."""
        message: Message = self._timed("EXPECT", type, lambda: self._expect(type, timeout_s, where))
        return message

    def on(self, type: str, handler: Callable[[Message], object]) -> None:
        """Have `handler` called with every message of that type, one after the other; `expect` does not see them."""
        self._handlers.setdefault(type, []).append(handler)
        if self._handled is None:
            self._handled = gevent.queue.Queue()
            gevent.spawn(self._handle, self._handled)

    def on_stop(self) -> None:
        """Close the connection; call this when you override it."""
        super().on_stop()
        if self._handled is not None:
            self._handled.put(None)

    def _connect(self, session_id: str | None, timeout_s: float) -> Message:
        connection = EnvelopeConnection(
            self._running_loop().loop, self._owner(), self._number, self._index(), self._take, self._lost
        )
        self._open(connection, {"sessionId": session_id} if session_id is not None else {})
        with gevent.Timeout(timeout_s, False):
            return self._wait("session_created", lambda message: True)
        raise ScenarioError(f"no session_created within {format_figure(timeout_s)} s")

    def _send(self, type: str, data: object, id: str | None, room: str | None) -> None:
        self._connected().send(self._protocol.serialize(self._protocol.create_envelope(type, data, id=id, room=room)))

    def _request(self, type: str, data: object, timeout_s: float, room: str | None) -> Message:
        id = f"{self._beginning()}{self._index()}-{next(self._ids)}"
        waiting = self._replies[id] = gevent.event.AsyncResult()
        sent_ns = monotonic_ns()
        try:
            self._send(type, data, id, room)
            with gevent.Timeout(timeout_s, False):
                reply: Message = waiting.get()
                if reply.type == "error":
                    raise ScenarioError(_refusal(reply.data))
                return reply
        finally:
            del self._replies[id]
            if not waiting.ready():
                self._give_up(id, sent_ns, type)
        raise ScenarioError(f"no reply within {format_figure(timeout_s)} s")

    def _expect(self, type: str, timeout_s: float, where: Callable[[Message], bool]) -> Message:
        with gevent.Timeout(timeout_s, False):
            return self._wait(type, where)
        raise ScenarioError(f"no {type} within {format_figure(timeout_s)} s")

    def _wait(self, type: str, where: Callable[[Message], bool]) -> Message:
        while True:
            for message in self._inbox:
                if message.type == type and where(message):
                    self._inbox.remove(message)
                    return message
            if self._connection is None or self._connection.left_ns:
                raise ScenarioError(self._connection.ending if self._connection is not None else "not connected")
            self._arrived.clear()
            self._arrived.wait()

    def _take(self, payload: bytes) -> None:
        """Sort a message in; runs on the loop, so it must not block."""
        try:
            message = msgspec.json.decode(payload, type=Message)
        except NOT_JSON:
            return
        if PREFIX in payload:
            self._see(payload)
        waiting = self._replies.get(message.id) if message.id is not None else None
        if waiting is not None and not waiting.ready():
            waiting.set(message)
        elif message.id is not None and self._traffic is not None and message.id.startswith(self._beginning()):
            self._on_odd(message.id, self._traffic)
        elif message.type in self._handlers and self._handled is not None:
            self._handled.put(message)
        else:
            self._inbox.append(message)
            self._arrived.set()

    def _give_up(self, id: str, sent_ns: int, type: str) -> None:
        self._given_up[id] = sent_ns, type
        if len(self._given_up) > KEPT:
            del self._given_up[next(iter(self._given_up))]

    def _beginning(self) -> str:
        """Return how the ids of this run's requests begin."""
        return "" if self._traffic is None else f"{self._traffic.plan.run_id}-"

    def _on_odd(self, id: str, traffic: UserTraffic) -> None:
        """Note a reply that nobody here waits for: to one that was given up or answered, or of another user."""
        index = self._index()
        if (given_up := self._given_up.pop(id, None)) is not None:
            sent_ns, type = given_up
            traffic.came_late(index, sent_ns, step_of("REQUEST", type))
        elif id.startswith(f"{self._beginning()}{index}-"):
            traffic.fault("duplicated", index)
        else:
            traffic.fault("misdelivered", index)

    def _lost(self, ending: str) -> None:
        for waiting in self._replies.values():
            waiting.set_exception(ScenarioError(ending))
        self._arrived.set()

    def _handle(self, queue: Any) -> None:
        while (message := queue.get()) is not None:
            for handler in self._handlers[message.type]:
                handler(message)


def _refusal(data: object) -> str:
    """Return what an `error` says, its code first."""
    said = data if isinstance(data, dict) else {}
    words = (str(said[name]) for name in ("code", "message") if said.get(name))
    return neutralise(redact(": ".join(words))) or "error"
