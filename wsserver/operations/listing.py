"""Lists of what one process has, made in slices: ten thousand connections are looked through without a stall."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from wscore.operations import ApiErrorCode, ConnectionRow
from wsserver.brokers.base import ROOM
from wsserver.connections.groups import Groups
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.state import Connection
from wsserver.engines.networks import parse_ip
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import (
    ConnectionsAnswer,
    GroupsAnswer,
    ListConnections,
    ListGroups,
    ListMembers,
    MembersAnswer,
)

SLICE: Final = 250  # connections or groups that are looked at in one turn of the event loop
MAX_ROOMS: Final = 16  # of one connection that are named

T = TypeVar("T")


class Listing:
    """Answers lists of this process, which is called `node`; `now_ms` is the wall clock."""

    __slots__ = ("_connections", "_groups", "_node", "_now_ms")

    def __init__(self, connections: ConnectionManager, groups: Groups, node: str, now_ms: Callable[[], int]) -> None:
        self._connections = connections
        self._groups = groups
        self._node = node
        self._now_ms = now_ms

    async def connections(self, query: ListConnections) -> ConnectionsAnswer:
        """Return the connections that a query is for; raises ApiError for an address that is none."""
        candidates = self._candidates(query)
        wanted = _filter(query, self._now_ms())
        total = 0
        first: list[Connection] = []
        for part in _slices(candidates):
            found = [connection for connection in part if wanted(connection)]
            total += len(found)
            if query.after is not None:
                found = [connection for connection in found if _place(connection) > query.after]
            first = _first_of(first, found, query.limit, _place)
            await asyncio.sleep(0)
        rows: list[ConnectionRow] = []
        for part in _slices(first):
            rows += [self._row(connection) for connection in part]
            await asyncio.sleep(0)
        return ConnectionsAnswer(rows, total)

    async def groups(self, query: ListGroups) -> GroupsAnswer:
        """Return the sessions or rooms that a query is for."""
        total = 0
        first: list[tuple[str, int]] = []
        for part in _slices(self._groups.all(query.kind)):
            found = [(group.name, len(group.members)) for group in part if group.name.startswith(query.prefix)]
            total += len(found)
            behind = [pair for pair in found if pair[0] > query.after]
            first = _first_of(first, behind, query.limit, _largest_first if query.largest else _by_name)
            await asyncio.sleep(0)
        return GroupsAnswer(dict(first), total)

    async def members(self, query: ListMembers) -> MembersAnswer:
        """Return the users who are in a room."""
        group = self._groups.get(ROOM, query.room)
        members = () if group is None else tuple(group.members.values())
        first: list[str] = []
        for part in _slices(members):
            users = {connection.principal.user_id for connection in part}
            behind = [user for user in users.difference(first) if user > query.after]
            first = _first_of(first, behind, query.limit, str)
            await asyncio.sleep(0)
        return MembersAnswer(first, len(members))

    def _candidates(self, query: ListConnections) -> Sequence[Connection]:
        if query.session is not None:
            return tuple(self._connections.by_session(query.session))
        if query.room is not None:
            group = self._groups.get(ROOM, query.room)
            return () if group is None else tuple(group.members.values())
        return self._connections.all()

    def _row(self, connection: Connection) -> ConnectionRow:
        rooms = connection.rooms or []
        return ConnectionRow(
            connection.id,
            connection.principal.user_id,
            connection.principal.is_guest,
            connection.session_id,
            [room.name for room in rooms[:MAX_ROOMS]],
            len(rooms),
            connection.client_ip,
            connection.created_at_ms,
            connection.channel.unread,
            self._node,
        )


def _slices(items: Sequence[T]) -> Iterable[list[T]]:
    iterator = iter(items)
    while part := list(islice(iterator, SLICE)):
        yield part


def _first_of(first: list[T], found: list[T], limit: int, key: Callable[[T], Any]) -> list[T]:
    """Return the first of both lists; connections come oldest first, so most of `found` are behind the last."""
    if len(first) == limit:
        last = key(first[-1])
        found = [item for item in found if key(item) < last]
    return sorted([*first, *found], key=key)[:limit] if found else first


def _place(connection: Connection) -> tuple[int, str]:
    return connection.created_at_ms, connection.id


def _by_name(pair: tuple[str, int]) -> str:
    return pair[0]


def _largest_first(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _filter(query: ListConnections, now_ms: int) -> Callable[[Connection], bool]:
    """Return what tells whether a connection is asked for."""
    checks: list[Callable[[Connection], Any]] = []
    if query.user is not None:
        checks.append(lambda connection: connection.principal.user_id == query.user)
    if query.session is not None:
        checks.append(lambda connection: connection.session_id == query.session)
    if query.room is not None:
        checks.append(lambda connection: any(room.name == query.room for room in connection.rooms or ()))
    if query.address is not None:
        checks.append(_address_filter(query.address))
    if (least := query.min_age) is not None:
        checks.append(lambda connection: now_ms - connection.created_at_ms >= least)
    if (most := query.max_age) is not None:
        checks.append(lambda connection: now_ms - connection.created_at_ms <= most)
    if (waiting := query.min_buffered) is not None:
        checks.append(lambda connection: connection.channel.unread >= waiting)
    return lambda connection: all(check(connection) for check in checks)


def _address_filter(address: str) -> Callable[[Connection], bool]:
    try:
        network = ipaddress.ip_network(address)
    except ValueError:
        problem = f"{address!r:.80} is neither an address nor a network, such as 10.0.0.0/8."
        raise ApiError(ApiErrorCode.INVALID_REQUEST, problem, "$.address") from None
    if network.num_addresses == 1:
        exact = str(network.network_address)
        return lambda connection: connection.client_ip == exact

    def is_in(connection: Connection) -> bool:
        ip = parse_ip(connection.client_ip or "")
        return ip is not None and ip in network

    return is_in
