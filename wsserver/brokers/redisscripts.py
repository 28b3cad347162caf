"""The two scripts that run inside Redis; each is one step there, whoever else calls (design section 8).

Their first write is one that a full Redis refuses: behind another one it would let the rest pass.
"""

from __future__ import annotations

import re
from hashlib import sha1
from typing import Final

# A group's meta holds run, epoch, seq and the last call of each producer, `p:ID`. Beyond MANY of them those are
# forgotten who have published nothing for FORGOTTEN_S: `looked` is when that was last looked at, and where the group
# stood then. So any call is known that is sent again within that time. The time is by a clock that may be set ahead: if
# by more than the keys live, they are gone, so as much is added to it.
MANY: Final = 64
FORGOTTEN_S: Final = 120

# KEYS: meta, log.  ARGV: channel, run id, epoch if a new one is needed, producer, its call's number, window, seconds
# that both keys live, items.  Returns epoch, first seq (of the numbered ones) and how many they are; 0 of both where a
# later call of this producer was stored too: this one has its place, and nobody remembers which.
PUBLISH: Final = (
    b"""
local many, forgotten = %d, %d
"""
    % (MANY, FORGOTTEN_S)
    + b"""
local function forget_producers(meta, after)
  local now, seq = tonumber(redis.call('TIME')[1]), redis.call('HGET', meta, 'seq')
  local at, upto = string.match(redis.call('HGET', meta, 'looked') or '', '(%d+):(%d+)')
  if at and tonumber(at) <= now and now - tonumber(at) < after then return end
  if at and tonumber(at) <= now then
    local fields = redis.call('HGETALL', meta)
    for i = 1, #fields, 2 do
      local first = string.sub(fields[i], 1, 2) == 'p:' and string.match(fields[i + 1], ':(%d+):')
      if first and tonumber(first) <= tonumber(upto) then redis.call('HDEL', meta, fields[i]) end
    end
  end
  redis.call('HSET', meta, 'looked', now .. ':' .. seq)
end
local meta, log, channel, run, fresh = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local producer, number, window, lives, items = 'p:' .. ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local known = redis.call('HMGET', meta, 'run', 'epoch', producer)
local epoch = known[2]
if not epoch or known[1] ~= run then
  redis.call('HSET', meta, 'run', run)
  redis.call('DEL', meta)
  redis.call('HSET', meta, 'run', run, 'epoch', fresh, 'seq', 0)
  epoch, known[3] = fresh, false
elseif known[3] then
  local last, first, count = string.match(known[3], '(%d+):(%d+):(%d+)')
  if tonumber(last) == number then return {epoch, tonumber(first), tonumber(count)} end
  if tonumber(last) > number then return {epoch, 0, 0} end
end
local starts, sizes, kept = {}, {}, 0
local at, length = 1, #items
while at <= length do
  local flags, name, size = struct.unpack('>BBI4', items, at)
  local whole = 6 + name + size
  if flags % 2 == 1 then
    kept = kept + 1
    starts[kept], sizes[kept] = at, whole
  end
  at = at + whole
end
local first = 0
if kept > 0 then
  first = redis.call('HINCRBY', meta, 'seq', kept) - kept + 1
  if first == 1 then redis.call('DEL', log) end
  for i = 1, kept do
    redis.call('XADD', log, 'MAXLEN', '~', window, (first + i - 1) .. '-0', 'm',
      string.sub(items, starts[i], starts[i] + sizes[i] - 1))
  end
  redis.call('EXPIRE', log, lives)
end
if not known[3] and redis.call('HLEN', meta) > many then forget_producers(meta, forgotten + lives) end
redis.call('HSET', meta, producer, number .. ':' .. first .. ':' .. kept)
redis.call('EXPIRE', meta, lives)
redis.call('PUBLISH', channel, epoch .. ':' .. first .. ':' .. kept .. ':' .. items)
return {epoch, first, kept}
"""
)

# KEYS: meta, log.  ARGV: run id, epoch if a new one is needed, seconds that both keys live, seq behind which to read
# (-1: nothing is read), most entries, most bytes.  Returns epoch, seq, and the items behind it: none if they are more.
HISTORY: Final = b"""
local meta, log, run, fresh, lives = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local after, most, bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local known = redis.call('HMGET', meta, 'run', 'epoch', 'seq')
local epoch, seq = known[2], tonumber(known[3] or 0)
if not epoch or known[1] ~= run then
  redis.call('HSET', meta, 'run', run)
  redis.call('DEL', meta, log)
  redis.call('HSET', meta, 'run', run, 'epoch', fresh, 'seq', 0)
  epoch, seq = fresh, 0
end
redis.call('EXPIRE', meta, lives)
redis.call('EXPIRE', log, lives)
if after < 0 or after >= seq or seq - after > most then return {epoch, seq, {}} end
local entries, found = redis.call('XRANGE', log, (after + 1) .. '-0', '+'), {}
for i, entry in ipairs(entries) do
  local item = entry[2][2]
  bytes = bytes - #item
  if bytes < 0 or entry[1] ~= (after + i) .. '-0' then return {epoch, seq, {}} end
  found[i] = item
end
return {epoch, seq, found}
"""

# What a Redis before 7 writes in front of an error that a command in a script came upon.
_IN_SCRIPT: Final = re.compile(
    r"ERR Error running script \(call to f_\w+\): @user_script:\d+: (?:@user_script: \d+: )?-?"
)

PUBLISH_SHA: Final = sha1(PUBLISH, usedforsecurity=False).hexdigest().encode()
HISTORY_SHA: Final = sha1(HISTORY, usedforsecurity=False).hexdigest().encode()


def refusal(error: Exception) -> str:
    """Return what Redis refused something with, its code in front; one within a script is as one outside."""
    return _IN_SCRIPT.sub("", str(error), count=1)


def refusal_code(error: Exception) -> str:
    """Return the code of that, as OOM."""
    return refusal(error).partition(" ")[0]
