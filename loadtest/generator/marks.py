"""Marks that people's own users put into what they send, and what is told by them of what comes. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from loadtest.generator.broadcasts import Flaw
from loadtest.ledger import Receipt, Streaks

PREFIX: Final = b"wsctl-mark."
_MARK: Final = re.compile(rb"wsctl-mark\.(?:([0-9a-zA-Z]+)\.([0-9]{1,12})\.([0-9]{1,12})\.([01])\.([0-9]{1,10})\.)?")
_FAULTS: Final = {Receipt.DUPLICATE: "duplicated", Receipt.REORDERED: "reordered"}


class MessageMark(NamedTuple):
    """Which message of whom it is: number `number`, from 1, of a connection; others get it too if it `is_shared`."""

    sender: int
    number: int
    is_shared: bool


class Marks:
    """The marks that one user gives, and those that come to it; `index` is the number of its connection in the run."""

    __slots__ = ("_index", "_run_id", "_seen", "given")

    def __init__(self, run_id: str, index: int) -> None:
        self._run_id = run_id
        self._index = index
        self._seen: dict[int, Streaks] = {}
        self.given = 0

    def new(self, *, is_shared: bool) -> str:
        """Return the mark of one more message."""
        self.given += 1
        mark = MessageMark(self._index, self.given, is_shared)
        return f"wsctl-mark.{self._run_id}.{self._index}.{self.given}.{int(is_shared)}.{self._check(mark)}."

    def own(self, payload: bytes) -> tuple[bytes, int] | None:
        """Return the first mark of this user in a message, and its number; None if there is none."""
        for text, mark in self._read(payload):
            if isinstance(mark, MessageMark) and mark.sender == self._index:
                return text, mark.number
        return None

    def enter(self, payload: bytes) -> Iterator[tuple[MessageMark | None, str]]:
        """Yield every mark in a message that came, with what is wrong with it as the ledger calls that, or nothing.

        The mark is None for one that cannot be told.
        """
        for _, mark in self._read(payload):
            if isinstance(mark, Flaw):
                yield None, "corrupt" if mark is Flaw.CORRUPT else "unknown"
            elif mark.sender != self._index and not mark.is_shared:
                yield mark, "misdelivered"
            elif mark.sender == self._index and mark.number > self.given:
                yield None, "unknown"
            else:
                yield mark, self._in_turn(mark)

    def _in_turn(self, mark: MessageMark) -> str:
        streaks = self._seen.get(mark.sender)
        if streaks is None:
            streaks = self._seen[mark.sender] = Streaks(1)
        if streaks.ends[0] == mark.number:
            streaks.ends[0] += 1
            return ""
        return _FAULTS.get(streaks.irregular(0, mark.number), "")

    def _read(self, payload: bytes) -> Iterator[tuple[bytes, MessageMark | Flaw]]:
        for found in _MARK.finditer(payload):
            run_id, sender, number, is_shared, check = found.groups()
            if run_id is None:
                yield found[0], Flaw.CORRUPT
            elif run_id.decode() != self._run_id:
                yield found[0], Flaw.UNKNOWN
            else:
                mark = MessageMark(int(sender), int(number), is_shared == b"1")
                yield found[0], mark if int(check) == self._check(mark) else Flaw.CORRUPT

    def _check(self, mark: MessageMark) -> int:
        return zlib.crc32(f"{self._run_id} {mark.sender} {mark.number} {mark.is_shared:d}".encode())
