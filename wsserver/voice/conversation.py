"""What a caller and the assistant have said to each other, as far as the responder gets to know it."""

from __future__ import annotations

from collections import deque
from typing import Final

from wsserver.voice.stages import Role, Said

MAX_ENTRIES: Final = 40
MAX_CHARS: Final = 16_000


class Conversation:
    """The last entries of a conversation, oldest first; the newest is kept whatever its length.

    It holds at most MAX_ENTRIES entries and MAX_CHARS characters besides the newest, and begins with the user.
    """

    __slots__ = ("_entries", "_size_chars")

    def __init__(self) -> None:
        self._entries: deque[Said] = deque()
        self._size_chars = 0

    def add(self, role: Role, text: str) -> None:
        """Add what was said last; nothing when that was nothing."""
        if not text:
            return
        entries = self._entries
        entries.append(Said(role, text))
        self._size_chars += len(text)
        while len(entries) > 1 and (
            len(entries) > MAX_ENTRIES or self._size_chars > MAX_CHARS or entries[0].role is Role.ASSISTANT
        ):
            self._size_chars -= len(entries.popleft().text)

    def history(self) -> tuple[Said, ...]:
        """Return the entries as they are now."""
        return tuple(self._entries)
