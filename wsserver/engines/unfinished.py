"""What has come of messages that are not whole yet, in bytes over all connections.

Where it is too much, who has been at a message the longest is dropped: a client that sends is done in no time, so it is
one that does not. The server's tick calls `check`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from wscore.disconnects import UNFINISHED, Disconnect
from wsserver.outbound.memory import Held

INTERVAL_S: Final = 1.0


class UnfinishedSender(Protocol):
    """An engine's side of a connection."""

    @property
    def is_read(self) -> bool:
        """Whether the server reads from it: one that is held back cannot finish."""

    def shrink(self) -> int:
        """Give back what it keeps and does not need; returns how many bytes it keeps on."""

    def close(self, disconnect: Disconnect) -> None:
        """Say goodbye, see `Channel`."""

    def abort(self) -> None:
        """Drop the TCP connection and what it keeps."""


class Unfinished(Held):
    """Knows how much each connection keeps of messages that are still on their way.

    `in_all` is what may wait of clients' messages, `waiting` tells how much of it whole ones take; a quarter is always
    for unfinished ones, and two messages of the largest size. `now_s` is the monotonic clock.
    """

    __slots__ = (
        "_call_soon",
        "_in_all",
        "_is_over",
        "_least",
        "_next_s",
        "_now_s",
        "_senders",
        "_waiting",
        "peak",
        "used",
    )

    def __init__(
        self,
        in_all: int,
        max_message_bytes: int,
        waiting: Callable[[], int],
        *,
        call_soon: Callable[[Callable[[], None]], object],
        now_s: Callable[[], float],
    ) -> None:
        self._in_all = in_all
        self._least = max(in_all // 4, 2 * max_message_bytes)
        self._waiting = waiting
        self._call_soon = call_soon
        self._now_s = now_s
        self._is_over = False
        self._senders: dict[UnfinishedSender, int] = {}  # in the order in which they began
        self._next_s = 0.0
        self.used = self.peak = 0

    def note(self, sender: UnfinishedSender, size: int, *, began: bool) -> None:
        """Take down how many bytes a connection keeps now; `began` if a message of it has ended since the last time."""
        before = self._senders.pop(sender, 0) if began or not size else self._senders.get(sender, 0)
        if size:
            self._senders[sender] = size
        self.rise(size - before)
        if size > before and not self._is_over and self.used > self._limit:
            self._is_over = True
            # Not in the middle of a read: uvloop crashes if a transport is closed while it asks for room.
            self._call_soon(self._make_room)

    def forget(self, sender: UnfinishedSender) -> None:
        """Let go of a connection that is gone."""
        self.used -= self._senders.pop(sender, 0)

    def check(self) -> None:
        """Once a second have connections give back what they do not need."""
        now_s = self._now_s()
        if now_s >= self._next_s:
            self._next_s = now_s + INTERVAL_S
            self._shrink()

    @property
    def _limit(self) -> int:
        return max(self._least, self._in_all - self._waiting())

    def _shrink(self) -> None:
        for sender, before in tuple(self._senders.items()):
            now = sender.shrink()
            self.rise(now - before)
            if now:
                self._senders[sender] = now
            else:
                del self._senders[sender]

    def _make_room(self) -> None:
        self._is_over = False
        self._shrink()
        # Who is held back cannot finish, and what it keeps was within the limit when it still could.
        reading = [(sender, size) for sender, size in self._senders.items() if sender.is_read]
        over = sum(size for _, size in reading) - self._limit
        for sender, size in reading[:-1]:  # one alone always may
            if over <= 0:
                return
            over -= size
            self.forget(sender)
            sender.close(UNFINISHED)
            sender.abort()  # what it keeps would stay as long as it takes to answer
