-- fair_queue: comes after `accounting`. It decides whose turn it is, by virtual time on two levels.
--
-- Owners are queued by their virtual time, which advances by the cost of the images they are handed. An
-- owner's jobs are queued by theirs, which advances by cost / weight. Each queue has a clock: the virtual
-- time at which it was last served. A newcomer joins at the clock and never before it, so time spent away
-- earns nothing, and having been served alone costs nothing. Urgent jobs have queues of their own, which
-- are served first, and so have the jobs of each network, because not every worker serves it.

local URGENCIES = { 'urgent', 'batch' }

-- Return how many images of a job a lease takes, given the most. Dear ones come in smaller leases, so that
-- all leases take about as long.
local function chunk_size(job, most)
  return math.max(1, math.floor(most / math.max(1, job.cost)))
end

local function activate(job)
  local owner, jobs = at('owner', job.owner), at('owner', job.owner, job.lane)
  if redis.call('ZSCORE', jobs, job.id) then
    return
  end
  local row = redis.call('HMGET', owner, job.lane .. ':clock', job.lane .. ':virtual')
  redis.call('ZADD', jobs, math.max(job.virtual, tonumber(row[1] or 0)), job.id)
  local clock = tonumber(redis.call('HGET', at('clocks'), job.lane) or 0)
  redis.call('ZADD', at('turns', job.lane), 'NX', math.max(tonumber(row[2] or 0), clock), job.owner)
end

-- Remove a job from its queue, and its owner from the owners' queue if that was the last job.
local function leave_queue(lane, owner, id)
  local jobs = at('owner', owner, lane)
  redis.call('ZREM', jobs, id)
  if redis.call('EXISTS', jobs) == 0 then
    redis.call('ZREM', at('turns', lane), owner)
  end
end

-- Put a job into its queue, into the waiting set, or into neither, as its images require.
local function update_queues(job)
  redis.call('ZREM', at('waiting'), job.id)
  if has_work(job) then
    return activate(job)
  end
  leave_queue(job.lane, job.owner, job.id)
  local first = redis.call('ZRANGE', job.key .. ':retries', 0, 0, 'WITHSCORES')
  if runs(job) and not job.restoring and first[1] then
    redis.call('ZADD', at('waiting'), first[2], job.id)
  end
end

-- Queue the jobs whose first retry has become due.
local function promote_waiting()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', at('waiting'), '-inf', now, 'LIMIT', 0, 100)) do
    local job = load_job(id)
    if job then
      update_queues(job)
    else
      redis.call('ZREM', at('waiting'), id)
    end
  end
end

-- Each end of a job has a number, greater than those before. A finaliser names the end it works on, so if
-- it is overtaken and comes back after a retry, it cannot set the next end. The number is a time, so
-- that it grows even if data are lost.
local function submit_for_finalising(job)
  -- NX keeps a claim that another caller holds.
  if redis.call('ZADD', at('finalize'), 'NX', now, job.id) == 1 then
    local last = tonumber(redis.call('HGET', job.key, 'ending') or 0)
    redis.call('HSET', job.key, 'ending', string.format('%.0f', math.max(now, last + 1)))
  end
end

-- Take the next step that a job's images allow: finalising, or the second pass. Returns whether there was
-- one.
local function advance_job(job)
  local open, moved = runs(job) or job.state == 'paused', false
  if open and job.ok + job.bad == job.total then
    set(job, 'state', 'finalizing')
    moved = true
  elseif open and job.phase == 'measure' and job.measured + job.bad == job.total then
    set(job, 'phase', 'render')
    set(job, 'cursor', 0)
    moved = true
  end
  if job.state == 'finalizing' or (job.state == 'canceling' and redis.call('HLEN', job.key .. ':held') == 0) then
    submit_for_finalising(job)
  end
  return moved
end

-- Update everything that depends on a job: its phase, finalising, its queues and the counters. Every script
-- that changes a job ends with this, or with `account` alone if the job ends. `same_work` says that the
-- job has the same images to lease as before.
local function settle(job, same_work)
  local moved = not job.restoring and advance_job(job)
  if moved or not same_work then
    update_queues(job)
  end
  account(job)
end
