"""Outbound messages: to one connection, or framed once, joined once and written once to a group (design section 5).

Frames for a group gather during one turn of the event loop; at its end each connection gets one write. A message for
one connection that comes between keeps its place among those of its session. What a peer does not take waits in the
backlog, which closes those that read too slowly; nobody else is looked at (design section 6).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from time import perf_counter
from typing import Final

from wscore.disconnects import SLOW_CONSUMER, Disconnect
from wscore.envelope import MessageProtocol, with_seq
from wscore.frames import text_frame
from wscore.framing import framed, numbered
from wsserver.brokers.base import SESSION, GroupKind, KeptEvent
from wsserver.connections.groups import Groups
from wsserver.connections.state import Connection, Group
from wsserver.outbound.backlog import Backlog
from wsserver.outbound.outbox import Chunk
from wsserver.telemetry.metrics import Metrics

# In one turn of the loop this much may gather in all, then it is written out ahead of time.
GATHER_BYTES: Final = 1 << 20
MESSAGE_BYTES: Final = 64  # what a message that gathers takes besides its payload
OWN_BYTES: Final = 16 << 10  # of replies in a batch, which counts as broadcast nevertheless
Private = tuple[int, bytes, bool]  # the position in a batch, the payload, whether it is lossy
Skips = Mapping[int, bytes]  # by the position in a batch: what stands there for one connection, if not nothing
# What waits is cut between messages into pieces of about this size, which are let go of one by one.
PIECE_BYTES: Final = 64 << 10


class Delivery:
    """Sends to one and broadcasts to a group.

    `call_soon` runs a function at the end of the current loop turn.
    """

    __slots__ = (
        "_backlog",
        "_began_s",
        "_call_soon",
        "_delivered",
        "_delivered_bytes",
        "_dirty",
        "_gathered",
        "_groups",
        "_is_gathering",
        "_protocol",
        "_time",
    )

    def __init__(
        self,
        groups: Groups,
        backlog: Backlog,
        protocol: MessageProtocol,
        metrics: Metrics,
        *,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._groups = groups
        self._backlog = backlog
        self._protocol = protocol
        self._delivered = metrics.delivered
        self._delivered_bytes = metrics.delivered_bytes
        self._time = metrics.delivery_time
        self._call_soon = call_soon
        self._dirty: list[Group] = []
        self._gathered = 0
        self._is_gathering = False
        self._began_s = 0.0

    def send(self, connection: Connection, payload: bytes, *, lossy: bool = False) -> bool:
        """Send one message to one connection; returns whether the connection was open to take it."""
        if not connection.is_open:
            return False
        session = connection.session
        pending = session.pending
        if pending:
            if session.private is None:
                session.private = {}
            session.private.setdefault(connection.id, []).append((len(pending), payload, lossy))
            self._gathered += len(payload) + MESSAGE_BYTES
            if self._gathered > GATHER_BYTES:
                self._flush_all()
            return True
        if lossy:
            frame = text_frame(payload)
            left = connection.channel.write(frame)
            return not left or connection.channel.keep((self._backlog.chunk(frame, lossy=1),), left)
        connection.channel.send_text(payload)
        return connection.is_open

    def replay(self, connection: Connection, kind: GroupKind, name: str, events: Sequence[KeptEvent]) -> None:
        """Send the events of a group that a connection missed, in one write; what it does not take waits as its own."""
        payloads = [event.payload or self._skipped(kind, name, event.seq) for event in events]
        frames = framed(payloads)
        if left := connection.channel.write(frames):
            connection.channel.keep(self._chunks(frames, payloads, frozenset(), 0), left)

    def deliver(
        self,
        kind: GroupKind,
        name: str,
        payload: bytes,
        lossy: bool = False,
        except_connection: str | None = None,
        seq: int | None = None,
    ) -> None:
        """Take a message from the broker to everyone here who is in the group now."""
        group = self._groups.get(kind, name)
        if group is not None:
            self.broadcast(group, payload, lossy, except_connection, seq)

    def broadcast(
        self,
        group: Group,
        payload: bytes,
        lossy: bool = False,
        except_connection: str | None = None,
        seq: int | None = None,
    ) -> None:
        """Send one message to every member that the group has here now, but for one that is left out.

        If it has a `seq`, of which the payload is without, that one is told that it was skipped.
        """
        pending = group.pending
        if not pending:
            if not self._is_gathering:
                self._is_gathering = True
                self._began_s = perf_counter()  # once a turn, whatever is published in it
                self._backlog.turn += 1
                self._call_soon(self._end_turn)
            self._dirty.append(group)
            group.first_seq = seq or 0
        elif (0 if seq is None else seq - len(pending)) != group.first_seq:
            payload = _out_of_count(group, payload, seq)
        if lossy:
            if group.lossy is None:
                group.lossy = set()
            group.lossy.add(len(pending))
        if except_connection is not None and except_connection in group.members:
            if group.skips is None:
                group.skips = {}
            skipped = b"" if seq is None else self._skipped(group.kind, group.name, seq)
            group.skips.setdefault(except_connection, {})[len(pending)] = skipped
        pending.append(payload)
        self._gathered += len(payload) + MESSAGE_BYTES
        if self._gathered > GATHER_BYTES:
            self._flush_all()

    def flush(self, group: Group) -> None:
        """Write out what a group has gathered, as before one joins, leaves or is closed."""
        pending, group.pending = group.pending, []
        if not pending:
            return
        lossy: Set[int] = group.lossy or frozenset()
        skips: Mapping[str, Skips] = group.skips or {}
        private: Mapping[str, list[Private]] = group.private or {}
        group.lossy = group.skips = group.private = None
        own = {*skips, *private}  # who gets a batch that is another one
        first_seq = group.first_seq
        frames = framed(pending, first_seq)
        chunks: Sequence[Chunk] = ()
        payloads: Sequence[bytes] = ()  # as they are written: made once, for the first who gets a batch of its own
        self._delivered.value += len(pending) * len(group.members)
        self._delivered_bytes.value += len(frames) * len(group.members)
        for connection in tuple(group.members.values()):
            if own and connection.id in own:
                payloads = payloads or (numbered(pending, first_seq) if first_seq else pending)
                self._write_own(
                    connection, payloads, lossy, private.get(connection.id, []), skips.get(connection.id, {})
                )
            elif left := connection.channel.write(frames):
                chunks = chunks or self._chunks(frames, pending, lossy, self._backlog.turn, first_seq)
                connection.channel.keep(chunks, left)

    def close(self, connection: Connection, disconnect: Disconnect) -> None:
        """Close a connection after what was sent to it before; a second call does nothing."""
        if connection.is_open:
            for group in self._groups.of(connection):
                self.flush(group)
        if connection.is_open:
            connection.is_open = False
            connection.channel.close(disconnect)

    def close_slow(self, connection: Connection) -> None:
        """Close a connection that reads too slowly, without what waits for it."""
        if connection.is_open:
            connection.is_open = False
            connection.channel.close(SLOW_CONSUMER)

    def _skipped(self, kind: GroupKind, name: str, seq: int) -> bytes:
        if kind == SESSION:
            return self._protocol.serialize_skipped(seq, session_id=name)
        return self._protocol.serialize_skipped(seq, room=name)

    def _end_turn(self) -> None:
        self._flush_all()
        self._is_gathering = False
        self._backlog.turn += 1
        self._time.observe(perf_counter() - self._began_s)

    def _flush_all(self) -> None:
        self._gathered = 0
        dirty, self._dirty = self._dirty, []
        for group in dirty:
            self.flush(group)

    def _write_own(
        self,
        connection: Connection,
        payloads: Sequence[bytes],
        lossy: Set[int],
        private: Sequence[Private],
        skips: Skips,
    ) -> None:
        """Write a batch that only this connection gets: its private messages are in it, and what it skips is not."""
        if skips:
            self._delivered.value -= len(skips)
            payloads = [skips.get(number, payload) for number, payload in enumerate(payloads)]
        batch: list[bytes] = []
        droppable: set[int] = set()
        start = 0
        for position, payload, is_lossy in private:
            batch += payloads[start:position]
            if is_lossy:
                droppable.add(len(batch))
            batch.append(payload)
            start = position
        batch += payloads[start:]
        if lossy:
            positions = [position for position, _, _ in private]
            droppable.update(number + bisect_right(positions, number) for number in lossy)
        if skips:
            kept = [number for number, payload in enumerate(batch) if payload]
            droppable = {number for number, old in enumerate(kept) if old in droppable}
            batch = [batch[number] for number in kept]
        frames = framed(batch)
        left = connection.channel.write(frames) if frames else 0
        if left:
            # Only what is broadcast may exceed the limit for a while, or one client could ask for as much as it likes.
            own = sum(len(payload) for _, payload, _ in private)
            turn = self._backlog.turn if own <= OWN_BYTES else 0
            connection.channel.keep(self._chunks(frames, batch, droppable, turn), left)

    def _chunks(
        self, frames: bytes, payloads: Sequence[bytes], lossy: Set[int], turn: int, first_seq: int = 0
    ) -> Sequence[Chunk]:
        """Cut a batch into what waits: pieces of which a slow reader may miss nothing, or all.

        The payloads are still to be numbered if there is a `first_seq`.
        """
        if not lossy and (len(frames) <= PIECE_BYTES or len(payloads) == 1):
            return (self._backlog.chunk(frames, turn=turn),)
        if first_seq:
            payloads = numbered(payloads, first_seq)
        return [
            self._backlog.chunk(b"".join(run), lossy=count if is_lossy else 0, turn=turn)
            for run, count, is_lossy in _runs(payloads, lossy)
        ]


def _out_of_count(group: Group, payload: bytes, seq: int | None) -> bytes:
    """Have every pending message carry its seq itself, since the next one does not count on; returns that likewise."""
    if group.first_seq:
        group.pending[:] = numbered(group.pending, group.first_seq)
        group.first_seq = 0
    return payload if seq is None else with_seq(payload, seq)


def _runs(payloads: Sequence[bytes], lossy: Set[int]) -> Iterator[tuple[list[bytes], int, bool]]:
    """Yield frames that belong together, how many they are, and whether they are lossy."""
    run: list[bytes] = []
    size = 0
    for number, payload in enumerate(payloads):
        if run and (size >= PIECE_BYTES or (number in lossy) != (number - 1 in lossy)):
            yield run, len(run), number - 1 in lossy
            run, size = [], 0
        run.append(text_frame(payload))
        size += len(payload)
    yield run, len(run), len(payloads) - 1 in lossy
