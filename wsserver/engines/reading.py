"""picows' reading side, whose buffer is counted and given back: by itself it only grows (design section 5, point 6)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from picows import picows as core

from wsserver.outbound.memory import give_back_pages

MAX_READ_BYTES: Final = 1 << 16
UNCOUNTED_BYTES: Final = 8192  # room of a buffer that is small enough for nobody to mind

# Each read asks for room: `super()` and a slice made anew would take half of the time of that.
_room_of: Final = core.WSProtocol.get_buffer  # type: ignore[attr-defined]
_ALL_BUT_ONE: Final = slice(-1)


class BufferOwner(Protocol):
    """The connection that is read."""

    def count(self, buffered: int, *, began: bool) -> None:
        """Take down how many bytes the buffer takes; `began` if a message in it is at its beginning."""


class BoundedReads(core.WSProtocol):  # type: ignore[name-defined,misc]
    """picows doubles its buffer, for good, whenever a read fills it: a flood of small frames would not stop that.

    So reads are small, and what they leave in a buffer that has grown is counted, and given back. They never fill it
    wholly: that its room is larger than it was itself then tells that it has grown.
    """

    __slots__ = ("_end", "_size", "_touched", "owner")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.owner: BufferOwner | None = None
        self._size = len(_room_of(self, -1))
        self._end = self._touched = 0  # where the bytes end that wait to be parsed, and how far they may ever have gone

    def get_buffer(self, size_hint: int) -> memoryview:
        """Offer room for a read (asyncio)."""
        room: memoryview = _room_of(self, size_hint)
        return room[_ALL_BUT_ONE] if len(room) <= UNCOUNTED_BYTES else self._counted(room)

    def _counted(self, room: memoryview) -> memoryview:
        """Count before the read, as much as it may bring: after it nobody asks, and most reads are of small buffers."""
        before, end = self._end, self._find_end(room)
        offered = room[: min(MAX_READ_BYTES, len(room) - 1)]
        self._touched = max(self._touched, end + len(offered))
        if self.owner is not None:
            # Where a message has ended, what is there is of the last read alone.
            self.owner.count(self._touched, began=end < before or end <= MAX_READ_BYTES)
        return offered

    def data_received(self, data: bytes) -> None:
        """Take what was read before this protocol was there.

        uvloop looks the name up: if it found none it would keep the protocol before this one, and its memory.
        """
        waiting = memoryview(data)
        while waiting and not self.transport.underlying_transport.is_closing():
            room = self.get_buffer(-1)
            size = min(len(room), len(waiting))
            room[:size] = waiting[:size]
            self.buffer_updated(size)
            waiting = waiting[size:]

    def shrink(self) -> int:
        """Give back what lies behind the bytes that wait; returns how many these are."""
        room: memoryview = _room_of(self, -1)
        self._touched = self._find_end(room)
        give_back_pages(room)
        return self._end

    def _find_end(self, room: memoryview) -> int:
        while len(room) > self._size:
            self._size *= 2
        self._end = self._size - len(room)
        return self._end
