"""`room.join` and `room.leave`: who may, by the app's hook, the token or the profile (design section 4).

Both are handled in their connection's turn, as the app's own messages are: what was sent before them is dealt with
before, and what was sent behind them after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final

from wscore.codes import ErrorCode
from wscore.payloads import RoomJoin, RoomLeave, RoomLeft
from wscore.principal import Principal
from wscore.recovery import Position, read_position
from wscore.rooms import RoomAccess, granted, is_room_name, narrowest
from wsserver.brokers.base import ROOM
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.replays import Replays
from wsserver.connections.rooms import RoomLimitError, Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection
from wsserver.lifetime.calls import AppCalls
from wsserver.lifetime.router import MessageRouter
from wsserver.sdk.context import Context
from wsserver.sdk.handlers import Handler, is_awaited

_BAD_NAME: Final = "Expected 1 to 128 of `A-Z a-z 0-9 _ . : -` - at `$.data.room`"
_AWAY: Final = "The server cannot reach its broker; try again later."
_NARROWED: Final = "The new token does not allow it."


class RoomHandlers:
    """Lets connections into rooms and out; where it `is_open`, without a hook and a claim anybody may join."""

    __slots__ = ("_calls", "_connections", "_hooks", "_is_open", "_recheck", "_replays", "_rooms", "_sender")

    def __init__(
        self,
        rooms: Rooms,
        replays: Replays,
        connections: ConnectionManager,
        sender: EnvelopeSender,
        calls: AppCalls,
        hooks: Mapping[str, Handler],
        *,
        is_open: bool,
    ) -> None:
        self._rooms = rooms
        self._replays = replays
        self._connections = connections
        self._sender = sender
        self._calls = calls
        self._hooks = hooks
        self._is_open = is_open
        self._recheck = Handler(self._ask_again, is_hook=True)

    def register(self, router: MessageRouter) -> None:
        """Put `room.join` and `room.leave` into the table."""
        router.register("room.join", self._calls.route("room.join", Handler(self._join)))
        router.register("room.leave", self._calls.route("room.leave", Handler(self._leave)))

    def refreshed(self, connection: Connection) -> None:
        """Have a connection leave the rooms that its new token does not allow, but for those the app put it into."""
        by_hook = False
        for room in self._asked_for(connection):
            if narrowest(self._hooks, room) is None:
                self._allow(connection, room, self._by_claim(connection.principal, room))
            else:
                by_hook = True
        if by_hook:
            self._calls.hook(self._recheck, connection)

    def _join(self, ctx: Context, data: RoomJoin) -> Awaitable[None] | None:
        connection = self._connections.get(ctx.connection_id)
        if not is_room_name(data.room):
            ctx.error(ErrorCode.INVALID_MESSAGE, _BAD_NAME)
        elif connection is None:
            pass
        elif (access := self._rooms.access(connection.id, data.room)) is not RoomAccess.NONE:
            if data.presence and self._replays.is_shared:
                return self._confirm_later(ctx, connection, data)
            self._admit(ctx, data, access)
        else:
            answer = self._ask(ctx, data.room)
            must_wait = _asked(data) is not None and self._replays.must_wait(connection)
            if not isinstance(answer, RoomAccess) or must_wait or self._replays.is_shared:
                return self._admit_later(ctx, connection, data, answer, connection.principal)
            self._admit(ctx, data, answer)
        return None

    async def _confirm_later(self, ctx: Context, connection: Connection, data: RoomJoin) -> None:
        """Tell a member who is there; one that was taken out meanwhile may not ask."""
        try:
            await self._rooms.ready_to_watch(data.room)
        except TimeoutError:
            ctx.error(ErrorCode.PROCESSING_ERROR, _AWAY)
            return
        self._admit(ctx, data, self._rooms.access(connection.id, data.room))

    async def _admit_later(
        self,
        ctx: Context,
        connection: Connection,
        data: RoomJoin,
        answer: RoomAccess | Awaitable[object],
        principal: Principal,
    ) -> None:
        asked = _asked(data)
        try:
            while True:
                access = answer if isinstance(answer, RoomAccess) else _access(await answer)
                if access is not RoomAccess.NONE:
                    await self._replays.ready(ROOM, data.room, asked)
                if asked is not None:
                    await self._replays.turn(connection)  # one replay at a time, and as fast as it is read
                if access is not RoomAccess.NONE and data.presence:
                    await self._rooms.ready_to_watch(data.room)
                if connection.principal is principal:
                    break
                # An auth_refresh waits for nobody: what the old token allowed is void.
                principal = connection.principal
                answer = self._ask(ctx, data.room)
        except TimeoutError:
            ctx.error(ErrorCode.PROCESSING_ERROR, _AWAY)
            return
        self._admit(ctx, data, access)

    def _admit(self, ctx: Context, data: RoomJoin, access: RoomAccess) -> None:
        connection = self._connections.get(ctx.connection_id)
        if connection is None:
            return
        if access is RoomAccess.NONE:
            ctx.error(ErrorCode.FORBIDDEN, f"You may not join the room {data.room}.")
            return
        is_in = self._rooms.access(connection.id, data.room) is not RoomAccess.NONE
        presence, asked, id = data.presence, _asked(data), ctx.request_id
        try:
            if is_in:
                self._rooms.confirm(connection, data.room, presence=presence, asked=asked, id=id)
            else:
                self._rooms.join(connection, data.room, access, presence=presence, asked=asked, id=id)
        except RoomLimitError as error:
            ctx.error(error.code, str(error), error.details)

    def _leave(self, ctx: Context, data: RoomLeave) -> None:
        connection = self._connections.get(ctx.connection_id)
        if not is_room_name(data.room):
            ctx.error(ErrorCode.INVALID_MESSAGE, _BAD_NAME)
        elif connection is not None:
            self._rooms.leave(connection, data.room)
            self._sender.send(connection, "room.left", RoomLeft(data.room), id=ctx.request_id)

    def _ask(self, ctx: Context, room: str) -> RoomAccess | Awaitable[object]:
        """Return what a connection may do in a room, or what is to be awaited for that."""
        pattern = narrowest(self._hooks, room)
        if pattern is None:
            return self._by_claim(ctx.principal, room)
        hook = self._hooks[pattern]
        answer: Any = hook.function(ctx, room) if hook.takes_data else hook.function(ctx)
        return answer if is_awaited(answer) else _access(answer)

    async def _ask_again(self, ctx: Context) -> None:
        """Ask the hooks after `auth_refresh`; where one fails the connection leaves, before the failure is told."""
        connection = self._connections.get(ctx.connection_id)
        if connection is None:
            return
        failure: Exception | None = None
        for room in self._asked_for(connection):
            if narrowest(self._hooks, room) is None:
                continue
            access = RoomAccess.NONE
            try:
                answer = self._ask(ctx, room)
                access = answer if isinstance(answer, RoomAccess) else _access(await answer)
            except Exception as error:
                failure = error
            self._allow(connection, room, access)
        if failure is not None:
            raise failure

    def _by_claim(self, principal: Principal, room: str) -> RoomAccess:
        if principal.rooms is not None:
            return granted(principal.rooms, room)
        return RoomAccess.PUBLISH if self._is_open else RoomAccess.NONE

    def _asked_for(self, connection: Connection) -> list[str]:
        return [room for room in self._rooms.of(connection) if not self._rooms.is_placed(connection.id, room)]

    def _allow(self, connection: Connection, room: str, access: RoomAccess) -> None:
        """Have a member do in a room what it may from now on."""
        if access is RoomAccess.NONE:
            self._rooms.leave(connection, room, reason=_NARROWED)
        elif self._rooms.access(connection.id, room) is not RoomAccess.NONE:  # else it has left by itself meanwhile
            self._rooms.join(connection, room, access)


def _access(answer: object) -> RoomAccess:
    """Return what the answer of a hook means; raises TypeError for one that is none, as a forgotten `return`."""
    if isinstance(answer, RoomAccess):
        return answer
    if isinstance(answer, bool):
        return RoomAccess.PUBLISH if answer else RoomAccess.NONE
    raise TypeError(f"an on_join hook returns True, False or a RoomAccess, and not {answer!r:.80}")


def _asked(data: RoomJoin) -> Position | None:
    """Return the position behind which a client wants a replay; None unless both of its parts were sent."""
    recovery = data.recovery
    if not isinstance(recovery, dict) or not recovery.keys() >= {"epoch", "seq"}:
        return None
    return read_position(recovery["epoch"], recovery["seq"])
