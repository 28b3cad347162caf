"""Ten thousand connections are listed, filtered and paged without holding the event loop up."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from wscore.principal import Principal
from wsserver import RecoveryLimits
from wsserver.brokers.base import ROOM
from wsserver.brokers.memory import MemoryBroker
from wsserver.connections.groups import Groups
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.state import Connection
from wsserver.connections.users import UserGroups
from wsserver.operations.asking import Gathered
from wsserver.operations.listing import Listing
from wsserver.operations.port.looking import Looking
from wsserver.operations.port.pages import ConnectionsQuery, GroupsQuery, PresenceQuery
from wsserver.operations.port.replies import reply
from wsserver.operations.queries import ListConnections, ListGroups

MANY = 10_000
STALL_S = 0.005  # of processor time, which other programs on the machine do not take
TRIES = 5


class Peer:
    """A way out of which nothing is sent: so many bytes wait."""

    def __init__(self, unread: int) -> None:
        self.unread = unread


class OneList:
    """A server whose process knows lists alone."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    async def everywhere(self, query):
        if isinstance(query, ListConnections):
            return Gathered({"": await self._listing.connections(query)}, [])
        if isinstance(query, ListGroups):
            return Gathered({"": await self._listing.groups(query)}, [])
        return Gathered({"": await self._listing.members(query)}, [])


@pytest.fixture
async def looking():
    broker = MemoryBroker(RecoveryLimits(messages=0))
    groups = Groups(broker)
    connections = ConnectionManager(groups, UserGroups(groups, for_guests=True))
    for number in range(MANY):
        principal = Principal(f"user{number % 5000}", False, 0)
        session = groups.find("session", f"s{number}")
        peer = Peer(number if number % 100 == 0 else 0)
        connection = Connection(str(uuid.uuid4()), principal, session, peer, created_at_ms=number, now_s=0)
        connection.client_ip = f"10.0.{number // 256}.{number % 256}"
        connection.rooms = [groups.find(ROOM, "hall"), *(groups.find(ROOM, f"r{k}") for k in range(number % 30))]
        for room in connection.rooms:
            groups.join(room, connection)
        connections.register(connection)
    return Looking(OneList(Listing(connections, groups, "here:1", lambda: MANY)))


async def longest_turn(work):
    """Run something, and return the longest time that it kept the loop's thread busy without a break, in seconds."""
    longest = 0.0
    running = asyncio.create_task(work)
    last = time.thread_time()
    while not running.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    reply(await running)
    return max(longest, time.thread_time() - last)


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("connections", ConnectionsQuery(limit=1000)),
        ("connections", ConnectionsQuery(user="user17")),
        ("connections", ConnectionsQuery(room="hall", address="10.0.0.0/16", min_age=10, max_age=MANY, min_buffered=1)),
        ("sessions", GroupsQuery(limit=1000)),
        ("rooms", GroupsQuery(prefix="r")),
        ("sessions", GroupsQuery(order="size")),
        ("presence", PresenceQuery("hall", limit=1000)),
    ],
    ids=["all", "user", "every-filter", "sessions", "rooms", "largest", "presence"],
)
async def test_no_list_of_ten_thousand_holds_the_loop_up(looking, kind, query):
    longest = [await longest_turn(getattr(looking, kind)(query)) for _ in range(TRIES)]
    assert min(longest) < STALL_S, longest


async def test_pages_are_whole_and_in_order_also_of_ten_thousand(looking):
    ids, cursor = [], None
    while not ids or cursor:
        page = await looking.connections(ConnectionsQuery(limit=1000, cursor=cursor))
        ids += [row.id for row in page.connections]
        assert page.total == MANY
        cursor = page.next
    assert len(set(ids)) == len(ids) == MANY
    found = await looking.connections(ConnectionsQuery(min_buffered=5000, limit=1000))
    assert [row.buffered_bytes for row in found.connections] == list(range(5000, MANY, 100))
    assert found.connections[1].rooms == ["hall", *(f"r{number}" for number in range(5100 % 30))][:16]
    assert found.connections[1].room_count == 5100 % 30 + 1
