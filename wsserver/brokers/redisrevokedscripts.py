"""The two scripts inside Redis that keep what is revoked."""

from __future__ import annotations

from hashlib import sha1
from typing import Final

# KEYS: entries by key, with the list's `id` and `version`; keys by the version at which they came; keys by their end.
# All three hold the same, or one was evicted or deleted: then there is no list.
#
# ARGV: the id and the version that the reader knows, most entries.  Returns id (none: there is no list), whether this
# is read from the beginning, the version that was read up to, the one there is, and entries: key, value.
READ_REVOKED: Final = b"""
local list, order, ends = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HMGET', list, 'id', 'version')
local id, version, since = known[1], tonumber(known[2] or 0), tonumber(ARGV[2])
local count = redis.call('HLEN', list) - 2
if not id or count ~= redis.call('ZCARD', order) or count ~= redis.call('ZCARD', ends) then
  return {'', 1, 0, 0, {}}
end
local whole = 0
if id ~= ARGV[1] or since > version then since, whole = 0, 1 end
local found = redis.call('ZRANGEBYSCORE', order, '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local entries, last = {}, version
for i = 1, #found, 2 do
  entries[i], entries[i + 1] = found[i], redis.call('HGET', list, found[i])
end
if #found == 2 * tonumber(ARGV[3]) then last = tonumber(found[#found]) end
return {id, whole, last, version, entries}
"""

# ARGV: an id if there is no list, most entries, the caller's time in ms, then for each its key, before when, until
# when.  An entry becomes what it and the new one say together.  Returns how many there was no room for.  The first
# write is one that a full Redis refuses: behind another one it would let the rest pass.
#
# What has ended is what both clocks say has: a clock that jumps ahead lets nothing end early. For the same reason the
# keys outlive the last of them by two hours of the clock here.
WRITE_REVOKED: Final = b"""
local list, order, ends, limit = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2])
local count = redis.call('HLEN', list) - 2
if redis.call('HEXISTS', list, 'id') == 0
    or count ~= redis.call('ZCARD', order) or count ~= redis.call('ZCARD', ends) then
  redis.call('HSET', list, 'id', ARGV[1], 'version', 0)
  redis.call('DEL', list, order, ends)
  redis.call('HSET', list, 'id', ARGV[1], 'version', 0)
  count = 0
end
local here, refused, longest = tonumber(redis.call('TIME')[1]) * 1000, 0, 0
local now = math.min(here, tonumber(ARGV[3]))
local over = redis.call('ZCOUNT', ends, '-inf', now)
for i = 4, #ARGV, 3 do
  local key, before, till = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', list, key)
  if old then
    local older, longer = string.match(old, '^(%d+):(%d+)$')
    if older and tonumber(older) > tonumber(before) then before = older end
    if longer and tonumber(longer) > tonumber(till) then till = longer end
  end
  local new = before .. ':' .. till
  if not old and count - over >= limit then
    refused = refused + 1
  elseif old ~= new then
    local version = redis.call('HINCRBY', list, 'version', 1)
    redis.call('HSET', list, key, new)
    redis.call('ZADD', order, version, key)
    redis.call('ZADD', ends, till, key)
    if not old then count = count + 1 end
    longest = math.max(longest, tonumber(till))
  end
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', list, key)
  redis.call('ZREM', order, key)
  redis.call('ZREM', ends, key)
end
local lives = math.max(longest, here) - here + 7200000
if longest > now and lives > redis.call('PTTL', list) then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, string.format('%.0f', lives)) end
end
return refused
"""

READ_REVOKED_SHA: Final = sha1(READ_REVOKED, usedforsecurity=False).hexdigest().encode()
WRITE_REVOKED_SHA: Final = sha1(WRITE_REVOKED, usedforsecurity=False).hexdigest().encode()
