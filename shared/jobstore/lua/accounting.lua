-- ledger: after `prelude`. What is counted about jobs, what is told of them, how they are recorded.

-- The hour for which the events of an ended job are kept, and how many are at least.
local EVENTS_MS, EVENTS_KEPT = 3600000, 1000

-- --- events ----------------------------------------------------------------------------------

-- Append an event: a job's state, or that of one of its images. They are numbered one by one, so
-- that a reader sees whether any before the first that is left have gone.
local function tell(job, state, index)
  local number = redis.call('HINCRBY', job.key, 'events', 1)
  local event = { 'XADD', job.key .. ':events', 'MAXLEN', '~', EVENTS_KEPT, number, 's', state }
  if index then
    event[9], event[10] = 'i', index
  end
  redis.call(unpack(event))
end

-- Number the events from the microsecond on, which is beyond any number that was ever given.
local function begin_events(job)
  redis.call('UNLINK', job.key .. ':events')
  redis.call('HSET', job.key, 'events', now * 1000, 'events_from', now * 1000)
end

-- --- counters --------------------------------------------------------------------------------

local function count(key, field, change)
  if change ~= 0 then
    redis.call('HINCRBY', key, field, change)
  end
end

-- Enter a job's new state where states are looked up: for those that may expire, and the events.
local function enter_state(job)
  local ended = has_ended(job)
  if IDLE[job.state] then
    redis.call('ZADD', at('idle'), job.since or now, job.id)
  else
    redis.call('ZREM', at('idle'), job.id)
  end
  if job.state then
    tell(job, job.state)
  end
  if ended then
    redis.call('PEXPIRE', job.key .. ':events', EVENTS_MS)
  else
    redis.call('PERSIST', job.key .. ':events')
  end
end

-- Bring all counters up to what a script made of a job. What a job counts for depends on its
-- hash alone (see standing), so they always equal what a recount would give.
local function account(job)
  local before, after = job.counted, standing(job)
  local owner = at('owner', job.owner)
  count(at('totals'), 'images', after.images - before.images)
  count(owner, 'images', after.images - before.images)
  count(owner, 'bytes', after.bytes - before.bytes)
  if after.state ~= before.state then
    if before.state then
      count(at('totals'), 'state:' .. before.state, -1)
    end
    if after.state then
      count(at('totals'), 'state:' .. after.state, 1)
    end
    enter_state(job)
  end
  job.counted = after
end

-- --- what may be accepted --------------------------------------------------------------------

-- Why images and bytes of an owner may not be added: {name of the bound, what counts against it,
-- what was to be added, the bound}; nil if they may. `quota` is JSON: {"images":, "owner_images":,
-- "owner_bytes":}, those without a bound left out. Where nothing is added, nothing is exceeded.
local function exceeded(owner, images, bytes, quota)
  local bounds = cjson.decode(quota)
  local function beyond(name, key, field, added)
    local used = tonumber(redis.call('HGET', key, field) or 0)
    return bounds[name] and added > 0 and used + added > bounds[name] and { name, used, added, bounds[name] } or nil
  end
  return beyond('images', at('totals'), 'images', images)
    or beyond('owner_images', at('owner', owner), 'images', images)
    or beyond('owner_bytes', at('owner', owner), 'bytes', bytes)
end

-- Whether more than a share of `maxmemory` is used: what is left is for the jobs there are.
local function is_full(share)
  local info = redis.call('INFO', 'memory')
  local most = tonumber(string.match(info, '\nmaxmemory:(%d+)'))
  return most > 0 and tonumber(string.match(info, 'used_memory:(%d+)')) > share * most
end

-- --- records ---------------------------------------------------------------------------------

-- Give those of a job's bitmaps that it has not yet all the room they will need, so that no end of an
-- image needs any. One that grows by and by is given twice the room; made whole, exactly that.
local function allocate(job)
  if job.total == 0 or job.state == 'expired' then
    return
  end
  for _, outcome in ipairs({ 'ok', 'bad', job.phase == 'measure' and 'measured' or nil }) do
    local bitmap = job.key .. ':' .. outcome
    if redis.call('EXISTS', bitmap) == 0 then
      redis.call('SETBIT', bitmap, job.total - 1, 0)
    end
  end
end

-- Record a job that is not known. `fields` are fields and values of its hash. It stands nowhere yet:
-- `settle` or `account` must follow.
local function record(id, entry, fields)
  redis.call('HSET', at('job', id), 'entry', entry, 'ok', 0, 'bad', 0, 'measured', 0, 'cursor', 0, 'virtual', 0,
    unpack(fields))
  local job = load_job(id)
  job.counted = { images = 0, bytes = 0 }
  redis.call('ZADD', at('jobs'), 0, entry)
  redis.call('ZADD', at('owner', job.owner, 'jobs'), 0, entry)
  allocate(job)
  begin_events(job)
  return job
end

-- Forget all about a job's images.
local function forget_images(job)
  for _, name in ipairs({ 'ok', 'bad', 'measured', 'errors', 'reasons', 'held', 'attempts', 'retries', 'rate' }) do
    redis.call('UNLINK', job.key .. ':' .. name)
  end
end
