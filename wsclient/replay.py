"""A recording as lines to send again, each when it is due; the scriptable client sends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable

from wsclient.recording import Record
from wscore.foreign import Adapter, Frame, Kind
from wscore.foreign.ours import envelope_of
from wscore.foreign.renumbering import FreshIds, first_free_id
from wscore.messages import NOT_REPLAYED_TYPES


class RecordingPlayer:
    """Gives what was sent, `speed` times as fast as it was, or without a pause if that is None.

    Left out is what was meant for that connection only, which is what the `adapter` says of itself, if there is one.

    Each message is due at its time after the first one, so that delays do not add up. `fresh` gives each envelope
    the time of sending as its timestamp. Counts what it gave; times in seconds.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        speed: float | None,
        fresh: bool,
        now_ms: Callable[[], int],
        adapter: Adapter | None = None,
    ) -> None:
        self._sent = [
            record
            for record in records
            if record.is_sent and not is_for_one_connection(record) and not (adapter and _is_own(record.frame, adapter))
        ]
        self._adapter = adapter
        self._ids = FreshIds(first_free_id(adapter.read(record.frame) for record in self._sent)) if adapter else None
        self._speed = speed
        self._fresh = fresh
        self._now_ms = now_ms
        self.given = 0
        self.took_s = 0.0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def recorded_s(self) -> float:
        """How long the sending took when it was recorded."""
        return (self._sent[-1].at_ms - self._sent[0].at_ms) / 1000 if self._sent else 0.0

    async def lines(self) -> AsyncIterator[Frame]:
        """Yield the frames, each when it is due."""
        started_s = time.monotonic()
        for record in self._sent:
            if self._speed is not None:
                due_s = started_s + (record.at_ms - self._sent[0].at_ms) / 1000 / self._speed
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self.given += 1
            self.took_s = time.monotonic() - started_s
            frame = self._with_fresh_id(record.frame)
            yield self._stamped(record) if self._fresh and frame is record.frame else frame

    def _with_fresh_id(self, frame: Frame) -> Frame:
        """Return a frame with another id if an earlier one had its own, which is still in use when played faster."""
        adapter = self._adapter
        if adapter is None or adapter.renumber is None or self._ids is None or isinstance(frame, bytes):
            return frame
        message = adapter.read(frame).message
        if message is None or message.id is None:
            return frame
        id = self._ids.of(message.id, refers=message.type in adapter.refers)
        return frame if id == message.id else adapter.renumber(frame, id)

    def _stamped(self, record: Record) -> Frame:
        if envelope_of(record.frame) is None:
            return record.frame
        # Of a key that is there twice the last one counts: the data stays byte for byte.
        return f'{record.text.rstrip()[:-1].rstrip()},"timestamp":{self._now_ms()}}}'


def is_for_one_connection(record: Record) -> bool:
    """Tell whether a recorded message means something on its own connection alone."""
    envelope = envelope_of(record.frame)
    return envelope is not None and envelope.type in NOT_REPLAYED_TYPES


def _is_own(frame: Frame, adapter: Adapter) -> bool:
    """Tell whether a protocol sends a frame of itself, as it will again: a step of its beginning, a heartbeat."""
    return frame in adapter.first or adapter.read(frame).kind in (Kind.CONTROL, Kind.GREETING, Kind.HEARTBEAT)
