"""What operators look at: lists of all processes, put together page by page."""

from __future__ import annotations

from collections import Counter
from heapq import nsmallest

from wscore.operations import (
    ApiErrorCode,
    ConnectionRow,
    ConnectionsPage,
    GroupRow,
    HistoryPage,
    PresencePage,
    RoomsPage,
    SessionsPage,
)
from wsserver.operations.asking import Gathered, Operations, done
from wsserver.operations.port.acting import history_target
from wsserver.operations.port.pages import (
    MAX_PAGE,
    ConnectionsQuery,
    GroupsQuery,
    HistoryQuery,
    PresenceQuery,
    cursor_of,
    place_of,
)
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import (
    ConnectionsAnswer,
    GroupName,
    GroupsAnswer,
    HistoryAnswer,
    ListConnections,
    ListGroups,
    ListMembers,
    MembersAnswer,
    ReadHistory,
)


class Looking:
    """Makes the pages. Each process sends the first of what it has, so the first of all of these are the page."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def connections(self, query: ConnectionsQuery) -> ConnectionsPage:
        """Return a page of connections; raises ApiError."""
        after = place_of(query.cursor, tuple[int, str] | None, None)
        filters = (query.user, query.room, query.session, query.address, query.min_age, query.max_age)
        gathered = await self._operations.everywhere(
            ListConnections(query.limit + 1, after, *filters, query.min_buffered)
        )
        rows: list[ConnectionRow] = []
        total = 0
        for answer in gathered.answers.values():
            own = done(answer)
            assert isinstance(own, ConnectionsAnswer)
            rows += own.rows
            total += own.total
        first = nsmallest(query.limit + 1, rows, _place)
        page, rest = first[: query.limit], first[query.limit :]
        return ConnectionsPage(page, total, gathered.missing, cursor_of(_place(page[-1])) if rest else None)

    async def sessions(self, query: GroupsQuery) -> SessionsPage:
        """Return a page of sessions; raises ApiError."""
        return SessionsPage(*await self._groups("session", query))

    async def rooms(self, query: GroupsQuery) -> RoomsPage:
        """Return a page of rooms; raises ApiError."""
        return RoomsPage(*await self._groups("room", query))

    async def presence(self, query: PresenceQuery) -> PresencePage:
        """Return a page of the users in a room; raises ApiError."""
        after = place_of(query.cursor, str, "")
        gathered = await self._operations.everywhere(ListMembers(query.room, query.limit + 1, after))
        users: set[str] = set()
        connections = 0
        for answer in gathered.answers.values():
            own = done(answer)
            assert isinstance(own, MembersAnswer)
            users.update(own.users)
            connections += own.connections
        first = nsmallest(query.limit + 1, users)
        page, rest = first[: query.limit], first[query.limit :]
        return PresencePage(page, connections, gathered.missing, cursor_of(page[-1]) if rest else None)

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Return the last messages that a group keeps; raises ApiError."""
        answer = await self._operations.act(ReadHistory(*history_target(query), query.limit, query.before))
        assert isinstance(answer, HistoryAnswer)
        return HistoryPage(answer.messages)

    async def _groups(self, kind: GroupName, query: GroupsQuery) -> tuple[list[GroupRow], list[str], str | None]:
        after = place_of(query.cursor, str, "")
        if query.order == "size":
            return await self._largest(kind, query)
        gathered = await self._operations.everywhere(ListGroups(kind, query.limit + 1, after, query.prefix))
        first = nsmallest(query.limit + 1, _added(gathered).items())
        page = [GroupRow(name, connections) for name, connections in first[: query.limit]]
        return page, gathered.missing, cursor_of(page[-1].name) if first[query.limit :] else None

    async def _largest(self, kind: GroupName, query: GroupsQuery) -> tuple[list[GroupRow], list[str], None]:
        """Return the largest of those that are among the thousand largest of a process."""
        if query.cursor is not None:
            raise ApiError(ApiErrorCode.INVALID_REQUEST, "By size there is one page.", "$.cursor")
        asked = ListGroups(kind, MAX_PAGE, prefix=query.prefix, largest=True)
        gathered = await self._operations.everywhere(asked)
        first = nsmallest(query.limit, ((-connections, name) for name, connections in _added(gathered).items()))
        return [GroupRow(name, -connections) for connections, name in first], gathered.missing, None


def _added(gathered: Gathered) -> Counter[str]:
    """Return how many connections each group has in all; whoever has some of the first names sent all that it has."""
    counts: Counter[str] = Counter()
    for answer in gathered.answers.values():
        own = done(answer)
        assert isinstance(own, GroupsAnswer)
        counts.update(own.counts)
    return counts


def _place(row: ConnectionRow) -> tuple[int, str]:
    return row.opened_at, row.id
