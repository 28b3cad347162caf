"""The state of connections and of the groups that they are members of: the two know each other."""

from __future__ import annotations

from enum import Flag, auto
from typing import Any

from wscore.principal import Principal
from wscore.recovery import ReplayBudget
from wsserver.brokers.base import GroupKind
from wsserver.connections.handlerqueue import HandlerQueue
from wsserver.connections.ratelimits import RateLimiter
from wsserver.engines.channel import Channel


class Mark(Flag):
    """What is special about a member of a room: it may not publish there, or the app has put it there."""

    LISTENS = auto()
    IS_PLACED = auto()


class Group:
    """What a message fans out to: a session, a room or a user, from its first member to its last (design section 4).

    `members` are those of this process, by connection id; `marks` says what is special about some of them. `pending`
    gathers the payloads of one event-loop turn for the fan-out (see delivery.py); with a `first_seq` they are without
    their seq, which counts on from there. `lossy` are the positions among them that a slow reader may miss. By
    connection id: `skips` is what stands in place of some (nothing, if it is empty), `private` the payloads for that
    one alone which gather among those of its session, each with its position and whether it is lossy.
    """

    __slots__ = ("first_seq", "kind", "lossy", "marks", "members", "name", "pending", "private", "skips")

    def __init__(self, kind: GroupKind, name: str) -> None:
        self.kind = kind
        self.name = name
        self.members: dict[str, Connection] = {}
        self.pending: list[bytes] = []
        self.first_seq = 0
        self.lossy: set[int] | None = None
        self.marks: dict[str, Mark] | None = None
        self.skips: dict[str, dict[int, bytes]] | None = None
        self.private: dict[str, list[tuple[int, bytes, bool]]] | None = None


class Connection:
    """State of one connection; holds no behaviour beyond what all rooms agree on.

    `client_ip` is the client's own address, whatever proxies are between; None: a Unix socket. `last_seen_s` is the
    heartbeat wheel's time, `created_at_ms` wall-clock ms. `origin` is the id of the client's first connection to
    the session, which is this one unless it resumed. `rooms` are those that it is a member of, in
    a list: it is the smallest, and there are few.
    """

    __slots__ = (
        "channel",
        "client_ip",
        "created_at_ms",
        "handlers",
        "id",
        "is_lost",
        "is_open",
        "last_seen_s",
        "limiter",
        "origin",
        "principal",
        "replay_budget",
        "rooms",
        "session",
        "state",
    )

    def __init__(
        self,
        connection_id: str,
        principal: Principal,
        session: Group,
        channel: Channel,
        *,
        client_ip: str | None = None,
        created_at_ms: int,
        now_s: float,
        limiter: RateLimiter | None = None,
    ) -> None:
        self.id = self.origin = connection_id
        self.principal = principal
        self.session = session
        self.channel = channel
        self.client_ip = client_ip
        self.created_at_ms = created_at_ms
        self.last_seen_s = now_s
        self.limiter = limiter
        self.rooms: list[Group] | None = None  # exists from the first room on
        self.handlers: HandlerQueue[Any] | None = None  # exists from the first async handler on
        self.state: Any = None  # the app's own, made when it is first asked for
        self.replay_budget: ReplayBudget | None = None  # exists from the first replay on
        self.is_open = True
        self.is_lost = False  # whether it ended without a goodbye, so that its client may come back

    @property
    def session_id(self) -> str:
        """The id of its session."""
        return self.session.name

    def __repr__(self) -> str:
        return f"Connection({self.id!r}, user={self.principal.user_id!r}, session={self.session.name!r})"
