-- turns: after `ledger`. Whose turn it is: virtual time, twice over.
--
-- Owners stand in line by their virtual time, which advances by the images they are handed; an
-- owner's jobs stand in line by theirs, which advances by images / weight. Each line has a clock:
-- the virtual time at which it was last served. Who joins does so at the clock and never behind
-- it: the time missed gives no claim, and having been served alone is no debt. Urgent jobs stand
-- in lines of their own, which are served first.

local LANES = { 'urgent', 'batch' }

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

-- Take a job out of its line, and an owner who has no other in it out of the owners'.
local function leave_line(lane, owner, id)
  local jobs = at('owner', owner, lane)
  redis.call('ZREM', jobs, id)
  if redis.call('EXISTS', jobs) == 0 then
    redis.call('ZREM', at('turns', lane), owner)
  end
end

-- Put a job into its line, the waiting set, or neither, as its images are now.
local function place(job)
  redis.call('ZREM', at('waiting'), job.id)
  if has_work(job) then
    return activate(job)
  end
  leave_line(job.lane, job.owner, job.id)
  local first = redis.call('ZRANGE', job.key .. ':retries', 0, 0, 'WITHSCORES')
  if runs(job) and not job.restoring and first[1] then
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

-- Each end that a job comes to has a number, greater than those before: who finalises it says which
-- end that is, so that one who was overtaken, and comes back after a retry, does not set the next. It is a
-- time, so that it grows although the data are lost.
local function submit_for_finalising(job)
  -- NX: a claim that another caller holds on it stands.
  if redis.call('ZADD', at('finalize'), 'NX', now, job.id) == 1 then
    local last = tonumber(redis.call('HGET', job.key, 'ending') or 0)
    redis.call('HSET', job.key, 'ending', string.format('%.0f', math.max(now, last + 1)))
  end
end

-- Take the next step that a job's images allow: to be finalised, or the second pass. Returns whether
-- there was one.
local function go_on(job)
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

-- Draw the consequences of what a script did to a job: the next phase, finalising, its place, the
-- counters. Every script that changes a job ends with it, or with `account` alone at a job's end.
-- With `stands`, what the job has to lease is known to be what it was.
local function settle(job, stands)
  local moved = not job.restoring and go_on(job)
  if moved or not stands then
    place(job)
  end
  account(job)
end
