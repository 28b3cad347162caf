"""Locust's side of the load: a user for each connection, an even spawn rate, and quiet logs."""

from __future__ import annotations

import logging
import math
import sys
import traceback
from pathlib import Path
from typing import Any, ClassVar, Final

import gevent
import gevent.event
from locust import User
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.measureduser import MeasuredUser
from loadtest.generator.traffic import Traffic
from loadtest.wire import Plan
from wscore.errors import WsctlError
from wscore.text import redact

DISPATCHES_A_SECOND: Final = 20


class ConnectionUser(User):
    """Stands for one connection, so that Locust's counts and spawn rate are true; the traffic is not its work."""

    traffic: ClassVar[Traffic]
    loop: ClassVar[LoopGreenlet]

    def on_start(self) -> None:
        """Open a connection, and wait for the end."""
        self.traffic.arrive()
        self.loop.wake()
        gevent.event.Event().wait()

    def on_stop(self) -> None:
        """Close a connection."""
        self.traffic.leave()
        self.loop.wake()


class EvenDispatcher(UsersDispatcher):
    """Spawns users evenly, Locust's own way being bursts of a second each, and to workers in the order of their ids."""

    def _sort_workers(self) -> None:
        self._worker_nodes.sort(key=lambda worker: worker.id)

    def new_dispatch(self, target_user_count: int, spawn_rate: float, user_classes: list[Any] | None = None) -> None:
        """Begin to spawn."""
        super().new_dispatch(target_user_count, spawn_rate, user_classes)
        count = max(1, math.ceil(spawn_rate / DISPATCHES_A_SECOND))
        self._user_count_per_dispatch_iteration = count
        self._wait_between_dispatch = count / spawn_rate


def new_environment(plan: Plan) -> Environment:
    """Return Locust's environment for a plan, without a runner."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    logging.getLogger("locust").setLevel(logging.ERROR)
    users: list[type[User]] = [ConnectionUser] if plan.script is None else read_users(plan.script)
    environment = Environment(user_classes=users, host=redact(plan.url), dispatcher_class=EvenDispatcher)
    if plan.script is not None:
        logging.getLogger("locust").setLevel(logging.CRITICAL)  # what fails is counted
        environment.events.user_error.add_listener(  # type: ignore[no-untyped-call]
            lambda user_instance, exception, **_: MeasuredUser.failed(user_instance, exception)
        )
    return environment


class ScriptError(WsctlError):
    """A file has no Locust users that can be run."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def read_users(path: str) -> list[type[User]]:
    """Return the users of a file; raises ScriptError."""
    before = sys.path.copy()
    try:
        found, _ = load_locustfile(path)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        place = f"line {lines[-1]}: " if lines else ""
        raise ScriptError(path, f"{place}{type(error).__name__}: {error}") from None
    finally:
        sys.path[:] = [*before, str(Path(path).parent)]  # what it imports later is found, and shadows nothing
    users: list[type[User]] = [user for user in found.values() if issubclass(user, MeasuredUser)]
    if not users:
        raise ScriptError(path, "has no user that is an EnvelopeUser or a RawUser of loadtest")
    return users
