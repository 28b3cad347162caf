"""The messages of a session in memory: a bounded ring, requests paired with replies, counts by type.

The stream and the detail read it, the connection writes it; it knows nothing of widgets and sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wsclient.recording import Record
from wscore.messages import HEARTBEAT_TYPES

DEFAULT_LIMIT: Final = 50_000


@dataclass(slots=True, eq=False)
class Entry:
    """One row: a message, or a note about the connection (then `record` is None and `note` is set).

    `number` counts from 0 over everything that ever came; `delta_ms` is the time since the row before;
    `partner` is the number of the request or reply that belongs to it.
    """

    number: int
    at_ms: int
    delta_ms: int
    record: Record | None = None
    note: str = ""
    partner: int | None = None

    @property
    def type(self) -> str:
        """The message type; empty for a note and for text that is no envelope."""
        return self.record.envelope.type if self.record is not None and self.record.envelope is not None else ""

    @property
    def size_bytes(self) -> int:
        """Size of the frame's payload."""
        return 0 if self.record is None else len(self.record.text.encode(errors="surrogatepass"))

    @property
    def is_heartbeat(self) -> bool:
        """Whether it is an envelope ping or pong, which are hidden unless asked for."""
        return self.type in HEARTBEAT_TYPES


class MessageRing:
    """Keeps the last `limit` entries; older ones are forgotten, and only those."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._slots: list[Entry] = []
        self._open_requests: dict[str, int] = {}
        self.count = 0
        self.latest: dict[str, Entry] = {}
        self.counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def first(self) -> int:
        """The number of the oldest entry that is still there."""
        return self.count - len(self._slots)

    def get(self, number: int | None) -> Entry | None:
        """Return an entry by number, or None if it was forgotten or never was."""
        if number is None or not self.first <= number < self.count:
            return None
        return self._slots[number % self._limit]

    def add_record(self, record: Record) -> Entry:
        """Take a message; a reply is paired with its request by `id`."""
        entry = self._add(Entry(self.count, record.at_ms, self._delta(record.at_ms), record))
        if (envelope := record.envelope) is not None:
            self.latest[envelope.type] = entry
            self.counts[envelope.type] = self.counts.get(envelope.type, 0) + 1
            if envelope.id is not None:
                self._pair(entry, envelope.id, record.is_sent)
        return entry

    def add_note(self, text: str, at_ms: int) -> Entry:
        """Take a note about the connection."""
        return self._add(Entry(self.count, at_ms, self._delta(at_ms), note=text))

    def _delta(self, at_ms: int) -> int:
        before = self.get(self.count - 1)
        return 0 if before is None else at_ms - before.at_ms

    def _add(self, entry: Entry) -> Entry:
        if len(self._slots) < self._limit:
            self._slots.append(entry)
        else:
            self._slots[entry.number % self._limit] = entry
        self.count += 1
        return entry

    def _pair(self, entry: Entry, request_id: str, is_sent: bool) -> None:
        if is_sent:
            self._open_requests[request_id] = entry.number
            if len(self._open_requests) > self._limit:
                del self._open_requests[next(iter(self._open_requests))]
            return
        request = self.get(self._open_requests.pop(request_id, None))
        if request is not None:
            request.partner, entry.partner = entry.number, request.number
