"""What carries a group's messages to every process that has members of it (design section 8).

The hub publishes through a broker and never to members; what comes back from it goes to `Delivery`, in every process
alike. A broker knows groups by kind and name alone, and payloads as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from wscore.errors import CredentialError, TargetError
from wscore.recovery import Position
from wscore.revocations import RevokedEntry
from wsserver.brokers.revoked import RevokedHere, TakeRevoked

# What a group is; each kind has names of its own (design section 4). Text, since an enum's hash costs more.
GroupKind = Literal["session", "room", "user"]
SESSION: Final[GroupKind] = "session"
ROOM: Final[GroupKind] = "room"
USER: Final[GroupKind] = "user"
GROUP_KINDS: Final[tuple[GroupKind, ...]] = (SESSION, ROOM, USER)
RECOVERABLE_KINDS: Final[frozenset[GroupKind]] = frozenset((SESSION, ROOM))  # those whose events count


# A struct, since each publish makes one.
class PublishResult(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands in its group, once it has a place there: `seq` counts within an `epoch`.

    Both are None for what takes no place. It never says how many receive it: in another process nobody knows that.
    """

    epoch: str | None = None
    seq: int | None = None


UNNUMBERED: Final = PublishResult()

# Takes what came for a group in this process: kind, name, payload, whether a slow reader may miss it, the id of the
# connection that is left out, and its seq, which the payload is without.
Deliver = Callable[[GroupKind, str, bytes, bool, str | None, int | None], None]

# Is told that a group's history was lost: its members begin to count at this position.
Lost = Callable[[GroupKind, str, Position], None]


class KeptEvent(NamedTuple):
    """An event of a group that can be replayed, and the seq of the one before it.

    None as its payload: whoever asked was left out of it.
    """

    previous: int
    seq: int
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class NotPublished:
    """Why a message is not where it should be kept; `is_unknown` if it may be there all the same, or come there yet."""

    problem: str
    is_unknown: bool


class BrokerUnreachableError(TargetError):
    """What the processes of a server share cannot be reached."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot reach the broker {self.where}: {self.problem}; start it, or mend --broker"


class BrokerRefusedError(CredentialError):
    """What the processes of a server share is reached, and does not let this one in."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem

    def __str__(self) -> str:
        return f"the broker {self.where} refuses: {self.problem}; mend user and password in WSCTL_BROKER, or its users"


class NotPublishedError(Exception):
    """A message was not published, or nobody knows whether it was."""

    def __init__(self, answer: NotPublished) -> None:
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        return self.answer.problem


# What processes say to each other: orders of the hub, and what the operations port asks. Each has its own form.
Topic = Literal["orders", "operations"]
ORDERS: Final[Topic] = "orders"
OPERATIONS: Final[Topic] = "operations"

# Takes an order of another process, as that has packed it.
TakeOrder = Callable[[bytes], None]


# Is told of a room that it has its first member, or none any more, in any process; and at which place of all such
# changes: None where there are no other processes.
RoomTold = Callable[[str, bool, int | None], None]


class Peers(Protocol):
    """What a broker tells of processes that have connections in the same rooms."""

    def take(self, note: bytes) -> None:
        """Take what a process has said to a room, to all or to this one; it hears what it says itself, too."""

    def entered(self, room: str) -> None:
        """What is said to a room comes here from now on: somebody here is in it."""

    def resubscribed(self, room: str) -> None:
        """What was said to a room for a while did not come here."""

    def unsubscribed(self, room: str) -> None:
        """What is said to a room comes here no longer."""

    def reached(self) -> None:
        """What was said here for a while may have reached nobody."""

    def holds(self, room: str) -> bool:
        """Whether a room without members here is to stay subscribed."""

    def check(self) -> None:
        """Do what is due; called about once a second."""

    def leave(self) -> None:
        """Say goodbye: this process ends."""


# Is told which message of which connection was not published: the connection's id, and the message's.
Unpublished = Callable[[str, str | None, NotPublished], None]


class Broker(Protocol):
    """Publishes to groups. Calls are synchronous and on the event loop; what waits for a network waits inside.

    One that `is_shared` with other processes needs a moment before somebody may come into a group, see `ready`.
    """

    is_shared: bool
    process: str  # what the others call this one

    @property
    def is_up(self) -> bool:
        """Whether what it needs is reached."""

    @property
    def problem(self) -> str:
        """What is not reached, in words that anybody may read; empty if all is."""

    def reaches(self, kind: GroupKind, name: str) -> bool:
        """Whether what a group needs is reached."""

    @property
    def size(self) -> int:
        """What is kept here for recovery, in bytes."""

    @property
    def evicted(self) -> int:
        """How many events were let go of here since there was no room for more, in all."""

    @property
    def waiting(self) -> int:
        """What is published and not stored yet, in bytes."""

    def attach(self, deliver: Deliver, lost: Lost, unpublished: Unpublished) -> None:
        """Name what takes the messages of the groups that are subscribed to, and what is told of lost history.

        `unpublished` answers who could not publish. Called once, before anything else.
        """

    def attach_orders(self, take: TakeOrder, topic: Topic = ORDERS) -> None:
        """Name what takes the orders of other processes. Called once for each topic, before `start`."""

    def order(self, packed: bytes, process: str | None = None, *, topic: Topic = ORDERS) -> bool:
        """Hand an order to all other processes, or to one; returns whether it is on its way.

        Those to one process keep their order. One that is on its way when the broker is lost may be lost with it.
        """

    def attach_revoked(self, take: TakeRevoked, here: RevokedHere) -> None:
        """Name what takes what others revoke, and what knows all that is. Called once, before `start`."""

    async def revoke(self, entry: RevokedEntry) -> None:
        """Have every process revoke, those that start later too, but for this one; raises NotRevokedError."""

    def attach_peers(self, peers: Peers) -> None:
        """Name what is told of the rooms of other processes. Called once, before `start`."""

    def attach_occupied(self, tell: RoomTold) -> None:
        """Name what is told which rooms somebody is in: of all processes one is told. Called once, before `start`."""

    async def occupied_told(self) -> None:
        """Wait until that is told of everything that has changed here."""

    def tell(
        self,
        note: bytes,
        *,
        room: str | None = None,
        process: str | None = None,
        reached: Callable[[int], None] | None = None,
    ) -> bool:
        """Say something to the processes that are subscribed to a room, or to one, or else to all of them.

        What one is told about a room keeps its order with what the room is told; so both are named. What all are told
        may come more than once. `reached` is told how many that are. Returns whether it is on its way; where the
        broker is lost it is, too.
        """

    async def start(self) -> None:
        """Reach what it needs; raises BrokerUnreachableError or BrokerRefusedError."""

    async def share(self, name: str, value: bytes, take: Callable[[bytes], None]) -> None:
        """Agree with all processes on what a name stands for: the value of whoever came first.

        `take` gets it before this returns, and another one should what keeps it lose it, and a newcomer be quicker than
        those who write it back. Raises BrokerUnreachableError.
        """

    async def stop(self, within_s: float) -> None:
        """Let what is on its way arrive within so many seconds, then let go."""

    def check(self) -> None:
        """Let go of what is too old, and look after the rest; called every now and then."""

    async def ready(self, kind: GroupKind, name: str, asked: Position | None = None) -> None:
        """Wait until somebody may come into a group, and be told what was published behind a position.

        Raises TimeoutError when that takes too long.
        """

    def publish(
        self,
        kind: GroupKind,
        name: str,
        payload: bytes,
        *,
        lossy: bool = False,
        recoverable: bool = False,
        except_connection: str | None = None,
        except_origin: str | None = None,
        reply_to: tuple[str, str | None] | None = None,
    ) -> PublishResult:
        """Publish one serialized envelope to a group, wherever its members are; their order is that of these calls.

        One that is `recoverable`, which a lossy one is not, gets its seq and is kept to be replayed. The connection of
        the id `except_connection` is left out, wherever it is, and those that resume from the same origin. `reply_to`
        names the connection and the message that asked for it, to be told if it fails.
        """

    async def published(
        self,
        kind: GroupKind,
        name: str,
        payload: bytes,
        *,
        lossy: bool = False,
        recoverable: bool = False,
        except_connection: str | None = None,
        except_origin: str | None = None,
    ) -> PublishResult:
        """Publish, and return once the message is where it is kept, with its place if it has one.

        Raises NotPublishedError.
        """

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Have a group's messages delivered here: it has its first member in this process."""

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Have them delivered no more: its last member in this process is gone."""

    def position(self, kind: GroupKind, name: str) -> Position | None:
        """Return where a group stands that is subscribed to; None where no history is kept."""

    def since(
        self, kind: GroupKind, name: str, asked: Position, client: str | None = None
    ) -> Sequence[KeptEvent] | None:
        """Return every event of a group behind a position, each naming the one before it; None unless all are there.

        `client` is the origin of the connection that asks, by which it is known what it was left out of.
        """

    async def history(self, kind: GroupKind, name: str, limit: int, before: int | None = None) -> Sequence[bytes]:
        """Return the newest `limit` events that a group keeps of those before a seq, the oldest first.

        Raises NotPublishedError where they are kept elsewhere, and cannot be had.
        """

    async def forget(self, kind: GroupKind, name: str) -> None:
        """Keep nothing of a group's history: it begins to count anew, and its members are told.

        Raises NotPublishedError where it is kept elsewhere, and cannot be reached.
        """
