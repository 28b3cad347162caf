"""The messages of a session in memory: a bounded ring, requests paired with replies, counts by type.

The stream and the detail read it, the connection writes it; it knows nothing of widgets and sockets.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Final

import msgspec

from wsclient.recording import Record
from wscore.messages import HEARTBEAT_TYPES

DEFAULT_LIMIT: Final = 50_000
DEFAULT_LIMIT_BYTES: Final = 128 << 20
ENTRY_BYTES: Final = 600  # what a row takes beside its text, measured with tracemalloc
MAX_TYPES: Final = 1000  # a server can make up any number of them
OTHER_TYPES: Final = "(other types)"
KEPT_CHARS: Final = 800  # of the latest of a type, once it is forgotten otherwise


@dataclass(slots=True, eq=False)
class Entry:
    """One row: a message, or a note about the connection (then `record` is None and `note` is set).

    A note that `is_control` tells of a ping or a pong of WebSocket itself.

    `number` counts from 0 over everything that ever came; `delta_ms` is the time since the row before;
    `partner` is the number of the request or reply that belongs to it, `memory_bytes` about what it takes in memory.
    """

    number: int
    at_ms: int
    delta_ms: int
    record: Record | None = None
    note: str = ""
    is_control: bool = False
    partner: int | None = None
    memory_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.memory_bytes = ENTRY_BYTES + len(self.note)
        if self.record is not None:
            self.memory_bytes += sys.getsizeof(self.record.text)
            # Its data is a slice of the frame's bytes, all of which it keeps; that of a binary frame is decoded beside.
            if self.record.binary is not None:
                self.memory_bytes += self.size_bytes
            if self.record.envelope is not None:
                self.memory_bytes += max(self.size_bytes, len(bytes(self.record.envelope.data)))

    @property
    def type(self) -> str:
        """The message type; empty for a note and for text that is no envelope."""
        return self.record.envelope.type if self.record is not None and self.record.envelope is not None else ""

    @property
    def size_bytes(self) -> int:
        """Size of the frame's payload."""
        return 0 if self.record is None else self.record.size_bytes

    @property
    def is_heartbeat(self) -> bool:
        """Whether it is a ping or pong, as an envelope or of WebSocket itself; hidden unless asked for."""
        return self.is_control or self.type in HEARTBEAT_TYPES


class MessageRing:
    """Keeps the last `limit` entries of at most `limit_bytes` in memory; older ones are forgotten, and only those.

    `forgotten` counts those. Of each type it also knows the latest, and how many there were.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT, limit_bytes: int | None = DEFAULT_LIMIT_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._slots: list[Entry | None] = []
        self._open_requests: dict[str, int] = {}
        self.size_bytes = 0
        self.first = 0  # the number of the oldest entry that is still there
        self.count = 0
        self.latest: dict[str, Entry] = {}
        self.counts: dict[str, int] = {}

    def __len__(self) -> int:
        return self.count - self.first

    @property
    def forgotten(self) -> int:
        """How many entries were dropped to stay within the limits."""
        return self.first

    def get(self, number: int | None) -> Entry | None:
        """Return an entry by number, or None if it was forgotten or never was."""
        if number is None or not self.first <= number < self.count:
            return None
        return self._slots[number % self._limit]

    def add_record(self, record: Record) -> Entry:
        """Take a message; a reply is paired with its request by `id`."""
        entry = self._add(Entry(self.count, record.at_ms, self._delta(record.at_ms), record))
        if (envelope := record.envelope) is not None:
            kind = envelope.type if envelope.type in self.counts or len(self.counts) < MAX_TYPES else OTHER_TYPES
            self.latest[kind] = entry
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if envelope.id is not None:
                self._pair(entry, envelope.id, record.is_sent)
        return entry

    def add_note(self, text: str, at_ms: int, *, is_control: bool = False) -> Entry:
        """Take a note about the connection, or about a ping or pong of WebSocket itself."""
        return self._add(Entry(self.count, at_ms, self._delta(at_ms), note=text, is_control=is_control))

    def _delta(self, at_ms: int) -> int:
        before = self.get(self.count - 1)
        return 0 if before is None else at_ms - before.at_ms

    def _add(self, entry: Entry) -> Entry:
        self.size_bytes += entry.memory_bytes
        while self.count > self.first and (len(self) >= self._limit or self._is_too_much):
            self._forget_oldest()
        if len(self._slots) < self._limit:
            self._slots.append(entry)
        else:
            self._slots[entry.number % self._limit] = entry
        self.count += 1
        return entry

    @property
    def _is_too_much(self) -> bool:
        return self._limit_bytes is not None and self.size_bytes > self._limit_bytes

    def _forget_oldest(self) -> None:
        entry = self.get(self.first)
        assert entry is not None
        self._slots[self.first % self._limit] = None
        self.first += 1
        self.size_bytes -= entry.memory_bytes
        for kind in (entry.type, OTHER_TYPES):
            if self.latest.get(kind) is entry:
                self.latest[kind] = _start_of(entry)

    def _pair(self, entry: Entry, request_id: str, is_sent: bool) -> None:
        if is_sent:
            self._open_requests[request_id] = entry.number
            if len(self._open_requests) > self._limit:
                del self._open_requests[next(iter(self._open_requests))]
            return
        request = self.get(self._open_requests.pop(request_id, None))
        if request is not None:
            request.partner, entry.partner = entry.number, request.number


def _start_of(entry: Entry) -> Entry:
    """Return an entry with the start of its message alone, which is what stands in a line about its type."""
    record = entry.record
    assert record is not None
    binary = None if record.binary is None else record.binary[:KEPT_CHARS]
    start = msgspec.structs.replace(record, text=record.text[:KEPT_CHARS], binary=binary)
    if (envelope := record.envelope) is not None:
        data = msgspec.Raw(bytes(memoryview(envelope.data)[:KEPT_CHARS]))
        start = msgspec.structs.replace(start, envelope=msgspec.structs.replace(envelope, data=data))
    return Entry(entry.number, entry.at_ms, entry.delta_ms, start)
