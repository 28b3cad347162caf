"""What one publisher of a broadcast has sent, over all connections of its slot."""

from __future__ import annotations

from array import array

from loadtest.ledger import PublisherLog, counted


class Publications:
    """When each message of publisher `rank` of a group was due and sent, in ns of this machine, by its number."""

    __slots__ = ("due_ns", "group", "rank", "sent_ns")

    def __init__(self, group: int, rank: int) -> None:
        self.group = group
        self.rank = rank
        self.due_ns = array("q")
        self.sent_ns = array("q")

    def add(self, due_ns: int, sent_ns: int) -> int:
        """Note a message; returns its number."""
        self.due_ns.append(due_ns)
        self.sent_ns.append(sent_ns)
        return len(self.due_ns) - 1

    def log(self, start_ns: int, end_ns: int, offset_ns: int) -> PublisherLog:
        """Return what was published, in the clock of the run, `offset_ns` ahead; what was due in between counts."""
        first, end = counted(self.due_ns, start_ns, end_ns)
        return PublisherLog(self.group, self.rank, [moment + offset_ns for moment in self.sent_ns], first, end)
