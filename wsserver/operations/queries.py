"""What a process is asked, and what it answers: of itself, and never of the others.

They go between processes as JSON, so that the data of a message passes through as its sender wrote it.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from wscore.operations import ConnectionRow, Problem, Published
from wscore.revocations import Revocation
from wsserver.operations.acts import EndConnections, Publishing, SendMessage
from wsserver.operations.families import MetricFamily

GroupName = Literal["session", "room"]  # the kinds of groups that have names which operators know


class Readiness(Struct, tag="readiness", frozen=True):
    """Whether it takes newcomers."""


class ReadinessAnswer(Struct, tag="readiness", frozen=True):
    """It does, or else not now: it starts or ends, or there is a problem with what the processes share."""

    is_ready: bool
    problem: str = ""


class Scrape(Struct, tag="scrape", frozen=True):
    """What it has counted since its start."""


class ScrapeAnswer(Struct, tag="scrape", frozen=True):
    """Every number as it is now."""

    families: list[MetricFamily]


class PublishAll(Struct, tag="publish", frozen=True):
    """Publish messages in their order; one that is for many goes between processes once, and is made many there."""

    acts: list[Publishing]


class PublishOutcome(Struct, frozen=True):
    """What became of a message: it is published, or there is a problem."""

    published: Published | None
    problem: Problem | None = None


class PublishAnswer(Struct, tag="publish", frozen=True):
    """What became of each, at each target."""

    outcomes: list[PublishOutcome]


class Reach(Struct, tag="reach", frozen=True):
    """Do something to connections, where they are."""

    what: SendMessage | EndConnections


class ReachAnswer(Struct, tag="reach", frozen=True):
    """So many were here, and it was done to them."""

    count: int


class ListConnections(Struct, tag="connections", frozen=True):
    """Connections that all of these hold for, the oldest first, those behind a place: when one was opened, and its id.

    `address` is one or a network; ages are in ms.
    """

    limit: int
    after: tuple[int, str] | None = None
    user: str | None = None
    room: str | None = None
    session: str | None = None
    address: str | None = None
    min_age: int | None = None
    max_age: int | None = None
    min_buffered: int | None = None


class ConnectionsAnswer(Struct, tag="connections", frozen=True):
    """The first of them, and how many there are in all, those before the place too."""

    rows: list[ConnectionRow]
    total: int


class ListGroups(Struct, tag="groups", frozen=True):
    """Sessions or rooms that somebody is in: by name, those behind a name, or else `largest`."""

    kind: GroupName
    limit: int
    after: str = ""
    prefix: str = ""
    largest: bool = False


class GroupsAnswer(Struct, tag="groups", frozen=True):
    """The first of them with how many connections they have here, and how many groups there are here in all."""

    counts: dict[str, int]
    total: int


class ListMembers(Struct, tag="members", frozen=True):
    """The users in a room, by id, those behind an id."""

    room: str
    limit: int
    after: str = ""


class MembersAnswer(Struct, tag="members", frozen=True):
    """The first of them, and how many connections are in the room here."""

    users: list[str]
    connections: int


class ReadHistory(Struct, tag="history", frozen=True):
    """The last messages that a group keeps, of those before a seq; whichever process is asked."""

    kind: GroupName
    name: str
    limit: int
    before: int | None = None


class HistoryAnswer(Struct, tag="history", frozen=True):
    """They are these, the oldest first."""

    messages: list[Raw]


class RemoveHistory(Struct, tag="remove", frozen=True):
    """Have a group keep nothing of what was; whichever process is asked."""

    kind: GroupName
    name: str


class HistoryGone(Struct, tag="gone", frozen=True):
    """Nothing is kept any more."""


class RevokeTokens(Struct, tag="revoke", frozen=True):
    """Revoke tokens, in every process; whichever is asked."""

    revocation: Revocation


class RevokeAnswer(Struct, tag="revoke", frozen=True):
    """It is revoked until then, in ms since the epoch."""

    expires_at: int


class NotDone(Struct, tag="notDone", frozen=True):
    """It was not done."""

    problem: Problem


Query = (
    Readiness
    | Scrape
    | PublishAll
    | Reach
    | ListConnections
    | ListGroups
    | ListMembers
    | ReadHistory
    | RemoveHistory
    | RevokeTokens
)
Answer = (
    ReadinessAnswer
    | ScrapeAnswer
    | PublishAnswer
    | ReachAnswer
    | ConnectionsAnswer
    | GroupsAnswer
    | MembersAnswer
    | HistoryAnswer
    | HistoryGone
    | RevokeAnswer
    | NotDone
)

encode: Final = msgspec.json.Encoder().encode
