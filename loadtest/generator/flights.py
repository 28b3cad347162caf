"""Broadcasts under way: how long each took to its receivers, also where those are spread over several processes."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from loadtest.generator.broadcasts import Broadcast

EXACT: Final = 256  # receivers of a broadcast in one process of several; of more it tells so many of their latencies
VARIANTS: Final = 4  # texts of one broadcast that are known again; a server that writes more of them writes one each

Latencies = list[int]


class BroadcastInFlight:
    """One broadcast under way to the receivers of this process: when it was due, and the latencies so far (ns)."""

    __slots__ = (
        *("due_ns", "is_counted", "is_straggler", "latencies"),
        *("position", "publisher", "seen", "sent_ns", "seq", "session", "texts"),
    )

    def __init__(self, message: Broadcast, offset_ns: int, *, is_counted: bool, is_straggler: bool) -> None:
        self.session = message.session
        self.publisher = message.publisher
        self.seq = message.seq
        self.due_ns = message.due - offset_ns
        self.sent_ns = self.due_ns + message.late
        self.is_counted = is_counted
        self.is_straggler = is_straggler
        self.latencies: Latencies = []
        self.seen = 0
        self.position: int | None = None  # its seq in the group, where the server counts
        self.texts: list[bytes] = []


class Room:
    """A session or a room, as this process sees it; what all receivers get as the same bytes is decoded once.

    Where it `leaves_out` senders, no publisher gets its own.
    """

    __slots__ = ("_leaves_out", "_publishers", "known", "receivers", "under_way")

    def __init__(self, *, leaves_out: bool = False) -> None:
        self.receivers = 0
        self._leaves_out = leaves_out
        self._publishers: set[int] = set()  # that are left out, if they are connected here
        self.known: dict[bytes, BroadcastInFlight] = {}
        self.under_way: dict[tuple[int, int], BroadcastInFlight] = {}

    def enter(self, rank: int | None) -> None:
        """Note one more receiver, with its number if it publishes."""
        self.receivers += 1
        if self._leaves_out and rank is not None:
            self._publishers.add(rank)

    def leave(self, rank: int | None) -> None:
        """Note that one is gone."""
        self.receivers -= 1
        if rank is not None:
            self._publishers.discard(rank)

    def expected(self, flight: BroadcastInFlight) -> int:
        """Return how many receivers here are to get a broadcast."""
        return self.receivers - (flight.publisher in self._publishers)

    def begin(self, flight: BroadcastInFlight) -> None:
        """Note a broadcast that was not known yet."""
        self.under_way[flight.publisher, flight.seq] = flight

    def know(self, text: bytes, flight: BroadcastInFlight) -> None:
        """Note a text by which the broadcast is known again."""
        if len(flight.texts) < VARIANTS:
            flight.texts.append(text)
            self.known[text] = flight

    def land(self, flight: BroadcastInFlight) -> None:
        """Forget a broadcast."""
        del self.under_way[flight.publisher, flight.seq]
        for text in flight.texts:
            del self.known[text]


class Landed(msgspec.Struct):
    """What one process of several tells of the broadcasts that it saw: columns of equal length, times in µs.

    A broadcast has `receivers` here, of which `sizes` tell a latency: evenly chosen, the first and the last among them.
    """

    sessions: list[int] = []
    publishers: list[int] = []
    seqs: list[int] = []
    receivers: list[int] = []
    sizes: list[int] = []
    latencies_us: bytes = b""


class LandedColumns:
    """Gathers what becomes a Landed."""

    def __init__(self) -> None:
        self._numbers = [array("L") for _ in range(5)]
        self._latencies_us = array("l")

    def add(self, flight: BroadcastInFlight) -> None:
        """Note a broadcast whose latencies are sorted."""
        latencies = flight.latencies
        count = len(latencies)
        chosen = latencies if count <= EXACT else [latencies[i * (count - 1) // (EXACT - 1)] for i in range(EXACT)]
        values = (flight.session, flight.publisher, flight.seq, count, len(chosen))
        for column, value in zip(self._numbers, values, strict=True):
            column.append(value)
        self._latencies_us.extend([latency // 1000 for latency in chosen])

    def landed(self) -> Landed | None:
        """Return all of it, None if there is nothing."""
        if not self._numbers[0]:
            return None
        sessions, publishers, seqs, receivers, sizes = (column.tolist() for column in self._numbers)
        return Landed(sessions, publishers, seqs, receivers, sizes, self._latencies_us.tobytes())


def first_median_last(parts: Iterable[Landed]) -> Iterator[tuple[int, int, int]]:
    """Yield of each broadcast the latency (µs) of its first, median and last receiver in all processes."""
    together: defaultdict[tuple[int, int, int], list[tuple[int, float]]] = defaultdict(list)
    for part in parts:
        latencies = array("l")
        latencies.frombytes(part.latencies_us)
        start = 0
        rows = zip(part.sessions, part.publishers, part.seqs, part.receivers, part.sizes, strict=True)
        for session, publisher, seq, receivers, size in rows:
            weight = receivers / size
            together[session, publisher, seq] += [(value, weight) for value in latencies[start : start + size]]
            start += size
    for weighted in together.values():
        weighted.sort()
        half = sum(weight for _, weight in weighted) / 2
        reached, median = 0.0, weighted[-1][0]
        for value, weight in weighted:
            reached += weight
            if reached >= half - 1e-9:
                median = value
                break
        yield weighted[0][0], median, weighted[-1][0]
