"""Asks an operations port for a sample: what is counted, the largest rooms, the connections that are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wsclient.publishing.publisher import AsyncPublisher
from wsclient.top.exposition import parse_exposition
from wsclient.top.sample import ServerSample

ROOMS: Final = 100  # the largest that are asked for
CONNECTIONS: Final = 1000  # of which one page may be


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which connections are asked for: those that all of it holds for; `words` are looked for in what was found."""

    user: str | None = None
    room: str | None = None
    session: str | None = None
    address: str | None = None
    slow: bool = False
    words: tuple[str, ...] = ()


def wanted(text: str) -> Wanted:
    """Read a filter: `user:`, `room:`, `session:` and `address:` with a name, `slow`, and words."""
    named: dict[str, str] = {}
    words = []
    for word in text.split():
        key, colon, value = word.partition(":")
        if colon and value and key in ("user", "room", "session", "address"):
            named[key] = value
        elif word != "slow":
            words.append(word.casefold())
    return Wanted(**named, slow="slow" in text.split(), words=tuple(words))


async def read_sample(port: AsyncPublisher, wants: Wanted, now_s: Callable[[], float] = time.monotonic) -> ServerSample:
    """Return a sample; raises OperationsError."""
    text = await port.metrics()
    at_s = now_s()
    rooms = await port.rooms(order="size", limit=ROOMS)
    connections = await port.connections(
        user=wants.user,
        room=wants.room,
        session=wants.session,
        address=wants.address,
        min_buffered=1 if wants.slow else None,
        limit=CONNECTIONS,
    )
    return ServerSample(at_s, parse_exposition(text), rooms, connections)
