"""The other processes that share the broker: who they are, and what they answer within a second.

Each says every five seconds that it is there. Who was there a short while ago and does not answer is missing, by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec
from msgspec import Struct

from wsserver.brokers.base import OPERATIONS, Broker
from wsserver.operations.node import Node
from wsserver.operations.queries import Answer, Query
from wsserver.telemetry.counters import Counter

ANSWER_S: Final = 1.0
SAY_S: Final = 5.0
GONE_S: Final = 15.0
MAX_AT_ONCE: Final = 64  # questions of others that are worked on; who asks more finds this process missing


class _Here(Struct, tag="here", array_like=True, frozen=True):
    """A process is there, and wants to know who else if it `asks`."""

    process: str
    name: str
    asks: bool


class _Gone(Struct, tag="gone", array_like=True, frozen=True):
    """A process ends."""

    process: str


class _Ask(Struct, tag="ask", array_like=True, frozen=True):
    """A process asks all others but some, which are asked in another way."""

    process: str
    number: int
    query: Query
    without: list[str]


class _Reply(Struct, tag="reply", array_like=True, frozen=True):
    """A process has answered."""

    process: str
    name: str
    number: int
    answer: Answer


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Here | _Gone | _Ask | _Reply).decode


class _Asked:
    """A question that waits for answers."""

    def __init__(self, awaited: Collection[str]) -> None:
        self.awaited = set(awaited)
        self.answers: dict[str, tuple[str, Answer]] = {}
        self.all_there = asyncio.Event()


class Cluster:
    """Asks the other processes, and answers them for `node`; `check` it about once a second. `now_s` is monotonic."""

    __slots__ = ("_asked", "_broker", "_next_s", "_node", "_now_s", "_number", "_others", "_tasks", "_unreadable")

    def __init__(self, node: Node, broker: Broker, now_s: Callable[[], float], unreadable: Counter) -> None:
        self._node = node
        self._broker = broker
        self._now_s = now_s
        self._unreadable = unreadable
        self._others: dict[str, tuple[str, float]] = {}  # by process: its name, and when it was heard of
        self._asked: dict[int, _Asked] = {}
        self._number = 0
        self._next_s: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        broker.attach_orders(self._take, OPERATIONS)

    @property
    def process(self) -> str:
        """What the others call this process; empty where there are none."""
        return self._broker.process

    async def ask(self, query: Query, without: Collection[str] = ()) -> tuple[dict[str, Answer], list[str]]:
        """Return what the others answer, by their names, and who does not; those `without` are not asked."""
        if not self._broker.is_shared:
            return {}, []
        now_s = self._now_s()
        for process in [process for process, (_, heard_s) in self._others.items() if now_s - heard_s > GONE_S]:
            del self._others[process]
        asked = _Asked(self._others.keys() - set(without))
        self._number += 1
        number = self._number
        self._asked[number] = asked
        try:
            packed = _encode(_Ask(self.process, number, query, list(without)))
            if self._broker.order(packed, topic=OPERATIONS) and asked.awaited:
                async with asyncio.timeout(ANSWER_S):
                    await asked.all_there.wait()
        except TimeoutError:
            pass
        finally:
            del self._asked[number]
        missing = [self._others[process][0] for process in asked.awaited if process in self._others]
        return dict(asked.answers.values()), sorted(missing)

    def check(self) -> None:
        """Say every now and then that this process is there; the first time, the others say it too."""
        if not self._broker.is_shared:
            return
        now_s = self._now_s()
        if self._next_s is not None and now_s < self._next_s:
            return
        here = _Here(self.process, self._node.name, asks=self._next_s is None)
        if self._broker.order(_encode(here), topic=OPERATIONS):
            self._next_s = now_s + SAY_S

    def leave(self) -> None:
        """Say that this process ends."""
        if self._broker.is_shared:
            self._broker.order(_encode(_Gone(self.process)), topic=OPERATIONS)

    def _take(self, packed: bytes) -> None:
        try:
            message = _decode(packed)
        except msgspec.DecodeError:
            self._unreadable.value += 1
            return
        match message:
            case _Here():
                self._heard(message.process, message.name)
                if message.asks:
                    here = _Here(self.process, self._node.name, asks=False)
                    self._broker.order(_encode(here), message.process, topic=OPERATIONS)
            case _Gone():
                self._others.pop(message.process, None)
                for asked in self._asked.values():
                    self._no_more(asked, message.process)
            case _Ask():
                if self.process not in message.without and len(self._tasks) < MAX_AT_ONCE:
                    task = asyncio.get_running_loop().create_task(self._answer(message))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            case _Reply():
                self._heard(message.process, message.name)
                waiting = self._asked.get(message.number)
                if waiting is not None:
                    waiting.answers[message.process] = message.name, message.answer
                    self._no_more(waiting, message.process)

    async def _answer(self, asked: _Ask) -> None:
        answer = await self._node.answer(asked.query)
        reply = _Reply(self.process, self._node.name, asked.number, answer)
        self._broker.order(_encode(reply), asked.process, topic=OPERATIONS)

    def _heard(self, process: str, name: str) -> None:
        self._others[process] = name, self._now_s()

    @staticmethod
    def _no_more(asked: _Asked, process: str) -> None:
        asked.awaited.discard(process)
        if not asked.awaited:
            asked.all_there.set()
