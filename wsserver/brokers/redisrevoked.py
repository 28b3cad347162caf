"""What is revoked, as a Redis keeps it for all processes: each asks once a second what is new (design section 8).

Nothing hangs on the subscription, which may be deaf. After each connect a process reads all of it, and writes back what
it knows and the store does not: one that was restarted with an old snapshot, or emptied, forgets nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from wscore.revocations import MAX_REVOCATIONS, RevokedEntry
from wscore.wallclock import now_ms
from wsserver.brokers.redisbackplane import RedisBackplane, new_epoch
from wsserver.brokers.redisrevokedscripts import READ_REVOKED_SHA, WRITE_REVOKED_SHA
from wsserver.brokers.redisscripts import refusal_code
from wsserver.brokers.revoked import NotRevokedError, RevocationsFullError, RevokedHere, TakeRevoked
from wsserver.telemetry.logs import EventLog

POLL_S: Final = 1.0
REFUSED: Final = 5  # so many times in a row the store refused to say what is new: what is known here may be old
ANSWER_S: Final = 5.0  # how long who revokes waits for Redis
READ_AT_ONCE: Final = 1000
WRITTEN_AT_ONCE: Final = 500


class RedisRevoked:
    """Keeps a process level with what is revoked; `attach` first, `start` once Redis is being dialled."""

    def __init__(self, backplane: RedisBackplane, prefix: str, log: EventLog) -> None:
        self._backplane = backplane
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._keys = tuple(f"{prefix}{{revoked}}{part}" for part in ("", ":order", ":ends"))
        self._id = ""
        self._version = 0
        self._question = 0
        self._is_asked = False
        self._refusals = 0
        self._unwritten: dict[bytes, RevokedEntry] | None = None  # while all is read: what was not seen there
        self._level = asyncio.Event()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, take: TakeRevoked, here: RevokedHere) -> None:
        """Name what takes what others revoke, and what knows all that is revoked here."""
        self._take = take
        self._here = here

    @property
    def is_level(self) -> bool:
        """Whether the store says what is new."""
        return self._refusals < REFUSED

    def start(self) -> None:
        """Ask now, and every second from then on."""
        self.look()
        self._timer = self._loop.call_later(POLL_S, self.start)

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()

    async def level(self) -> None:
        """Wait until everything was read once."""
        await self._level.wait()

    def changed(self) -> None:
        """Begin anew: a connection was lost, or is there again, perhaps to a Redis that has forgotten something."""
        self._begin_anew()
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_exception(NotRevokedError("the broker was lost meanwhile", is_unknown=True))
        self.look()

    def look(self) -> None:
        """Ask what is new, unless that is asked already."""
        if self._is_asked:
            return
        self._question += 1
        question = self._question
        self._is_asked = self._backplane.ask(
            lambda reply: self._read(reply) if question == self._question else None,
            *("EVALSHA", READ_REVOKED_SHA, 3),
            *self._keys,
            *(self._id, self._version, READ_AT_ONCE),
        )

    async def revoke(self, entry: RevokedEntry) -> None:
        """Give one to all processes; returns once it is in the store. Raises NotRevokedError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.add(future)
        try:
            if not self._write((entry,), lambda reply: None if future.done() else future.set_result(reply)):
                raise NotRevokedError("the broker is not reached")
            async with asyncio.timeout(ANSWER_S):
                reply = await future
        except TimeoutError:
            raise NotRevokedError("the broker does not answer", is_unknown=True) from None
        finally:
            self._waiting.discard(future)
        if isinstance(reply, Exception):
            raise NotRevokedError(f"the broker refused it ({refusal_code(reply)})")
        if reply:
            raise RevocationsFullError

    def _begin_anew(self) -> None:
        self._id, self._version, self._unwritten, self._is_asked = "", 0, None, False
        self._question += 1

    def _read(self, reply: Any) -> None:
        self._is_asked = False
        if isinstance(reply, Exception):
            self._refusals += 1
            return  # the next second asks again
        self._refusals = 0
        list_id, is_whole, upto, version, found = reply
        entries = _entries(found)
        if is_whole:
            self._unwritten = dict(self._here())
        if self._unwritten is not None:
            for entry in entries:
                if entry.covers(self._unwritten.get(entry.key)):
                    self._unwritten.pop(entry.key, None)
        self._id, self._version = list_id.decode(), int(upto)
        self._take(entries)
        if upto < version:
            self.look()
            return
        self._level.set()
        unwritten, self._unwritten = self._unwritten, None
        if unwritten:
            self._write_back(list(unwritten.values()))

    def _write_back(self, entries: Sequence[RevokedEntry]) -> None:
        self._log.warning("revocations.written_back", count=len(entries))

        def written(reply: Any) -> None:
            if isinstance(reply, Exception):
                self._begin_anew()  # what it lacks is found out anew
            elif reply:
                self._log.error("revocations.full", count=int(reply))

        for start in range(0, len(entries), WRITTEN_AT_ONCE):
            self._write(entries[start : start + WRITTEN_AT_ONCE], written)

    def _write(self, entries: Sequence[RevokedEntry], done: Callable[[Any], None]) -> bool:
        parts = [part for entry in entries for part in entry]
        limits = (new_epoch(), MAX_REVOCATIONS, now_ms())
        return self._backplane.ask(done, "EVALSHA", WRITE_REVOKED_SHA, 3, *self._keys, *limits, *parts)


def _entries(found: Sequence[bytes]) -> list[RevokedEntry]:
    entries = []
    for key, value in zip(found[::2], found[1::2], strict=True):
        before_ms, _, until_ms = (value or b"").partition(b":")
        if before_ms.isdigit() and until_ms.isdigit():  # or somebody else has written there
            entries.append(RevokedEntry(key, int(before_ms), int(until_ms)))
    return entries
