"""Rooms with a clock that a test moves, for tests of who is a member and who is told of it."""

from __future__ import annotations

import json
from itertools import count

from wscore.envelope import MessageProtocol
from wscore.principal import Principal
from wscore.rooms import RoomAccess
from wsserver import RoomLimits
from wsserver.brokers.memory import MemoryBroker
from wsserver.connections.delivery import Delivery
from wsserver.connections.groups import Groups
from wsserver.connections.replays import Replays
from wsserver.connections.rooms import Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection, Group
from wsserver.lifetime.presence import PresenceWatch
from wsserver.outbound.backlog import Backlog, OutboundLimits
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics


class Channel:
    """Stands for a socket; `written` are the envelopes that it was given."""

    def __init__(self) -> None:
        self.written: list[dict] = []

    def send_text(self, payload: bytes) -> None:
        self.written.append(json.loads(payload))

    def write(self, frames: bytes) -> int:
        while frames:  # a server's text frames of less than 64 KiB, unmasked
            assert frames[0] == 0x81
            size, start = (frames[1], 2) if frames[1] < 126 else (int.from_bytes(frames[2:4], "big"), 4)
            self.send_text(frames[start : start + size])
            frames = frames[start + size :]
        return 0


class House:
    """Rooms with a clock that a test moves."""

    def __init__(
        self,
        limits: RoomLimits = RoomLimits(per_connection=10_000),  # noqa: B008
        *,
        broker: MemoryBroker | None = None,
    ) -> None:
        self.now_s = 100.0
        self.timers: list[tuple[float, int, object, tuple]] = []
        self._numbers = count()  # those of one time run in the order in which they were set
        self.metrics = metrics = Metrics()
        broker = broker or MemoryBroker()
        self.groups = groups = Groups(broker)
        backlog = Backlog(OutboundLimits(), metrics, call_later=self.call_later, now_s=lambda: 0.0, log=EventLog())
        self.protocol = protocol = MessageProtocol(lambda: 1)
        self.delivery = delivery = Delivery(
            groups, backlog, protocol, metrics, call_soon=lambda call: self.call_later(0, call)
        )
        self.watch = PresenceWatch(
            groups, delivery, protocol, metrics, call_later=self.call_later, now_s=lambda: self.now_s
        )
        replays = Replays(broker, delivery, metrics, lambda: 0.0, 1 << 20)
        self.rooms = Rooms(groups, delivery, replays, EnvelopeSender(protocol, delivery, metrics), self.watch, limits)
        self.made = 0

    def call_later(self, delay_s: float, call, *arguments) -> None:
        self.timers.append((self.now_s + delay_s, next(self._numbers), call, arguments))

    def pass_time(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.timers and min(self.timers)[0] <= end_s + 1e-9:
            timer = min(self.timers)
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer[0])
            timer[2](*timer[3])
        self.now_s = end_s

    def connect(self, user: str) -> Connection:
        self.made += 1
        session = Group("session", f"s{self.made}")
        return Connection(f"c{self.made}", Principal(user, False, 0), session, Channel(), created_at_ms=0, now_s=0)

    def join(self, user: str, room: str = "hall", *, watching: bool = False) -> Connection:
        connection = self.connect(user)
        self.rooms.join(connection, room, RoomAccess.PUBLISH, presence=watching)
        return connection

    def lose(self, connection: Connection) -> None:
        connection.is_open = False
        self.rooms.leave_all(connection)
