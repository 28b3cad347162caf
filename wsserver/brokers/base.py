"""What carries a group's messages to every process that has members of it (design section 8).

The hub publishes through a broker and never to members; what comes back from it goes to `Delivery`, in every process
alike. A broker knows groups by kind and name alone, and payloads as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from wscore.recovery import Position

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
# connection that is left out, and its seq.
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


class Broker(Protocol):
    """Publishes to groups. Calls are synchronous and on the event loop; what waits for a network waits inside."""

    def attach(self, deliver: Deliver, lost: Lost) -> None:
        """Name what takes the messages of the groups that are subscribed to, and what is told of lost history.

        Called once, before anything else.
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
    ) -> PublishResult:
        """Publish one serialized envelope to a group, wherever its members are; their order is that of these calls.

        One that is `recoverable`, which a lossy one is not, gets its seq and is kept to be replayed. The connection of
        the id `except_connection` is left out, wherever it is, and those that resume from the same origin.
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
        """Publish, and return once the message is where it is kept, with its place if it has one."""

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
        """Return the newest `limit` events that a group keeps of those before a seq, the oldest first."""
