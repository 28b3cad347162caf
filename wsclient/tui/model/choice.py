"""What of the ring is shown and what is searched for: filter, errors only, heartbeats, and what was cleared."""

from __future__ import annotations

from wsclient.filters import EVERYTHING, MessageFilter
from wsclient.tui.model.ring import Entry


class Choice:
    """The predicates of the main screen; changing an attribute changes them."""

    __slots__ = ("cleared_before", "errors_only", "filter", "heartbeats", "search")

    def __init__(self, shows: MessageFilter, *, heartbeats: bool) -> None:
        self.filter = shows
        self.search = EVERYTHING
        self.errors_only = False
        self.heartbeats = heartbeats
        self.cleared_before = 0

    def passes(self, entry: Entry) -> bool:
        """Tell whether an entry is shown; notes are, unless something is looked for."""
        if entry.number < self.cleared_before:
            return False
        if entry.record is None:
            is_wanted = self.heartbeats or not entry.is_control
            return is_wanted and self.filter.is_empty and not self.errors_only
        if self.errors_only and entry.type != "error":
            return False
        if self.filter.is_empty:
            return self.heartbeats or not entry.is_heartbeat
        return self.filter.matches(entry.record)

    def is_found(self, entry: Entry) -> bool:
        """Tell whether an entry is what is searched for."""
        return entry.record is not None and self.search.matches(entry.record)

    def flags(self) -> list[str]:
        """Return words for the status line."""
        words = ["errors only"] if self.errors_only else []
        return words if self.filter.is_empty else [*words, f"filter {self.filter}"]
