-- Put before every script about chores: the keys, the clock, and the steps they share.
--
--   root:chores:<kind>   zset: open chores by when they are due; a claimed one by when its claim expires
--   root:chore:<c>       hash: kind, job, payload, state, created, attempts, claims, note, token
--                        ('' unless it is claimed), version (grows when there is more to do), and
--                        seen (the version at the claim)
--   root:chores-of:<j>   zset: the chores of a job, by creation
--
-- For how long the list of a job's chores is kept, OF_JOB_MS, is set by `shared.chores.redis_store`.
--
-- Times are milliseconds since the epoch by the server's clock; `inf` is for chores that sleep.

local root = KEYS[1]

local function at(...)
  return table.concat({ root, ... }, ':')
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- When something is due in a while, as a score; numbers of this size must not become 1.7e+12.
local function in_a_while(delay)
  return delay == 'inf' and '+inf' or string.format('%.0f', now + tonumber(delay))
end

-- All that Python makes a Chore of; nil if it is known no more.
local function row_of(chore)
  local fields = redis.call('HGETALL', at('chore', chore))
  if #fields == 0 then
    return nil
  end
  local kind = redis.call('HGET', at('chore', chore), 'kind')
  local due = redis.call('ZSCORE', at('chores', kind), chore) or '0'
  return { chore, due, unpack(fields) }
end

-- Note that there is something to do about a chore that may be being done just now.
local function do_once_more(key)
  redis.call('HINCRBY', key, 'version', 1)
end
