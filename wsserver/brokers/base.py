"""What carries a group's messages to every process that has members of it (design section 8).

The hub publishes through a broker and never to members; what comes back from it goes to `Delivery`, in every process
alike. A broker knows groups by kind and name alone, and payloads as bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

# What a group is; each kind has names of its own (design section 4). Text, since an enum's hash costs more.
GroupKind = Literal["session", "room", "user"]
SESSION: Final[GroupKind] = "session"
ROOM: Final[GroupKind] = "room"
USER: Final[GroupKind] = "user"
GROUP_KINDS: Final[tuple[GroupKind, ...]] = (SESSION, ROOM, USER)


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Where a message stands in its group, once it has a place there: `seq` counts within an `epoch`.

    Both are None for what takes no place. It never says how many receive it: in another process nobody knows that.
    """

    epoch: str | None = None
    seq: int | None = None


UNNUMBERED: Final = PublishResult()

# Takes what came for a group in this process: kind, name, payload, whether a slow reader may miss it, and the id of the
# connection that is left out.
Deliver = Callable[[GroupKind, str, bytes, bool, str | None], None]


class Broker(Protocol):
    """Publishes to groups. Calls are synchronous and on the event loop; what waits for a network waits inside."""

    def attach(self, deliver: Deliver) -> None:
        """Name what takes the messages of the groups that are subscribed to; called once, before anything else."""

    def publish(
        self, kind: GroupKind, name: str, payload: bytes, *, lossy: bool = False, except_connection: str | None = None
    ) -> PublishResult:
        """Publish one serialized envelope to a group, wherever its members are; their order is that of these calls.

        The connection of the id `except_connection` is left out, wherever it is.
        """

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Have a group's messages delivered here: it has its first member in this process."""

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Have them delivered no more: its last member in this process is gone."""
