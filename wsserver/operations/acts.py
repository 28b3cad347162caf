"""What an operator may ask to be done: the bodies of the API, which go to the processes as they are."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from wscore.codes import CloseCode
from wscore.envelope import MAX_ID_LENGTH
from wscore.rooms import NAME_PATTERN

MAX_TARGETS: Final = 1000  # of one broadcast, and acts of one batch

Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="1 to 128 of A-Z a-z 0-9 _ . : -")]
Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Type = Annotated[
    str, Meta(max_length=64, description="The type of the message; those of the server itself are not for others.")
]
UserId = Annotated[str, Meta(max_length=1024, description="Who the receivers are told it is from.")]
Data = Annotated[Raw, Meta(description="Any JSON value; left out, the message has none.")]
Names = Annotated[list[Name], Meta(max_length=MAX_TARGETS)]
Texts = Annotated[list[Text], Meta(max_length=MAX_TARGETS)]


class Body(Struct, frozen=True, rename="camel", tag_field="act", forbid_unknown_fields=True, omit_defaults=True):
    """Something that may be done; `act` names it in a batch, and need not elsewhere."""


class PublishMessage(Body, frozen=True, tag="publish"):
    """Publish a message to a session, a room or a user: to one of the three."""

    type: Type
    data: Data | UnsetType = UNSET
    session: Name | None = None
    room: Name | None = None
    user: Text | None = None
    user_id: UserId | None = None
    lossy: Annotated[bool, Meta(description="Slow readers may miss it, and it is not kept.")] = False
    except_connection: (
        Annotated[str, Meta(max_length=1024, description="The id of a connection that gets nothing.")] | None
    ) = None

    @property
    def targets(self) -> int:
        """How many there are."""
        return 1

    def each(self) -> list[PublishMessage]:
        """Return what it is for each of them."""
        return [self]


class BroadcastMessage(Body, frozen=True, tag="broadcast"):
    """Publish one message to many sessions, rooms and users, each by itself."""

    type: Type
    data: Data | UnsetType = UNSET
    sessions: Names = []
    rooms: Names = []
    users: Texts = []
    user_id: UserId | None = None
    lossy: bool = False

    @property
    def targets(self) -> int:
        """How many there are."""
        return len(self.sessions) + len(self.rooms) + len(self.users)

    def each(self) -> list[PublishMessage]:
        """Return what it is for each of them."""
        named = [("session", name) for name in self.sessions]
        named += [("room", name) for name in self.rooms]
        named += [("user", name) for name in self.users]
        common = {"user_id": self.user_id, "lossy": self.lossy}
        return [PublishMessage(self.type, self.data, **{kind: name}, **common) for kind, name in named]  # type: ignore[arg-type]


class SendMessage(Body, frozen=True, tag="send"):
    """Send a message to one connection."""

    connection: Text
    type: Type
    data: Data | UnsetType = UNSET
    id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)] | None = None
    lossy: bool = False


class EndConnections(Body, frozen=True, tag="disconnect"):
    """Close a connection, or all of a user, of a session or of a room: of one of the four. They may come back."""

    connection: Text | None = None
    user: Text | None = None
    session: Name | None = None
    room: Name | None = None
    code: Annotated[int, Meta(description="The close code: 1000 to 1014 where the standard lets it, 3000 to 4999.")] = (
        int(CloseCode.KICKED)
    )
    reason: Annotated[str, Meta(max_length=123, description="At most 123 bytes.")] = ""


Publishing = PublishMessage | BroadcastMessage
Act = PublishMessage | BroadcastMessage | SendMessage | EndConnections


class ActBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """Several acts, done in their order; what is wrong with one is no matter to the others."""

    acts: Annotated[list[Act], Meta(min_length=1, max_length=MAX_TARGETS)]
