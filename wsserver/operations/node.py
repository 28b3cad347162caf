"""One process, asked about itself and told to act; it never knows who asks, or by what way that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec

from wscore.envelope import UnsendableError
from wscore.guest import is_guest_id
from wscore.operations import ApiErrorCode, Problem, Published
from wsserver.brokers.base import ROOM, Broker, NotPublishedError
from wsserver.brokers.revoked import NotRevokedError
from wsserver.connections.groups import Groups
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.state import Connection
from wsserver.operations.acts import EndConnections, PublishMessage, SendMessage
from wsserver.operations.families import families_of
from wsserver.operations.listing import Listing
from wsserver.operations.problems import FAILED, ApiError
from wsserver.operations.queries import (
    Answer,
    HistoryAnswer,
    HistoryGone,
    ListConnections,
    ListGroups,
    ListMembers,
    NotDone,
    PublishAll,
    PublishAnswer,
    PublishOutcome,
    Query,
    Reach,
    ReachAnswer,
    ReadHistory,
    Readiness,
    ReadinessAnswer,
    RemoveHistory,
    RevokeAnswer,
    RevokeTokens,
    Scrape,
    ScrapeAnswer,
)
from wsserver.operations.turns import Turns
from wsserver.sdk.hub import Hub
from wsserver.sdk.sendable import check_close
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

MAX_HISTORY_BYTES: Final = 8 << 20  # of one answer; `before` asks for what is older
CLOSED_AT_ONCE: Final = 250  # connections in one turn of the event loop
LISTS_AT_ONCE: Final = 2  # each takes a slice of every turn
HISTORIES_AT_ONCE: Final = 4
PUBLISHED_AT_ONCE: Final = 256 << 10  # bytes in one turn
PUBLISH_COST: Final = 16 << 10  # so many bytes are copied in the time that a message takes besides


class Node:
    """Answers queries; `is_ready` says whether this process takes newcomers, `name` is what people call it.

    `worker` is its number where a supervisor has several.
    """

    __slots__ = (
        "_broker",
        "_connections",
        "_groups",
        "_hub",
        "_is_ready",
        "_listing",
        "_log",
        "_metrics",
        "_turns",
        "_worker",
        "name",
    )

    def __init__(
        self,
        name: str,
        hub: Hub,
        broker: Broker,
        connections: ConnectionManager,
        groups: Groups,
        metrics: Metrics,
        *,
        is_ready: Callable[[], bool],
        now_ms: Callable[[], int],
        log: EventLog,
        worker: int | None = None,
    ) -> None:
        self._log = log
        lists, histories = Turns(LISTS_AT_ONCE), Turns(HISTORIES_AT_ONCE)
        self._turns: dict[type[Query], Turns] = {
            ListConnections: lists,
            ListGroups: lists,
            ListMembers: lists,
            ReadHistory: histories,
        }
        self.name = name
        self._worker = worker
        self._hub = hub
        self._broker = broker
        self._connections = connections
        self._groups = groups
        self._metrics = metrics
        self._is_ready = is_ready
        self._listing = Listing(connections, groups, name, now_ms)

    @property
    def is_ready(self) -> bool:
        """Whether this process takes newcomers, and reaches what it shares with others."""
        return self._is_ready()

    async def answer(self, query: Query) -> Answer:
        """Return the answer to a query; what cannot be done is one too."""
        try:
            turns = self._turns.get(type(query))
            if turns is None:
                return await _ANSWERS[type(query)](self, query)
            async with turns:
                return await _ANSWERS[type(query)](self, query)
        except ApiError as error:
            return NotDone(error.problem)
        except UnsendableError as error:
            return NotDone(Problem(ApiErrorCode.INVALID_REQUEST, f"{error}."))
        except NotPublishedError as error:
            return NotDone(_unpublished(error))
        except Exception as error:
            return self.failed(error)

    def failed(self, error: Exception) -> NotDone:
        """Return what is answered where something fails that should not; the log has it."""
        self._log.failure("ops.failed", error)
        return NotDone(Problem(ApiErrorCode.INTERNAL, FAILED))

    async def _readiness(self, query: Readiness) -> Answer:
        return ReadinessAnswer(self._is_ready(), self._broker.problem)

    async def _scrape(self, query: Scrape) -> Answer:
        return ScrapeAnswer(list(families_of(self._metrics.collect(), self._worker)))

    async def _publish_all(self, query: PublishAll) -> Answer:
        messages = [message for act in query.acts for message in act.each()]
        if len(messages) == 1:
            return PublishAnswer([await self._publish(messages[0])])
        # Their tasks begin in this order, and each is on its way as soon as it has begun.
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[PublishOutcome]] = []
        size = 0
        for message in messages:
            tasks.append(loop.create_task(self._publish(message)))
            size += PUBLISH_COST + (len(memoryview(message.data)) if isinstance(message.data, msgspec.Raw) else 0)
            if size >= PUBLISHED_AT_ONCE:
                size = 0
                await asyncio.sleep(0)
        return PublishAnswer(list(await asyncio.gather(*tasks)))

    async def _publish(self, message: PublishMessage) -> PublishOutcome:
        target = {"session": message.session, "room": message.room, "user": message.user}
        if sum(name is not None for name in target.values()) != 1:
            return _problem(ApiErrorCode.INVALID_REQUEST, "Name one of session, room and user.", "$")
        if not self._broker.is_up:
            return _problem(ApiErrorCode.NOT_READY, "The server does not reach its broker; try it again.")
        options: dict[str, Any] = {
            **target,
            "user_id": message.user_id,
            "except_connection": message.except_connection,
        }
        try:
            if message.lossy:
                result = self._hub.publish(message.type, message.data, lossy=True, **options)
            else:
                result = await self._hub.published(message.type, message.data, **options)
        except UnsendableError as error:
            place = next(
                (f"$.{part}" for part in ("type", "room") if error.what.startswith((part, f"message {part}"))), "$.data"
            )
            return _problem(ApiErrorCode.INVALID_REQUEST, f"{error}.", place)
        except NotPublishedError as error:
            return PublishOutcome(None, _unpublished(error))
        except Exception as error:  # one is no matter to the others
            return PublishOutcome(None, self.failed(error).problem)
        return PublishOutcome(Published(result.epoch, result.seq))

    async def _reach(self, query: Reach) -> Answer:
        if isinstance(query.what, SendMessage):
            return ReachAnswer(self._send(query.what))
        return ReachAnswer(await self._end(query.what))

    def _send(self, what: SendMessage) -> int:
        if self._connections.get(what.connection) is None:
            return 0
        return int(self._hub.send(what.connection, what.type, what.data, id=what.id, lossy=what.lossy))

    async def _end(self, what: EndConnections) -> int:
        check_close(what.code, what.reason)
        count = 0
        for number, connection in enumerate(self._meant(what)):
            if number % CLOSED_AT_ONCE == CLOSED_AT_ONCE - 1:
                await asyncio.sleep(0)
            if what.user is not None and not _belongs_to(connection, what.user):
                continue
            if connection.is_open and self._connections.get(connection.id) is connection:
                count += self._hub.close(connection.id, what.code, what.reason)
        return count

    def _meant(self, what: EndConnections) -> Iterable[Connection]:
        """Return who may be meant, safe to iterate while they come and go."""
        if what.connection is not None:
            found = self._connections.get(what.connection)
            return () if found is None else (found,)
        if what.session is not None:
            return self._connections.by_session(what.session)
        if what.room is not None:
            group = self._groups.get(ROOM, what.room)
            return () if group is None else tuple(group.members.values())
        return self._connections.all()

    async def _connections_of(self, query: ListConnections) -> Answer:
        return await self._listing.connections(query)

    async def _groups_of(self, query: ListGroups) -> Answer:
        return await self._listing.groups(query)

    async def _members(self, query: ListMembers) -> Answer:
        return await self._listing.members(query)

    async def _history(self, query: ReadHistory) -> Answer:
        try:
            kept = await self._broker.history(query.kind, query.name, query.limit, query.before)
        except (NotPublishedError, TimeoutError):
            raise ApiError(ApiErrorCode.NOT_READY, "The server does not reach its broker; try it again.") from None
        return HistoryAnswer([msgspec.Raw(payload) for payload in _newest(kept, MAX_HISTORY_BYTES)])

    async def _remove_history(self, query: RemoveHistory) -> Answer:
        await self._broker.forget(query.kind, query.name)
        return HistoryGone()

    async def _revoke(self, query: RevokeTokens) -> Answer:
        try:
            return RevokeAnswer(await self._hub.revoke(query.revocation))
        except ValueError as error:
            return NotDone(Problem(ApiErrorCode.INVALID_REQUEST, f"{error}.", "$"))
        except NotRevokedError as error:
            code = ApiErrorCode.UNKNOWN_OUTCOME if error.is_unknown else ApiErrorCode.NOT_READY
            return NotDone(Problem(code, f"{error}."))


def _newest(payloads: Sequence[bytes], limit: int) -> Sequence[bytes]:
    """Return the last of them that take so many bytes together, at least one."""
    size = 0
    for number, payload in enumerate(reversed(payloads)):
        size += len(payload)
        if size > limit and number:
            return payloads[-number:]
    return payloads


def _belongs_to(connection: Connection, user: str) -> bool:
    principal = connection.principal
    return principal.user_id == user and principal.is_guest == is_guest_id(user)


def _problem(code: ApiErrorCode, message: str, place: str | None = None) -> PublishOutcome:
    return PublishOutcome(None, Problem(code, message, place))


def _unpublished(error: NotPublishedError) -> Problem:
    if error.answer.is_unknown:
        return Problem(ApiErrorCode.UNKNOWN_OUTCOME, "Nobody knows yet whether it is published.")
    return Problem(ApiErrorCode.NOT_PUBLISHED, f"It is not published: {error.answer.problem}.")


_ANSWERS: Final[dict[type[Query], Callable[[Node, Any], Coroutine[Any, Any, Answer]]]] = {
    Readiness: Node._readiness,
    Scrape: Node._scrape,
    PublishAll: Node._publish_all,
    Reach: Node._reach,
    ListConnections: Node._connections_of,
    ListGroups: Node._groups_of,
    ListMembers: Node._members,
    ReadHistory: Node._history,
    RemoveHistory: Node._remove_history,
    RevokeTokens: Node._revoke,
}
