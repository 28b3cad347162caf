"""What is under way to a server without proof that it was taken, and the fences behind it that will prove it."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass
from typing import Final

from wscore.foreign import Frame

# Fewer lines than a server refuses before it closes (100), fewer bytes than it keeps for a connection that has not read
# its own echoes yet (1 MiB).
WINDOW_LINES: Final = 64
WINDOW_BYTES: Final = 256 << 10
KEPT_LINES: Final = 1000  # that were taken: an app may answer with an error later
KEPT_BYTES: Final = 1 << 20


@dataclass(slots=True, eq=False)
class OutgoingLine:
    """A frame to send: where it comes from, what it is, and its `id`, None if it has none. Size in bytes."""

    number: int
    place: str
    text: Frame
    id: str | None
    size: int = 0
    tries: int = 0
    sent_at_s: float = 0.0

    def __post_init__(self) -> None:
        self.size = len(self.text if isinstance(self.text, bytes) else self.text.encode(errors="replace"))


@dataclass(slots=True)
class _Fence:
    order: int
    sent_at_s: float


class Flight:
    """The lines under way in the order of their sending, and the last ones that were taken."""

    __slots__ = (
        "_behind_lines",
        "_behind_size",
        "_fences",
        "_flying",
        "_order",
        "_prefix",
        "_size",
        "_taken",
        "_taken_size",
    )

    def __init__(self) -> None:
        self._prefix = uuid.uuid4().hex[:8]
        self._order = itertools.count()
        self._flying: dict[int, OutgoingLine] = {}
        self._size = 0
        self._taken: dict[str, OutgoingLine] = {}
        self._taken_size = 0
        self._fences: dict[str, _Fence] = {}
        self._behind_lines = self._behind_size = 0

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be sent until some of it is proven."""
        return len(self._flying) >= WINDOW_LINES or self._size >= WINDOW_BYTES

    @property
    def needs_fence(self) -> bool:
        """Whether enough is under way to have it proven."""
        return self._behind_lines >= WINDOW_LINES // 2 or self._behind_size >= WINDOW_BYTES // 2

    @property
    def is_unfenced(self) -> bool:
        """Whether something is under way without a fence behind it."""
        return self._behind_lines > 0

    @property
    def nameless(self) -> list[OutgoingLine]:
        """The lines under way that an error cannot name."""
        return [line for line in self._flying.values() if line.id is None]

    def start(self, line: OutgoingLine) -> int:
        """Note that a line is sent now; returns its place in the order."""
        order = next(self._order)
        self._flying[order] = line
        self._size += line.size
        self._behind_lines += 1
        self._behind_size += line.size
        return order

    def cancel(self, order: int) -> bool:
        """Take back what could not be sent after all; returns False if `end` has given it up already."""
        return self._remove(order) is not None

    def land(self, order: int) -> None:
        """Count one line as taken, which no fence will prove."""
        line = self._remove(order)
        self._behind_lines = self._behind_size = 0
        if line is not None:
            self._keep(line)

    def fence(self, now_s: float) -> str:
        """Return the id of a new fence behind all that is under way."""
        order = next(self._order)
        fence_id = f"{self._prefix}-{order}"
        self._fences[fence_id] = _Fence(order, now_s)
        self._behind_lines = self._behind_size = 0
        return fence_id

    def passed(self, fence_id: str | None) -> bool:
        """Note the answer to a fence: what stands before it was taken. Returns whether it is one."""
        fence = None if fence_id is None else self._fences.pop(fence_id, None)
        if fence is None:
            return False
        for order in [order for order in self._flying if order < fence.order]:
            line = self._remove(order)
            if line is not None:
                self._keep(line)
        return True

    def fence_failed(self, fence_id: str) -> float | None:
        """Forget a fence that the server refused; returns when it was sent, None if there is no such fence."""
        fence = self._fences.pop(fence_id, None)
        if fence is None:
            return None
        self._behind_lines = max(self._behind_lines, 1)
        return fence.sent_at_s

    def answered(self, line_id: str) -> OutgoingLine | None:
        """Return the line that an error names, the oldest with this id, and forget it."""
        for order, line in self._flying.items():
            if line.id == line_id:
                return self._remove(order)
        taken = self._taken.pop(line_id, None)
        if taken is not None:
            self._taken_size -= taken.size
        return taken

    def end(self) -> list[OutgoingLine]:
        """Return what was under way on a connection that is gone."""
        lines = list(self._flying.values())
        self._flying.clear()
        self._fences.clear()
        self._size = self._behind_lines = self._behind_size = 0
        return lines

    def _remove(self, order: int) -> OutgoingLine | None:
        line = self._flying.pop(order, None)
        if line is not None:
            self._size -= line.size
        return line

    def _keep(self, line: OutgoingLine) -> None:
        if line.id is None:
            return
        before = self._taken.pop(line.id, None)
        self._taken[line.id] = line
        self._taken_size += line.size - (0 if before is None else before.size)
        while self._taken_size > KEPT_BYTES or len(self._taken) > KEPT_LINES:
            oldest = next(iter(self._taken))
            self._taken_size -= self._taken.pop(oldest).size
