-- Put before every other script: the keys, the clock, and the steps that scripts share.
--
-- KEYS[1] is the root of all keys, `{fathom}`. It is never a key itself: it routes the script,
-- and every key begins with it, so that all of them lie in one slot of a Redis Cluster. Which
-- jobs and leases a script touches is often known only inside it, so it derives their keys.
--
--   root:jobs            zset, all scores 0: "<created, microseconds>:<job>", for lists
--   root:active          zset: running jobs with something to lease now, by virtual time
--   root:waiting         zset: running jobs with nothing but later retries, by the first due time
--   root:clock           string: the virtual time at which the last lease was taken
--   root:finalize        zset: jobs to finalise, by the time from which they may be claimed
--   root:expiry          zset: leases, by expiry
--   root:lease:<l>         hash: job, worker, hand (the image in hand, '' for none)
--   root:lease:<l>:images  zset: its unfinished images, scored with themselves
--   root:job:<j>           hash: state, phase, options, the counters, cursor, virtual, ...
--   root:job:<j>:ok, :bad, :measured   bitmaps that the counters of the same names cache
--   root:job:<j>:errors    hash: failed image -> JSON
--   root:job:<j>:held      hash: image -> the lease it is in
--   root:job:<j>:attempts  hash: image -> attempts charged
--   root:job:<j>:retries   zset: images to hand out once more, by due time
--   root:job:<j>:rate      hash: five-second bucket -> images ended in it
--   root:workers, root:slots   zset and hash: living workers, by expiry; their children
--   root:lock:<name>       string: the owner of a short lock
--
-- Times are milliseconds since the epoch by the server's clock. An image with nothing behind it
-- in the present phase is in exactly one place: in a lease, among the retries, or not yet
-- reached by the cursor.

local root = KEYS[1]

local function at(...)
  return table.concat({ root, ... }, ':')
end

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = milliseconds()

-- --- reading ---------------------------------------------------------------------------------

local function load_job(id)
  local key = at('job', id)
  local row = redis.call('HMGET', key, 'state', 'phase', 'total', 'ok', 'bad', 'measured', 'cursor', 'virtual')
  if not row[1] then
    return nil
  end
  return {
    id = id, key = key, state = row[1], phase = row[2],
    total = tonumber(row[3]), ok = tonumber(row[4]), bad = tonumber(row[5]), measured = tonumber(row[6]),
    cursor = tonumber(row[7]), virtual = tonumber(row[8]),
  }
end

-- All that Python makes a Job of.
local function snapshot(id)
  local key = at('job', id)
  return { id, redis.call('HGETALL', key), redis.call('HGETALL', key .. ':rate'), now }
end

local function has(job, outcome, index)
  return redis.call('GETBIT', job.key .. ':' .. outcome, index) == 1
end

-- Whether the present phase has nothing more to do for an image.
local function is_behind(job, index)
  return has(job, 'ok', index) or has(job, 'bad', index)
    or (job.phase == 'measure' and has(job, 'measured', index))
end

local function runs(job)
  return job.state == 'queued' or job.state == 'processing'
end

-- Whether outcomes still count. A canceled job takes them until its last lease has ended: from
-- then on it may be being finalised, and its counts must stand still.
local function takes_outcomes(job)
  return runs(job) or job.state == 'paused'
    or (job.state == 'canceling' and redis.call('HLEN', job.key .. ':held') > 0)
end

local function due_retries(job)
  return redis.call('ZCOUNT', job.key .. ':retries', '-inf', now)
end

-- How many images the cursor has yet to hand out.
local function fresh_images(job)
  local behind = job.bad + (job.phase == 'measure' and job.measured or job.ok)
  local under_way = redis.call('HLEN', job.key .. ':held') + redis.call('ZCARD', job.key .. ':retries')
  return job.total - behind - under_way
end

local function has_work(job)
  return runs(job) and (due_retries(job) > 0 or fresh_images(job) > 0)
end

-- --- where a job stands ----------------------------------------------------------------------

local function set(job, field, value)
  job[field] = value
  redis.call('HSET', job.key, field, value)
end

local function activate(job)
  local clock = tonumber(redis.call('GET', at('clock')) or 0)
  -- Never behind the clock: a job that could not be served has no claim on the time it missed.
  redis.call('ZADD', at('active'), 'NX', math.max(job.virtual, clock), job.id)
end

-- Put a job into the active set, the waiting set, or neither, as its images are now.
local function place(job)
  redis.call('ZREM', at('waiting'), job.id)
  if has_work(job) then
    activate(job)
    return
  end
  redis.call('ZREM', at('active'), job.id)
  local first = redis.call('ZRANGE', job.key .. ':retries', 0, 0, 'WITHSCORES')
  if runs(job) and first[1] then
    redis.call('ZADD', at('waiting'), first[2], job.id)
  end
end

-- Make jobs active whose first retry has become due.
local function promote_waiting()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', at('waiting'), '-inf', now, 'LIMIT', 0, 100)) do
    local job = load_job(id)
    if job then
      place(job)
    else
      redis.call('ZREM', at('waiting'), id)
    end
  end
end

local function submit_for_finalising(job)
  -- NX: a claim that another caller holds on it stands.
  redis.call('ZADD', at('finalize'), 'NX', now, job.id)
end

-- Draw the consequences of what a script did to a job: the next phase, finalising, its place.
local function settle(job)
  local open = runs(job) or job.state == 'paused'
  if open and job.ok + job.bad == job.total then
    set(job, 'state', 'finalizing')
    submit_for_finalising(job)
  elseif open and job.phase == 'measure' and job.measured + job.bad == job.total then
    set(job, 'phase', 'render')
    set(job, 'cursor', 0)
  elseif job.state == 'canceling' and redis.call('HLEN', job.key .. ':held') == 0 then
    submit_for_finalising(job)
  end
  place(job)
end

-- --- leases and outcomes ---------------------------------------------------------------------

local function drop_lease(lease)
  redis.call('DEL', at('lease', lease), at('lease', lease, 'images'))
  redis.call('ZREM', at('expiry'), lease)
end

local function extend_lease(lease, lease_ms)
  redis.call('ZADD', at('expiry'), now + lease_ms, lease)
end

local function is_held(lease)
  return redis.call('EXISTS', at('lease', lease)) == 1
end

-- What a worker hears after an image: the job's state, its lease being extended if any of it is
-- left; nil if it had lost the lease before.
local function answer_holder(job, lease, was_held, lease_ms)
  if not was_held then
    return nil
  end
  if is_held(lease) then
    extend_lease(lease, lease_ms)
  end
  return job.state
end

-- Take an image out of a lease; an empty lease ends.
local function take_out(lease, index)
  local images = at('lease', lease, 'images')
  redis.call('ZREM', images, index)
  if redis.call('ZCARD', images) == 0 then
    drop_lease(lease)
  end
end

-- Take an image out of whatever it waits in, be it another worker's lease.
local function release(job, index)
  redis.call('ZREM', job.key .. ':retries', index)
  local lease = redis.call('HGET', job.key .. ':held', index)
  if lease then
    redis.call('HDEL', job.key .. ':held', index)
    take_out(lease, index)
  end
end

local function retry_at(job, index, due)
  redis.call('ZADD', job.key .. ':retries', due, index)
end

-- Return all images of a lease to their job, due now, and end the lease.
local function return_images(job, lease)
  for _, index in ipairs(redis.call('ZRANGE', at('lease', lease, 'images'), 0, -1)) do
    redis.call('HDEL', job.key .. ':held', index)
    retry_at(job, index, now)
  end
  drop_lease(lease)
end

local function mark(job, outcome, index)
  local bitmap = job.key .. ':' .. outcome
  if job[outcome] == 0 then
    -- A bitmap that grows by and by is given twice the room it needs; made whole, exactly that.
    redis.call('SETBIT', bitmap, job.total - 1, 0)
  end
  redis.call('SETBIT', bitmap, index, 1)
  job[outcome] = redis.call('HINCRBY', job.key, outcome, 1)
end

-- Count an ended image into its five-second bucket; buckets older than the window go.
local function tally(job)
  local key, bucket = job.key .. ':rate', math.floor(now / 5000)
  if redis.call('HINCRBY', key, bucket, 1) == 1 then
    for _, old in ipairs(redis.call('HKEYS', key)) do
      if tonumber(old) < bucket - 6 then
        redis.call('HDEL', key, old)
      end
    end
  end
  redis.call('PEXPIRE', key, 60000)
end

-- End an image that has not ended: failed with `failure` (JSON), or succeeded if that is ''.
local function end_image(job, index, failure)
  release(job, index)
  if failure == '' then
    mark(job, 'ok', index)
  else
    mark(job, 'bad', index)
    redis.call('HSET', job.key .. ':errors', index, failure)
  end
  tally(job)
end

-- Charge an attempt to an image that is in no lease: it is due again after a delay, or failed.
-- `policy` is decoded JSON: {"attempts": most there are, "delays_ms": [after the first, ...]}.
local function charge_attempt(job, index, failure, policy)
  local attempts = redis.call('HINCRBY', job.key .. ':attempts', index, 1)
  if attempts >= policy.attempts then
    end_image(job, index, failure)
  else
    retry_at(job, index, now + policy.delays_ms[math.min(attempts, #policy.delays_ms)])
  end
end

-- --- what clients ask ------------------------------------------------------------------------

-- Carry out a client's change of state on a job. Returns 'moved', 'settled' (nothing to do: the
-- job is there already, or this very request was carried out before) or 'refused'.
-- `rule` is decoded JSON: {"moves": {from: to}, "already": [states]}.
local function request_move(job, rule, token)
  if redis.call('HGET', job.key, 'request') == token then
    return 'settled'
  end
  if rule.moves[job.state] then
    set(job, 'state', rule.moves[job.state])
    redis.call('HSET', job.key, 'request', token)
    return 'moved'
  end
  for _, state in ipairs(rule.already) do
    if state == job.state then
      return 'settled'
    end
  end
  return 'refused'
end
