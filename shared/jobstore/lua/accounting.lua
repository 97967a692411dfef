-- accounting: comes after `prelude`. It counts jobs, appends their events, and records them.

-- The events of an ended job are kept for an hour; of every job at least so many are kept.
local EVENTS_MS, EVENTS_KEPT = 3600000, 1000

-- --- events ----------------------------------------------------------------------------------

-- Append an event: the state of a job, or of one of its images. Events are numbered without gaps, so
-- that a reader notices if some are no longer kept.
local function append_event(job, state, index)
  local number = redis.call('HINCRBY', job.key, 'events', 1)
  local event = { 'XADD', job.key .. ':events', 'MAXLEN', '~', EVENTS_KEPT, number, 's', state }
  if index then
    event[9], event[10] = 'i', index
  end
  redis.call(unpack(event))
end

-- Number the events from the current microsecond on, which is higher than any number used before.
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

-- Put a job into the set of active jobs, or take it out.
local function update_active(job)
  if is_active(job) then
    redis.call('ZADD', at('active'), 0, job.id)
  else
    redis.call('ZREM', at('active'), job.id)
  end
end

-- Record a job's new state: in the sets of active and of idle jobs, as an event, and in how long events are kept.
local function enter_state(job)
  local ended = has_ended(job)
  update_active(job)
  if IDLE[job.state] then
    redis.call('ZADD', at('idle'), job.since or now, job.id)
  else
    redis.call('ZREM', at('idle'), job.id)
  end
  if job.state then
    append_event(job, job.state)
  end
  if ended then
    redis.call('PEXPIRE', job.key .. ':events', EVENTS_MS)
  else
    redis.call('PERSIST', job.key .. ':events')
  end
end

-- Update all counters after a script has changed a job. A job's contribution depends only on its hash, so
-- the counters always equal a recount.
local function account(job)
  local before, after = job.counted, contribution(job)
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

-- Return why images and bytes of an owner may not be added: {name of the bound, what is used, what would
-- be added, the bound}; nil if they may. `quota` is JSON: {"images":, "owner_images":, "owner_bytes":},
-- without those that have no bound. If nothing is added, nothing is exceeded.
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

-- Whether more than this share of `maxmemory` is used; the rest is for existing jobs.
local function is_full(share)
  local info = redis.call('INFO', 'memory')
  local most = tonumber(string.match(info, '\nmaxmemory:(%d+)'))
  return most > 0 and tonumber(string.match(info, 'used_memory:(%d+)')) > share * most
end

-- --- records ---------------------------------------------------------------------------------

-- Allocate the bitmaps that a job lacks at full size, so that ending an image needs no memory. A bitmap
-- that grows step by step would take twice as much.
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

-- Record an unknown job. `fields` are fields and values of its hash. It is not counted or queued yet, so
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

-- Delete everything about a job's images.
local function forget_images(job)
  for _, name in ipairs({ 'ok', 'bad', 'measured', 'errors', 'reasons', 'held', 'attempts', 'retries', 'rate' }) do
    redis.call('UNLINK', job.key .. ':' .. name)
  end
end
