-- chores: comes before every script about chores. It holds the keys, the clock, and shared steps.
--
--   root:chores:<kind>   zset: open chores by their due time, or by when their claim expires
--   root:chore:<c>       hash: kind, job, payload, state, created, attempts, claims, note, token
--                        ('' unless it is claimed), version (grows when there is more to do), and
--                        seen (the version at the claim)
--   root:chores-of:<j>   zset: the chores of a job, by creation
--
-- `shared.chores.redis_store` sets OF_JOB_MS, how long the list of a job's chores is kept.
--
-- Times are milliseconds since the epoch by the server's clock; `inf` is for chores that sleep.

local root = KEYS[1]

local function at(...)
  return table.concat({ root, ... }, ':')
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Return a time `delay` milliseconds from now, as a score; it must not be written as 1.7e+12.
local function in_a_while(delay)
  return delay == 'inf' and '+inf' or string.format('%.0f', now + tonumber(delay))
end

-- Everything from which Python makes a Chore; nil if it is gone.
local function row_of(chore)
  local fields = redis.call('HGETALL', at('chore', chore))
  if #fields == 0 then
    return nil
  end
  local kind = redis.call('HGET', at('chore', chore), 'kind')
  local due = redis.call('ZSCORE', at('chores', kind), chore) or '0'
  return { chore, due, unpack(fields) }
end

-- Record that a chore has more to do, since it may be being done right now.
local function do_once_more(key)
  redis.call('HINCRBY', key, 'version', 1)
end
