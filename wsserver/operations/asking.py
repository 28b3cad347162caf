"""How the port asks: every process of this server, one of them, or all that share the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from wscore.operations import ApiErrorCode
from wsserver.operations.cluster import Cluster
from wsserver.operations.node import Node
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import Answer, NotDone, Query


@dataclass(frozen=True, slots=True)
class Gathered:
    """What processes answered, by name, and who did not.

    The name of a worker of this server is its number, that of a server without workers is empty.
    """

    answers: dict[str, Answer]
    missing: list[str]


class Operations(Protocol):
    """What the operations port does with a server, be it one process or a supervisor with workers."""

    async def here(self, query: Query) -> Gathered:
        """Ask every process of this server."""

    async def everywhere(self, query: Query) -> Gathered:
        """Ask every process that shares the broker."""

    async def act(self, query: Query) -> Answer:
        """Ask one process that serves; raises ApiError where there is none, and for what is not done."""


class Question(Struct, frozen=True, array_like=True):
    """What a supervisor asks a worker: about itself, or with `elsewhere` about all processes but some."""

    query: Query
    elsewhere: bool = False
    without: list[str] = []


class Response(Struct, frozen=True, array_like=True):
    """What it answers: of itself under no name, else of others under theirs."""

    answers: dict[str, Answer]
    missing: list[str] = []


_decode_question: Final = msgspec.json.Decoder(Question).decode
_encode: Final = msgspec.json.Encoder().encode
decode_response: Final = msgspec.json.Decoder(Response).decode


class SingleProcess:
    """A server that is one process: it is asked without a detour. A worker is asked by its supervisor."""

    __slots__ = ("_cluster", "_node")

    def __init__(self, node: Node, cluster: Cluster) -> None:
        self._node = node
        self._cluster = cluster

    @property
    def process(self) -> str:
        """What the other processes call this one."""
        return self._cluster.process

    async def here(self, query: Query) -> Gathered:
        """Ask this process."""
        return Gathered({"": await self._node.answer(query)}, [])

    async def everywhere(self, query: Query) -> Gathered:
        """Ask this process, and all others."""
        own = await self._node.answer(query)
        others, missing = await self._cluster.ask(query)
        return Gathered({"": own, **others}, missing)

    async def act(self, query: Query) -> Answer:
        """Ask this process."""
        if not self._node.is_ready:
            raise ApiError(ApiErrorCode.NOT_READY, "The server is not ready; try it again.")
        return done(await self._node.answer(query))

    def check(self) -> None:
        """Keep in touch with the other processes; called about once a second."""
        self._cluster.check()

    def leave(self) -> None:
        """Tell them that this one ends."""
        self._cluster.leave()

    async def respond(self, question: bytes) -> bytes:
        """Answer the supervisor."""
        try:
            asked = _decode_question(question)
            if asked.elsewhere:
                return _encode(Response(*await self._cluster.ask(asked.query, asked.without)))
            return _encode(Response({"": await self._node.answer(asked.query)}))
        except Exception as error:
            return _encode(Response({"": self._node.failed(error)}))


def done(answer: Answer) -> Answer:
    """Return an answer; raises ApiError for one that says that nothing was done."""
    if isinstance(answer, NotDone):
        raise ApiError(answer.problem.code, answer.problem.message, answer.problem.place)
    return answer
