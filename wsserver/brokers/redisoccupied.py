"""Which rooms have members in any process, as a Redis keeps it: one process each time is told that it changed.

A hash for each room holds the processes that have members there, with the moment at which each came. A process that
has died is taken out by another one: who lives counts its beats there, and the others look whether it goes on, by their
own beats. So no clock has a say in it. A change whose answer was lost is put in again, and may be told twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from wsserver.brokers.base import RoomTold
from wsserver.brokers.redisbackplane import RedisBackplane

BEAT_S: Final = 5.0
MAX_MISSED: Final = 3  # beats of one that is silent: at the next one it is dead
AT_ONCE: Final = 500  # rooms in one question
GATHER_S: Final = 0.02
ANSWER_S: Final = 10.0  # then it is asked again
ENTERED, EXITED, BURIED = "1", "0", "2"

# KEYS: the last number; what rooms are at, and what the rooms of processes are at; the beats of each process, as below.
# ARGV: the process, then rooms and what became of each. Answers with a number for each that this process is to tell of.
# The number grows with every change, on all machines, and is near the time in ms. Nobody is buried who lives again.
CHANGE: Final = b"""
local function next_order()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local order = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) + 1, now)
  redis.call('SET', KEYS[1], string.format('%.0f', order))
  return order
end
local process, answers = ARGV[1], {}
for i = 2, #ARGV, 2 do
  local room, what, told = KEYS[2] .. ARGV[i], ARGV[i + 1], 0
  local own = redis.call('HGET', room, process)
  if what == '1' then
    if own then
      told = tonumber(own)
      for _, came in ipairs(redis.call('HVALS', room)) do
        if tonumber(came) < told then told = 0 end
      end
    else
      local order = next_order()
      if redis.call('EXISTS', room) == 0 then told = order end
      redis.call('HSET', room, process, string.format('%.0f', order))
    end
    redis.call('SADD', KEYS[3] .. process, ARGV[i])
  elseif what == '0' or redis.call('HGET', KEYS[4], process) == '0' then
    redis.call('HDEL', room, process)
    redis.call('SREM', KEYS[3] .. process, ARGV[i])
    if (own or what == '0') and redis.call('EXISTS', room) == 0 then told = next_order() end
  end
  answers[#answers + 1] = told
end
return answers
"""

# KEYS: the beats of each process, 0 of one that is dead; what its rooms are at.  ARGV: the process, its beat, how many
# rooms, and those that were not heard for long, each with its last beat.  Says that this process lives. Answers whether
# it was known to, with the beats of all, and with a dead process and some of its rooms.
BEAT: Final = b"""
local known = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for i = 4, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HSET', KEYS[1], ARGV[i], 0) end
end
local entries, beats, dead, rooms = redis.call('HGETALL', KEYS[1]), {}, '', {}
for i = 1, #entries, 2 do
  if entries[i + 1] ~= '0' then
    beats[#beats + 1], beats[#beats + 2] = entries[i], entries[i + 1]
  elseif #rooms == 0 then
    dead, rooms = entries[i], redis.call('SRANDMEMBER', KEYS[2] .. entries[i], ARGV[3])
    if #rooms == 0 then redis.call('HDEL', KEYS[1], dead) end
  end
end
return {(not known or known == '0') and 0 or 1, beats, dead, rooms}
"""


class RedisOccupied:
    """Keeps the store level with the rooms of this process; `attach` what is told, then `check` it once a second."""

    def __init__(self, backplane: RedisBackplane, prefix: str, now_s: Callable[[], float]) -> None:
        self._backplane = backplane
        self._own = backplane.producer
        self._now_s = now_s
        self._loop = asyncio.get_running_loop()
        base = f"{prefix}{{occupied}}:"
        self._change_keys = (f"{base}order", f"{base}room:", f"{base}of:", f"{base}beats")
        self._beat_keys = (f"{base}beats", f"{base}of:")
        self._tell: RoomTold | None = None
        self._here: set[str] = set()
        self._stored: dict[str, bool] = {}  # rooms that the store has this process in: whether it has said so
        self._changed: dict[str, None] = {}
        self._asked: dict[str, bool] = {}  # what is being put in: whether somebody is there
        self._asked_s = 0.0
        self._question = 0
        self._is_gathering = False
        self._beat_s = self._counted_s = float("-inf")
        self._beats = 0  # none has a number twice, or who is heard again could be taken for dead still
        self._missed: dict[bytes, tuple[bytes, int]] = {}  # the last beat of each process, and how many ago it came
        self._level: list[asyncio.Future[None]] = []

    def attach(self, tell: RoomTold) -> None:
        """Name what is told of changes."""
        self._tell = tell

    def note(self, room: str, is_here: bool) -> None:
        """Note that somebody here is in a room, or nobody any more."""
        if self._tell is None:
            return
        (self._here.add if is_here else self._here.discard)(room)
        self._changed[room] = None
        if not self._is_gathering and not self._asked:
            self._is_gathering = True
            self._loop.call_later(GATHER_S, self._gathered)

    def check(self) -> None:
        """Say that this process lives, and ask again what was not answered."""
        if self._tell is None:
            return
        now_s = self._now_s()
        if self._asked and now_s - self._asked_s >= ANSWER_S:
            self._again()
        if now_s - self._beat_s >= BEAT_S:
            silent = [
                part
                for process, (beat, missed) in self._missed.items()
                if missed > MAX_MISSED
                for part in (process, beat)
            ]
            self._beats += 1
            beaten = partial(self._beaten, now_s)
            if self._backplane.ask(beaten, "EVAL", BEAT, 2, *self._beat_keys, self._own, self._beats, AT_ONCE, *silent):
                self._beat_s = now_s
        self._ask()

    def connection_changed(self) -> None:
        """Ask again: a connection was lost, and answers with it, or it is there again."""
        if self._tell is not None:
            self._again()
            self._beat_s = float("-inf")
            self._missed.clear()  # whoever was not heard may not have been able to say anything
            self.check()

    async def level(self) -> None:
        """Wait until everything that has changed here was told."""
        while self._changed or self._asked:
            future: asyncio.Future[None] = self._loop.create_future()
            self._level.append(future)
            self._ask()
            await future

    def _gathered(self) -> None:
        self._is_gathering = False
        self._ask()

    def _again(self) -> None:
        self._question += 1
        asked, self._asked = self._asked, {}
        self._changed = dict.fromkeys(asked) | self._changed

    def _ask(self) -> None:
        """Put in what has changed, as it is now."""
        if self._asked:
            return
        while self._changed and len(self._asked) < AT_ONCE:
            room = next(iter(self._changed))
            del self._changed[room]
            is_here = room in self._here
            if not self._stored.get(room) if is_here else room in self._stored:
                self._asked[room] = is_here
        if not self._asked:
            self._wake()
            return
        self._question += 1
        question = self._question

        def answered(reply: Any) -> None:
            if question == self._question:
                self._answered(reply)

        parts = [part for room, is_here in self._asked.items() for part in (room, ENTERED if is_here else EXITED)]
        self._asked_s = self._now_s()
        self._stored.update(dict.fromkeys(self._asked, False))
        if not self._backplane.ask(answered, "EVAL", CHANGE, 4, *self._change_keys, self._own, *parts):
            self._again()

    def _answered(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            self._again()  # the next second asks anew
            return
        asked, self._asked = self._asked, {}
        for (room, is_here), order in zip(asked.items(), reply, strict=True):
            if is_here:
                self._stored[room] = True
            else:
                self._stored.pop(room, None)
            if order and self._tell is not None:
                self._tell(room, is_here, int(order))
        self._ask()

    def _beaten(self, sent_s: float, reply: Any) -> None:
        if isinstance(reply, Exception):
            return
        was_alive, beats, dead, rooms = reply
        if not was_alive and self._here:  # the store was emptied, or others took this process for dead
            self._stored = dict.fromkeys(self._here, False)
            self._changed |= dict.fromkeys(self._here)
            self._ask()
        if sent_s - self._counted_s >= BEAT_S:
            self._counted_s = sent_s
            self._count_missed(zip(beats[::2], beats[1::2], strict=True))
        if rooms:
            self._bury(dead, rooms)

    def _count_missed(self, beats: Iterable[tuple[bytes, bytes]]) -> None:
        """Count the others' beats by the own ones."""
        known, self._missed = self._missed, {}
        for process, beat in beats:
            last, missed = known.get(process, (b"", 0))
            self._missed[process] = beat, missed + 1 if beat == last else 0
        if any(missed > MAX_MISSED for _, missed in self._missed.values()):
            self._beat_s = float("-inf")  # the next second says so

    def _bury(self, process: bytes, rooms: list[bytes]) -> None:
        def buried(reply: Any) -> None:
            if isinstance(reply, Exception) or self._tell is None:
                return
            for room, order in zip(rooms, reply, strict=True):
                if order:
                    self._tell(room.decode(errors="replace"), False, int(order))
            self._beat_s = float("-inf")  # there may be more

        parts = [part for room in rooms for part in (room, BURIED)]
        self._backplane.ask(buried, "EVAL", CHANGE, 4, *self._change_keys, process, *parts)

    def _wake(self) -> None:
        if not self._changed and not self._asked:
            waiting, self._level = self._level, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
