"""Tells a Redis which list of brokers this process was given, and asks for those of the others; every 5 s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from wsserver.brokers.places import ALIVE_S, ONE, OTHER_LISTS, BrokerList, BrokerLists
from wsserver.brokers.redisbackplane import RedisBackplane
from wsserver.brokers.redisgroups import RedisGroups

BEAT_S: Final = 5.0
RETRY_S: Final = 1.0
AT_START: Final = "1"
_NONE: Final = "-"

# KEYS: the list of each process, with that which may be there beside it; when each was last heard, by this clock.
# ARGV: process, its list, the one that may be beside it, seconds, whether the process is not to be noted if there are
# other lists that neither side has announced. Returns those, and the other lists that are as planned. Where the caller
# itself was not heard for long the clock was set ahead, or it stood still: then all count as heard now.
BEAT: Final = b"""
local lists, heard, own, list, before, alive = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now, last = tonumber(redis.call('TIME')[1]), tonumber(redis.call('ZSCORE', heard, own) or '')
local from = last and last < now - alive and '-inf' or '(' .. now
for _, process in ipairs(redis.call('ZRANGEBYSCORE', heard, from, '+inf')) do
  redis.call('ZADD', heard, now, process)
end
for _, process in ipairs(redis.call('ZRANGEBYSCORE', heard, '-inf', '(' .. (now - alive))) do
  redis.call('HDEL', lists, process)
  redis.call('ZREM', heard, process)
end
local differ, planned, known = {}, {}, {}
local entries = redis.call('HGETALL', lists)
for i = 1, #entries, 2 do
  local entry = entries[i + 1]
  if entries[i] ~= own and not known[entry] then
    known[entry] = true
    local theirs, follows = string.match(entry, '^(.-)\\n(.*)$')
    if theirs and theirs ~= list then
      local found = (follows == list or theirs == before) and planned or differ
      found[#found + 1] = theirs
    end
  end
end
if ARGV[5] == '1' and #differ > 0 then return {differ, planned} end
redis.call('HSET', lists, own, list .. '\\n' .. before)
redis.call('ZADD', heard, now, own)
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, 86400) end
return {differ, planned}
"""


class RedisLists:
    """Keeps one Redis told; `begin` first, then `check` it once a second."""

    def __init__(
        self,
        lists: BrokerLists,
        place: str,
        backplane: RedisBackplane,
        groups: RedisGroups,
        prefix: str,
        now_s: Callable[[], float],
    ) -> None:
        self._lists = lists
        self._place = place
        self._backplane = backplane
        self._now_s = now_s
        self._keys = (f"{prefix}{{brokers}}", f"{prefix}{{brokers}}:heard")
        self._groups = groups
        self._beat_s = float("inf")
        lists.on_gone.append(self._gone)

    @property
    def problem(self) -> str:
        """What is wrong with the lists of others; empty if nothing is."""
        return OTHER_LISTS if self._lists.differ else ""

    async def begin(self) -> None:
        """Tell for the first time; raises ConfigError if processes have another list that nobody has announced."""
        loop = asyncio.get_running_loop()
        while True:
            future: asyncio.Future[Any] = loop.create_future()
            self._ask(partial(_settle, future), AT_START)
            with suppress(TimeoutError):  # a connection was lost, and the answer with it
                async with asyncio.timeout(RETRY_S):
                    reply = await future
                    break
        if not isinstance(reply, Exception):  # a full one can be asked later
            self._take(reply)
            if reply[0]:
                raise self._lists.refuse(self._place, self._list(reply[0][0]))
        self._beat_s = self._now_s()

    def check(self) -> None:
        """Tell it again, if it is time."""
        now_s = self._now_s()
        if now_s - self._beat_s >= BEAT_S and self._ask(self._told):
            self._beat_s = now_s

    def connection_changed(self) -> None:
        """Tell it with the next check: it may be another one, or have forgotten."""
        if self._beat_s < float("inf"):
            self._beat_s = float("-inf")

    def leave(self) -> None:
        """Have this process forgotten."""
        self._beat_s = float("inf")
        for command, key in zip(("HDEL", "ZREM"), self._keys, strict=True):
            self._backplane.ask(lambda reply: None, command, key, self._backplane.producer)

    def _ask(self, done: Callable[[Any], None], at_start: str = "0") -> bool:
        lists, producer = self._lists, self._backplane.producer
        before = lists.before.key if lists.before.places else _NONE
        return self._backplane.ask(
            done, "EVAL", BEAT, 2, *self._keys, producer, lists.own.key, before, ALIVE_S, at_start
        )

    def _told(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            self._take(reply)

    def _take(self, reply: Any) -> None:
        differ, planned = reply
        seen = dict.fromkeys(map(self._list, planned), True)
        self._lists.told(self._place, seen | dict.fromkeys(map(self._list, differ), False))

    def _gone(self, other: BrokerList) -> None:
        self._groups.tell_lost(lambda kind, name: other.home(kind, name) != self._place)

    def _list(self, key: bytes) -> BrokerList:
        text = key.decode(errors="replace")
        return BrokerList((self._place,) if text == ONE else tuple(text.split(" ")))


def _settle(future: asyncio.Future[Any], reply: Any) -> None:
    if not future.done():
        future.set_result(reply)
