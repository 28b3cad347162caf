"""Any order of joins, leaves, losses and messages: a member gets what is sent while it is one, and knows who is in."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.wsserver.roomhouse import House
from wscore.rooms import RoomAccess
from wsserver.brokers.base import ROOM
from wsserver.connections.state import Connection
from wsserver.lifetime.presence import GATHER_S, LINGER_S

ROOMS = st.sampled_from(["hall", "kitchen"])
USERS = st.sampled_from(["alice", "bob", "carol"])


class RoomsMachine(RuleBasedStateMachine):
    """`expected` holds by connection and room what it must have got there, in this order."""

    connections = Bundle("connections")

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.alive: dict[str, Connection] = {}
        self.expected: dict[tuple[str, str], list[object]] = {}
        self.watching: set[tuple[str, str]] = set()
        self.sent = 0

    @rule(target=connections, user=USERS)
    def connect(self, user: str) -> Connection:
        connection = self.house.connect(user)
        self.alive[connection.id] = connection
        return connection

    @rule(connection=connections, room=ROOMS, watches=st.booleans())
    def join(self, connection: Connection, room: str, watches: bool) -> None:
        key = connection.id, room
        if self.is_member(connection, room):
            self.house.rooms.confirm(connection, room, presence=watches)
        else:
            self.house.rooms.join(connection, room, RoomAccess.PUBLISH, presence=watches)
        self.expected.setdefault(key, []).append("room.joined")
        if watches:
            self.watching.add(key)

    @rule(connection=connections, room=ROOMS)
    def leave(self, connection: Connection, room: str) -> None:
        was_member = self.is_member(connection, room)
        assert self.house.rooms.leave(connection, room, reason="test") is was_member
        if was_member:
            self.expected[connection.id, room].append("room.left")
            self.watching.discard((connection.id, room))

    @rule(connection=consumes(connections))
    def lose(self, connection: Connection) -> None:
        self.house.lose(connection)
        del self.alive[connection.id]
        for room in ("hall", "kitchen"):
            # What was gathered in this turn may be written to it or not: nobody can tell.
            self.expected.pop((connection.id, room), None)
            self.watching.discard((connection.id, room))

    @rule(room=ROOMS, left_out=st.none() | connections, lossy=st.booleans())
    def publish(self, room: str, left_out: Connection | None, lossy: bool) -> None:
        self.sent += 1
        payload = self.house.protocol.serialize(self.house.protocol.create_envelope("n", self.sent, room=room))
        left_out_id = None if left_out is None else left_out.id
        self.house.delivery.deliver(ROOM, room, payload, lossy, left_out_id)
        for connection in self.alive.values():
            if self.is_member(connection, room) and connection.id != left_out_id:
                self.expected[connection.id, room].append(self.sent)

    @rule(seconds=st.sampled_from([0.0, 0.1, GATHER_S, 3.0, LINGER_S]))
    def pass_time(self, seconds: float) -> None:
        self.house.pass_time(seconds)

    @invariant()
    def everybody_has_what_was_expected_so_far(self) -> None:
        for (connection_id, room), expected in self.expected.items():
            got = self.got(self.alive[connection_id], room)
            assert got == expected[: len(got)]

    @invariant()
    def nobody_is_told_what_it_knows(self) -> None:
        for connection_id, room in self.watching:
            self.known(self.alive[connection_id], room)

    def teardown(self) -> None:
        self.house.pass_time(LINGER_S + GATHER_S)
        for (connection_id, room), expected in self.expected.items():
            assert self.got(self.alive[connection_id], room) == expected
        for room in ("hall", "kitchen"):
            there = {
                connection.principal.user_id for connection in self.alive.values() if self.is_member(connection, room)
            }
            assert set(self.house.watch.here(room)) == there
            for connection_id, watched in self.watching:
                if watched == room:
                    assert self.known(self.alive[connection_id], room) == there
        for connection in self.alive.values():
            self.house.lose(connection)
        self.house.pass_time(LINGER_S + GATHER_S)
        assert self.house.rooms.used == self.house.groups.count(ROOM) == len(self.house.timers) == 0

    def is_member(self, connection: Connection, room: str) -> bool:
        return self.house.rooms.access(connection.id, room) is not RoomAccess.NONE

    @staticmethod
    def got(connection: Connection, room: str) -> list[object]:
        """Return what came to a connection of a room, but for presence: numbers of messages, and types of answers."""
        return [
            envelope["data"] if envelope["type"] == "n" else envelope["type"]
            for envelope in connection.channel.written
            if envelope["type"] != "presence" and room in (envelope.get("room"), _room_of(envelope["data"]))
        ]

    @staticmethod
    def known(connection: Connection, room: str) -> set[str]:
        """Return who is in a room as a watcher knows it, from all that it was told."""
        members: set[str] | None = None
        for envelope in connection.channel.written:
            data = envelope["data"]
            if _room_of(data) != room:
                continue
            if envelope["type"] == "room.joined" and "members" in data:
                members = set(data["members"])
                assert data["memberCount"] == len(members)
            elif envelope["type"] == "room.left":
                members = None
            elif envelope["type"] == "presence":
                assert members is not None, "presence for who did not ask"
                joined, left = set(data["joined"]), set(data["left"])
                assert not joined & members, "told that somebody came who was there"
                assert left <= members, "told that somebody left who was not there"
                assert connection.principal.user_id not in joined | left, "told of itself"
                members = (members | joined) - left
                assert data["count"] == len(members)
        assert members is not None
        return members


def _room_of(data: object) -> object:
    return data.get("room") if isinstance(data, dict) else None


TestRooms = pytest.mark.chaos(RoomsMachine.TestCase)
TestRooms.settings = settings(
    max_examples=int(os.environ.get("CHAOS_SEEDS", "100")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
