"""How the port asks: every process of this server, one of them, or all that share the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from wsserver.operations.node import Node
from wsserver.operations.queries import Answer, Query, encode


@dataclass(frozen=True, slots=True)
class Gathered:
    """What processes answered, by the number of the worker (empty for a server that has none), and who did not."""

    answers: dict[str, Answer]
    missing: list[str]


class Operations(Protocol):
    """What the operations port does with a server, be it one process or a supervisor with workers."""

    async def here(self, query: Query) -> Gathered:
        """Ask every process of this server."""


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What a supervisor asks a worker."""

    query: Query


_decode_question: Final = msgspec.json.Decoder(Question).decode


class SingleProcess:
    """A server that is one process: it is asked without a detour. A worker is asked by its supervisor."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    async def here(self, query: Query) -> Gathered:
        """Ask this process."""
        return Gathered({"": await self._node.answer(query)}, [])

    async def respond(self, question: bytes) -> bytes:
        """Answer the supervisor."""
        return encode(await self._node.answer(_decode_question(question).query))
