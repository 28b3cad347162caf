"""What waits for a peer that does not read: chunks of frames that connections share, and a queue of them (section 6).

A chunk is held once, however many connections wait for it. What has begun to go out to a peer is never dropped, or
the next frame would stand in the middle of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

# What a chunk takes besides its frames: two objects, and its places in the queues.
CHUNK_BYTES: Final = 128


class Chunk:
    """Whole frames that wait.

    `born_s` is monotonic seconds. Of `lossy` messages a slow reader may miss all; 0 if it may miss none. `turn` is the
    loop's turn in which it was broadcast, 0 for what one connection alone gets.
    """

    __slots__ = ("born_s", "data", "holders", "lossy", "turn")

    def __init__(self, data: bytes, born_s: float, *, lossy: int = 0, turn: int = 0) -> None:
        self.data = data
        self.born_s = born_s
        self.lossy = lossy
        self.turn = turn
        self.holders = 0  # the outboxes it waits in

    @property
    def size(self) -> int:
        """What it takes in memory, in bytes."""
        return len(self.data) + CHUNK_BYTES


class Keeper(Protocol):
    """Whoever accounts for the chunks that wait: the backlog."""

    def hold(self, chunk: Chunk) -> None:
        """Count a chunk that waits in one outbox more."""

    def release(self, chunk: Chunk) -> None:
        """Count it in one outbox less."""


class Writer(Protocol):
    """Whoever empties an outbox: an engine's side of a connection."""

    def too_slow(self) -> None:
        """Close the connection with 4003: what waits for it is too much or too old."""

    def abort(self) -> None:
        """Drop the TCP connection and what waits for it."""


class Outbox:
    """The queue of one connection, from its first byte that had to wait until nothing does.

    `size` counts the bytes that wait in it; `since_s` says since when what is on its way waits, `front_is_lossy`
    whether that may be missed. `ceiling`, `turn`, `shrunk_to` and `shrunk_s` are the backlog's notes.
    """

    __slots__ = (
        "_backlog",
        "_chunks",
        "_offset",
        "_own",
        "ceiling",
        "front_is_lossy",
        "held_bytes",
        "is_closing",
        "is_limited",
        "shrunk_s",
        "shrunk_to",
        "since_s",
        "size",
        "turn",
        "writer",
    )

    def __init__(self, backlog: Keeper, writer: Writer, now_s: float, held_bytes: int, *, is_limited: bool) -> None:
        self._backlog = backlog
        self._chunks: deque[Chunk] = deque()
        self._offset = 0  # how much of the first chunk has gone out
        self.writer = writer
        self.since_s = now_s
        self.front_is_lossy = False
        self.held_bytes = held_bytes
        self.is_limited = is_limited
        self.is_closing = False
        self._own = self.size = self.ceiling = self.turn = self.shrunk_to = 0
        self.shrunk_s = now_s

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits but what the transport holds."""
        return not self._chunks

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks)

    @property
    def head(self) -> Chunk:
        """The chunk that goes out next."""
        return self._chunks[0]

    @property
    def has_begun(self) -> bool:
        """Whether a part of the first chunk has gone out."""
        return self._offset > 0

    @property
    def own_behind_head(self) -> int:
        """The bytes behind the first chunk that no other connection shares."""
        return self._own - (0 if self.head.turn else self.head.size)

    def rest(self) -> memoryview:
        """Return what is left of the first chunk."""
        return memoryview(self._chunks[0].data)[self._offset :]

    def append(self, chunk: Chunk, start: int = 0) -> None:
        """Let a chunk wait; `start` bytes of it have gone out, if it is the first."""
        if not self._chunks:
            self._offset = start
        self._chunks.append(chunk)
        self.size += chunk.size - start
        if not chunk.turn:
            self._own += chunk.size
        self._backlog.hold(chunk)

    def replace_head(self, chunk: Chunk) -> None:
        """Put another form of the first chunk in its place, before any of it has gone out."""
        first = self._chunks.popleft()
        self._forget(first)
        self._chunks.appendleft(chunk)
        self.size += chunk.size
        self._own += chunk.size
        self._backlog.hold(chunk)

    def advance(self, count: int) -> None:
        """Note that `count` bytes of the first chunk have gone out."""
        self._offset += count
        self.size -= count
        if self._offset == len(self._chunks[0].data):
            self.size += self._offset
            self._offset = 0
            self._forget(self._chunks.popleft())

    def drop(self) -> None:
        """Let go of everything that has not begun to go out."""
        kept = 1 if self._offset else 0
        while len(self._chunks) > kept:
            self._forget(self._chunks.pop())

    def drop_lossy(self, born_until_s: float) -> int:
        """Let go of lossy messages as old as that that have not begun to go out; returns how many there were."""
        begun = self._chunks[0] if self._offset else None
        chunks, self._chunks = self._chunks, deque()
        dropped = 0
        for chunk in chunks:
            if chunk.lossy and chunk.born_s <= born_until_s and chunk is not begun:
                dropped += chunk.lossy
                self._forget(chunk)
            else:
                self._chunks.append(chunk)
        return dropped

    def clear(self) -> None:
        """Let go of everything: the connection is gone."""
        self._offset = 0
        while self._chunks:
            self._forget(self._chunks.pop())
        self._own = self.size = 0

    def _forget(self, chunk: Chunk) -> None:
        self.size -= chunk.size
        if not chunk.turn:
            self._own -= chunk.size
        self._backlog.release(chunk)
