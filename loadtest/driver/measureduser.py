"""What all users of people's own scenarios have: one connection, and steps that are timed, reported and counted."""

from __future__ import annotations

import itertools
import os
import time
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import gevent
import gevent.event
from locust import User
from locust.exception import StopUser

from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.userconnection import Nobody, UserConnection
from loadtest.generator.connections import ConnectionOwner, monotonic_ns
from loadtest.generator.dialing import Dialer, is_refusal, reason
from loadtest.generator.marks import Marks
from loadtest.generator.usertraffic import UserTraffic
from loadtest.wire import Tokens
from wscore.errors import WsctlError
from wscore.foreign import Adapter
from wscore.text import neutralise, redact

T = TypeVar("T")

CONNECTS: Final = frozenset(("CONNECT", "RECONNECT"))
DEFAULT_PATH: Final = "/socket.io/"


class ScenarioError(WsctlError):
    """A step of a scenario failed; Locust has it among its failures."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class MeasuredUser(User):
    """A user with one connection to `host`, a ws:// or wss:// URL; under `wsctl loadtest run` to what that names.

    Every call reports itself to Locust's `request` event with its time in ms, a failed one with its exception, which
    it then raises. `token`, `secret`, `ca` and `insecure` are as for `wsctl loadtest`, whose options take their place
    there.
    """

    abstract = True
    token: str | None = None
    secret: str | None = None
    as_user = False
    ca: str | None = None
    insecure = False

    _adapter: ClassVar[Adapter | None] = None
    _loop: ClassVar[LoopGreenlet | None] = None
    _traffic: ClassVar[UserTraffic | None] = None
    _dialers: ClassVar[dict[Any, Dialer]] = {}  # one for all users of a target: its TLS context alone takes a megabyte
    _numbers: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._number = next(MeasuredUser._numbers)
        self._connection: UserConnection[Any] | None = None
        self._again: Callable[[], object] = lambda: None  # connects as was asked for last
        run_id = "0" if self._traffic is None else self._traffic.plan.run_id
        self._marks = Marks(run_id, self._index())
        self._overdue: dict[int, tuple[int, str]] = {}  # marks that were given up: when they were sent, and their step

    @classmethod
    def serve(cls, traffic: UserTraffic, loop: LoopGreenlet) -> None:
        """Have all users of this process count for a run."""
        MeasuredUser._traffic, MeasuredUser._loop = traffic, loop

    @classmethod
    def failed(cls, user: Any, problem: BaseException) -> None:
        """Count an exception that a task did not catch; what failed as a step is counted already."""
        if cls._traffic is not None and not isinstance(problem, ScenarioError):
            user = getattr(user, "user", user)  # Locust names the set of tasks
            place, words = _place(cls._traffic.plan.script, problem), neutralise(redact(str(problem)))
            text = f"{type(problem).__name__} in {type(user).__name__}{place}"
            cls._traffic.error(f"{text}: {words}" if words else text)

    def check(self, holds: object, name: str) -> None:
        """Report whether something holds that you expect; what does not is a failure and an error of the run."""
        problem = None if holds else ScenarioError("does not hold")
        if self._traffic is not None and problem is not None:
            self._traffic.error(f"check {name}: does not hold")
        self._report("CHECK", name, 0.0, None, problem)

    def mark(self, *, shared: bool = False) -> str:
        """Return a word for a message that the server sends back as it is; each is another one.

        By it is told what of yours comes twice, out of order, to somebody else, or not as it was sent. With `shared`
        others get the message too.
        """
        return self._marks.new(is_shared=shared)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            connection.close()

    def on_reconnect(self) -> None:
        """Called once a lost connection is back, before the next step: override it to join rooms again, say."""

    def on_stop(self) -> None:
        """Close the connection; call this when you override it."""
        self.close()

    def _open(self, connection: UserConnection[Any], query: dict[str, str]) -> None:
        self.close()
        connection.dialled_ns = monotonic_ns()
        try:
            self._running_loop().run(self._dialer().dial(connection, connection.index, query))
        except Exception as error:
            raise ScenarioError(reason(error)) from None
        self._connection = connection

    def _see(self, payload: bytes) -> None:
        """Enter the marks of a message that came."""
        traffic, index = self._traffic, self._index()
        for mark, fault in self._marks.enter(payload):
            if traffic is None:
                continue
            traffic.marks += 1
            overdue = self._overdue.pop(mark.number, None) if mark is not None and mark.sender == index else None
            if overdue is not None:  # it is late, and so out of turn
                traffic.came_late(index, *overdue)
            elif fault:
                traffic.fault(fault, index)

    def _owner(self) -> ConnectionOwner:
        return self._traffic or Nobody()

    def _index(self) -> int:
        traffic = self._traffic
        return self._number if traffic is None else self._number * traffic.processes + traffic.position

    def _dialer(self) -> Dialer:
        host, plan = self.host or "", None if self._traffic is None else self._traffic.plan
        secret = None if self.secret is None else self.secret.encode()
        if plan is not None:
            key: Any = (self._adapter,)
        else:
            scheme, _, rest = host.partition("://")
            if scheme not in ("ws", "wss"):
                raise ScenarioError(f"{host!r} is not a ws:// or wss:// URL")
            host = host if "/" in rest or self._adapter is not None else host + DEFAULT_PATH
            key = (host, self.token, secret, self.as_user, self.ca, self.insecure, self._adapter)
        if key not in self._dialers:
            self._dialers[key] = (
                Dialer.of(plan, self._adapter)
                if plan is not None
                else Dialer(
                    host,
                    Tokens(self.token, secret, self.as_user),
                    ca=self.ca,
                    insecure=self.insecure,
                    adapter=self._adapter,
                )
            )
        return self._dialers[key]

    @classmethod
    def _running_loop(cls) -> LoopGreenlet:
        if MeasuredUser._loop is None:
            MeasuredUser._loop = LoopGreenlet()
            MeasuredUser._loop.start()
        return MeasuredUser._loop

    def _connected(self) -> UserConnection[Any]:
        connection = self._connection
        if connection is None or not connection.is_open:
            raise ScenarioError(connection.ending if connection is not None else "not connected")
        return connection

    def _come_back(self) -> None:
        """Connect again, as before, if the connection was lost and those of the run come back."""
        traffic, lost = self._traffic, self._connection
        if traffic is None or lost is None or lost.is_open or not traffic.is_coming_back(lost):
            return
        attempt = 0
        while True:
            gevent.sleep(traffic.pause_s(attempt))
            try:
                self._timed("RECONNECT", "connect", self._again)
            except ScenarioError as error:
                attempt += 1
                if is_refusal(str(error)):
                    traffic.give_up(lost)
                    return
            else:
                self.on_reconnect()
                return

    def _timed(self, kind: str, name: str, step: Callable[[], T]) -> T:
        traffic = self._traffic
        if traffic is not None and traffic.is_over:
            raise StopUser
        if kind not in CONNECTS:
            self._come_back()
        began, began_ns = time.perf_counter(), monotonic_ns()
        problem: ScenarioError | None = None
        result: T | None = None
        try:
            result = step()
        except ScenarioError as error:
            problem = error
            raise
        except gevent.GreenletExit:  # the run is over: nobody waits any more
            traffic = None
            raise
        finally:
            if traffic is not None:
                traffic.step(kind, name, self._index(), began_ns, None if problem is None else problem.problem)
            self._report(kind, name, (time.perf_counter() - began) * 1000, result, problem)
        return result

    def _report(self, kind: str, name: str, took_ms: float, result: object, problem: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=took_ms,
            response_length=0,
            response=result,
            context=self.context(),
            exception=problem,
        )


def _place(path: str | None, problem: BaseException) -> str:
    """Return the last line of the scenario's file that an exception came through, as ` (scenario.py:12)`."""
    lines = [line for frame, line in traceback.walk_tb(problem.__traceback__) if frame.f_code.co_filename == path]
    return f" ({os.path.basename(path)}:{lines[-1]})" if path and lines else ""
