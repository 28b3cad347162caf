"""Locust's side of the load: a user for each connection, an even spawn rate, and quiet logs."""

from __future__ import annotations

import logging
import math
from typing import Any, ClassVar, Final

import gevent
import gevent.event
from locust import User
from locust.dispatch import UsersDispatcher
from locust.env import Environment

from loadtest.driver.eventloop import LoopGreenlet
from loadtest.generator.traffic import Traffic
from loadtest.wire import Plan
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
    return Environment(user_classes=[ConnectionUser], host=redact(plan.url), dispatcher_class=EvenDispatcher)
