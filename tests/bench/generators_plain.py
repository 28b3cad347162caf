"""What people write today: a plain Locust user on websocket-client; a program that generators_compare.py runs."""

from __future__ import annotations

from locust import User, task  # isort: skip # it patches the sockets that the next ones take
from locust.env import Environment  # isort: skip

import json
import os
import sys
import time
import uuid

import gevent
import websocket

from wscore.guest import mint_guest_token

RAMP_S = 2.0


class Plain(User):
    """One connection; every message is reported to Locust, as its manual says."""

    url = ""

    def on_start(self) -> None:
        token = mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)
        self.socket = websocket.create_connection(f"{self.url}?sessionId={self.session()}&token={token}")
        self.number = 0
        self.await_type("session_created")

    def session(self) -> str:
        return str(uuid.uuid4())

    def await_type(self, kind: str) -> dict[str, object]:
        while True:
            envelope: dict[str, object] = json.loads(self.socket.recv())
            if envelope["type"] == kind:
                return envelope

    def report(self, name: str, began: float) -> None:
        took_ms = (time.perf_counter() - began) * 1000
        self.environment.events.request.fire(
            request_type="WS", name=name, response_time=took_ms, response_length=0, exception=None, context={}
        )

    def send(self, kind: str, data: dict[str, object]) -> None:
        self.number += 1
        now_ms = time.time_ns() // 1_000_000
        self.socket.send(json.dumps({"type": kind, "timestamp": now_ms, "data": data, "id": str(self.number)}))


class Pinger(Plain):
    """Ping, pong, and again."""

    @task
    def ping(self) -> None:
        began = time.perf_counter()
        self.send("ping", {"pad": "x" * 90})
        self.await_type("pong")
        self.report("ping", began)


class Receiver(Plain):
    """The first one publishes, again once it has its own message back; all receive."""

    publishers = 1

    def session(self) -> str:
        return "bench"

    def on_start(self) -> None:
        super().on_start()
        self.publishes = Receiver.publishers > 0
        Receiver.publishers -= 1

    @task
    def receive(self) -> None:
        began = time.perf_counter()
        if self.publishes:
            self.send("message", {"pad": "x" * 90, "sent": began})
        self.await_type("message")
        self.report("delivery", began)


def main() -> None:
    """Run `MODE URL CONNECTIONS SECONDS`; prints what was counted as JSON."""
    mode, url, connections, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    user = {"ping": Pinger, "receive": Receiver}[mode]
    Plain.url = url
    environment = Environment(user_classes=[user])
    runner = environment.create_local_runner()
    runner.start(connections, spawn_rate=connections)
    gevent.sleep(RAMP_S)
    before, began, used = environment.stats.total.num_requests, time.monotonic(), time.process_time()
    gevent.sleep(seconds)
    figures = {
        "count": environment.stats.total.num_requests - before,
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - used,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a hundred greenlets wait in recv


if __name__ == "__main__":
    main()
