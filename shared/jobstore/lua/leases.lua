-- leases: comes after `fair_queue`. Leases, the ends of images and jobs, and what clients ask of jobs.

-- --- leases ----------------------------------------------------------------------------------

local function drop_lease(lease)
  redis.call('DEL', at('lease', lease), at('lease', lease, 'images'))
  redis.call('ZREM', at('expiry'), lease)
end

-- Drop all leases of a job; the caller decides what happens to its images.
local function drop_leases(job)
  for _, lease in ipairs(redis.call('HVALS', job.key .. ':held')) do
    drop_lease(lease)
  end
end

local function extend_lease(lease, lease_ms)
  redis.call('ZADD', at('expiry'), now + lease_ms, lease)
end

local function is_held(lease)
  return redis.call('EXISTS', at('lease', lease)) == 1
end

-- Return what a worker is told after an image: the job's state, or nil if the worker had lost its lease.
-- If the lease still has images, it is extended.
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

-- Take an image out of its lease, even another worker's, or out of the retries. Returns whether it was in a
-- lease: then the job has the same images to lease as before, which `settle` wants to know.
local function release(job, index)
  local lease = redis.call('HGET', job.key .. ':held', index)
  if not lease then
    redis.call('ZREM', job.key .. ':retries', index)
    return false
  end
  redis.call('HDEL', job.key .. ':held', index)
  take_out(lease, index)
  return true
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

-- --- outcomes --------------------------------------------------------------------------------

local function mark(job, outcome, index)
  redis.call('SETBIT', job.key .. ':' .. outcome, index, 1)
  job[outcome] = redis.call('HINCRBY', job.key, outcome, 1)
end

-- Store a reason, once for all images that failed for it, and return its name.
local function keep_reason(job, failure)
  job.reasons = job.reasons or {}
  if not job.reasons[failure] then
    job.reasons[failure] = string.sub(redis.sha1hex(failure), 1, 12)
    redis.call('HSETNX', job.key .. ':reasons', job.reasons[failure], failure)
  end
  return job.reasons[failure]
end

-- Record why an image failed, in about twenty bytes.
local function write_error(job, index, failure)
  local chunk = math.floor(index / CHUNK)
  local others = redis.call('HGET', job.key .. ':errors', chunk) or ''
  redis.call('HSET', job.key .. ':errors', chunk, others .. index .. ':' .. keep_reason(job, failure) .. ' ')
end

-- Only set an image's bit: as failed with `failure` (JSON), or as succeeded if that is ''. Returns what
-- `release` does.
local function mark_end(job, index, failure)
  local was_held = release(job, index)
  if failure == '' then
    mark(job, 'ok', index)
  else
    mark(job, 'bad', index)
    write_error(job, index, failure)
  end
  return was_held
end

-- Count an ended image in its time bucket, and delete buckets older than the window.
local function tally(job)
  local key, bucket = job.key .. ':rate', math.floor(now / BUCKET_MS)
  if redis.call('HINCRBY', key, bucket, 1) == 1 then
    for _, old in ipairs(redis.call('HKEYS', key)) do
      if tonumber(old) < bucket - WINDOW_MS / BUCKET_MS then
        redis.call('HDEL', key, old)
      end
    end
    redis.call('PEXPIRE', key, 2 * WINDOW_MS)
  end
end

-- End an image that has not ended, and append the event. Returns what `release` does.
local function end_image(job, index, failure)
  local was_held = mark_end(job, index, failure)
  tally(job)
  local outcome = failure == '' and 'succeeded' or cjson.decode(failure).code
  count(at('totals'), 'outcome:' .. outcome, 1)
  append_event(job, failure == '' and 'succeeded' or 'failed', index)
  return was_held
end

-- Charge an attempt to an image that is in no lease: it is due again after a delay, or it has failed.
-- `policy` is decoded JSON: {"attempts": most attempts, "delays_ms": [after the first, ...]}.
local function charge_attempt(job, index, failure, policy)
  local attempts = redis.call('HINCRBY', job.key .. ':attempts', index, 1)
  if attempts >= policy.attempts then
    end_image(job, index, failure)
    -- The caller did not know that this was the last attempt, so it has not stored the reason.
    redis.call('ZADD', at('unwritten'), now, job.id .. ':' .. index)
  else
    retry_at(job, index, now + policy.delays_ms[math.min(attempts, #policy.delays_ms)])
    append_event(job, 'pending', index)
  end
end

-- --- the ends of jobs ------------------------------------------------------------------------

-- Set a job's final state and delete what only a running job needs. It has no leases any more.
local function end_job(job, state)
  set(job, 'state', state)
  redis.call('HSETNX', job.key, 'ended_at', job.since or now)
  job.restoring = false
  redis.call('HDEL', job.key, 'restoring')
  redis.call('ZREM', at('finalize'), job.id)
  redis.call('UNLINK', job.key .. ':held', job.key .. ':attempts', job.key .. ':retries', job.key .. ':rate')
  update_queues(job)
  account(job)
end

-- --- what clients ask ------------------------------------------------------------------------

-- Change a job's state as a client asks. Returns 'moved', 'settled' (there is nothing to do: the job is in
-- that state already, or this very request was carried out before) or 'refused'.
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
