"""A Locust user that speaks envelopes, for people's own locustfiles (docs/loadtest.md)."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

import gevent
import gevent.event
import gevent.queue
import msgspec
from locust import User

from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.userconnection import UserConnection
from loadtest.generator.dialing import Dialer, reason
from loadtest.wire import Tokens
from wscore.envelope import MessageProtocol
from wscore.errors import WsctlError
from wscore.message import Message
from wscore.units import format_figure
from wscore.wallclock import now_ms

DEFAULT_PATH: Final = "/socket.io/"
KEPT: Final = 1000  # messages that nobody has asked for yet


class ScenarioError(WsctlError):
    """A step of a scenario failed; Locust has it among its failures."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class EnvelopeUser(User):
    """A user with one connection to `host`, a ws:// or wss:// URL.

    Every call reports itself to Locust's `request` event with its time in ms, a failed one with its exception, which
    it then raises. Server pings are answered. `token`, `secret`, `ca` and `insecure` are as for `wsctl loadtest`;
    without a token and a secret the user is a guest.
    """

    abstract = True
    token: str | None = None
    secret: str | None = None
    as_user = False
    ca: str | None = None
    insecure = False

    _loop: ClassVar[LoopGreenlet | None] = None
    _numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._protocol = MessageProtocol(now_ms)
        self._number = next(EnvelopeUser._numbers)
        self._connection: UserConnection | None = None
        self._inbox: deque[Message] = deque(maxlen=KEPT)
        self._arrived = gevent.event.Event()
        self._replies: dict[str, Any] = {}
        self._handlers: dict[str, list[Callable[[Message], object]]] = {}
        self._handled: Any = None
        self._ids = itertools.count(1)

    def connect(self, session_id: str | None = None, *, timeout_s: float = 10.0) -> Message:
        """Connect, to a session if one is given; returns `session_created`."""
        greeting: Message = self._timed("CONNECT", "connect", lambda: self._connect(session_id, timeout_s))
        return greeting

    def send(self, type: str, data: object = msgspec.UNSET, *, id: str | None = None) -> None:
        """Send a message and wait for nothing; the time reported is that of handing it over."""
        self._timed("SEND", type, lambda: self._send(type, data, id))

    def request(self, type: str, data: object = msgspec.UNSET, timeout_s: float = 10.0) -> Message:
        """Send a message with an id and return the reply that carries it; an `error` that does is raised."""
        reply: Message = self._timed("REQUEST", type, lambda: self._request(type, data, timeout_s))
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

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            connection.close()

    def on_stop(self) -> None:
        """Close the connection; call this when you override it."""
        self.close()
        if self._handled is not None:
            self._handled.put(None)

    def _connect(self, session_id: str | None, timeout_s: float) -> Message:
        self.close()
        loop = self._running_loop()
        host = self.host or ""
        scheme, _, rest = host.partition("://")
        url = host if "/" in rest else host + DEFAULT_PATH
        if scheme not in ("ws", "wss"):
            raise ScenarioError(f"{host!r} is not a ws:// or wss:// URL")
        secret = None if self.secret is None else self.secret.encode()
        tokens = Tokens(self.token, secret, self.as_user)
        connection = UserConnection(loop.loop, self._number, self._take, self._lost)
        query = {"sessionId": session_id} if session_id is not None else {}
        try:
            loop.run(Dialer(url, tokens, ca=self.ca, insecure=self.insecure).dial(connection, self._number, query))
        except Exception as error:
            raise ScenarioError(reason(error)) from None
        self._connection = connection
        with gevent.Timeout(timeout_s, False):
            return self._wait("session_created", lambda message: True)
        raise ScenarioError(f"no session_created within {format_figure(timeout_s)} s")

    @classmethod
    def _running_loop(cls) -> LoopGreenlet:
        if EnvelopeUser._loop is None:
            EnvelopeUser._loop = LoopGreenlet()
            EnvelopeUser._loop.start()
        return EnvelopeUser._loop

    def _send(self, type: str, data: object, id: str | None) -> None:
        connection = self._connection
        if connection is None or not connection.is_open:
            raise ScenarioError(connection.ending if connection is not None else "not connected")
        connection.send(self._protocol.serialize(self._protocol.create_envelope(type, data, id=id)))

    def _request(self, type: str, data: object, timeout_s: float) -> Message:
        id = f"{self._number}-{next(self._ids)}"
        waiting = self._replies[id] = gevent.event.AsyncResult()
        try:
            self._send(type, data, id)
            with gevent.Timeout(timeout_s, False):
                reply: Message = waiting.get()
                if reply.type == "error":
                    code = reply.data.get("code") if isinstance(reply.data, dict) else None
                    raise ScenarioError(str(code or "error"))
                return reply
        finally:
            del self._replies[id]
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
        except msgspec.DecodeError:
            return
        waiting = self._replies.get(message.id) if message.id is not None else None
        if waiting is not None:
            waiting.set(message)
        elif message.type in self._handlers and self._handled is not None:
            self._handled.put(message)
        else:
            self._inbox.append(message)
            self._arrived.set()

    def _lost(self, ending: str) -> None:
        for waiting in self._replies.values():
            waiting.set_exception(ScenarioError(ending))
        self._arrived.set()

    def _handle(self, queue: Any) -> None:
        while (message := queue.get()) is not None:
            for handler in self._handlers[message.type]:
                handler(message)

    def _timed(self, kind: str, name: str, step: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        problem: Exception | None = None
        result = None
        try:
            result = step()
        except ScenarioError as error:
            problem = error
            raise
        finally:
            self.environment.events.request.fire(
                request_type=kind,
                name=name,
                response_time=(time.perf_counter() - began) * 1000,
                response_length=0,
                response=result,
                context=self.context(),
                exception=problem,
            )
        return result
