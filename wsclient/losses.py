"""What of the lines to send did not go through: how many, which one first, and why."""

from __future__ import annotations

from collections.abc import Callable

from wsclient.flight import OutgoingLine
from wscore.errors import WsctlError


class LinesLostError(WsctlError):
    """Lines did not go through: how many of how many, where the first one stands and why."""

    def __init__(self, count: int, total: int, first: str, why: str) -> None:
        super().__init__(count, total, first, why)
        self.count = count
        self.total = total
        self.first = first
        self.why = why

    def __str__(self) -> str:
        if self.count == 1:
            return f"{self.first} did not go through: {self.why}"
        return f"{self.count:,} of {self.total:,} lines did not go through; the first is {self.first}: {self.why}"


class Losses:
    """Counts the lines that were `given`, and those of them that are lost; `tell` hears of each loss."""

    __slots__ = ("_count", "_first", "_tell", "given")

    def __init__(self, tell: Callable[[OutgoingLine, str], None]) -> None:
        self._tell = tell
        self._count = 0
        self._first: tuple[OutgoingLine, str] | None = None
        self.given = 0

    @property
    def error(self) -> LinesLostError | None:
        """What there is to say at the end, None if nothing is lost."""
        if self._first is None:
            return None
        line, why = self._first
        return LinesLostError(self._count, self.given, line.place, why)

    def add(self, line: OutgoingLine, why: str) -> None:
        """Count a line as lost."""
        self._count += 1
        if self._first is None or line.number < self._first[0].number:
            self._first = line, why
        self._tell(line, why)
