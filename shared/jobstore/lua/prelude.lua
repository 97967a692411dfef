-- prelude: comes before every script of the job store. It holds the keys, the clock, and how to read a job.
-- In scripts that change jobs, `accounting`, `fair_queue` and `leases` follow, in this order.
--
-- KEYS[1] is the root of all keys, `{fathom}`. It is never a key itself. Every key begins with it, so all
-- keys lie in the slot that it names. A script often finds out only while it runs which jobs and leases it
-- touches, so it derives their keys.
--
--   root:jobs            zset, all scores 0: "<created, microseconds>:<job>", for lists
--   root:turns:<lane>    zset, the fair queue of owners that have images to lease now in that lane, by
--                        virtual time; the lanes are `urgent` and `batch`, and for each network other
--                        than the default `urgent:<model>` and `batch:<model>`
--   root:clocks          hash: lane -> the owner's virtual time at which the last lease was taken
--   root:waiting         zset: running jobs that only have retries due later, by the first due time
--   root:finalize        zset: jobs to finalise, by the time from which they may be claimed
--   root:active          zset, all scores 0: jobs that run, and those whose images workers still gather
--   root:idle            zset: jobs that have ended, are uploading or paused, by the time since when
--   root:unwritten       zset: "<job>:<image>" that failed at its last attempt, by the time of that, until
--                        its reason is known to lie in the object store
--   root:totals          hash: images (unfinished ones), state:<state> -> jobs, outcome:<code> -> images
--   root:reconciled      string: "<the server's run>:<token>:<yes or no>", see is_reconciled
--   root:owner:<o>         hash: images (unfinished), bytes (kept); <lane>:virtual, <lane>:clock
--   root:owner:<o>:jobs    zset like root:jobs
--   root:owner:<o>:<lane>  zset, the fair queue of the owner's jobs with images to lease now, by virtual time
--   root:expiry          zset: leases, by expiry
--   root:lease:<l>         hash: job, worker, hand (the image in hand, '' for none)
--   root:lease:<l>:images  zset: its unfinished images, scored with themselves
--   root:job:<j>           hash: state, phase, options, the counters, cursor, virtual, ...
--   root:job:<j>:ok, :bad, :measured   bitmaps that the counters of the same names cache
--   root:job:<j>:errors    hash: CHUNK images (by their first / CHUNK) -> "<image>:<reason> ..."
--   root:job:<j>:reasons   hash: reason (the start of a hash of its text) -> JSON
--   root:job:<j>:held      hash: image -> the lease it is in
--   root:job:<j>:attempts  hash: image -> attempts charged
--   root:job:<j>:retries   zset: images to hand out once more, by due time
--   root:job:<j>:rate      hash: bucket of BUCKET_MS -> images ended in it
--   root:job:<j>:events    stream: the job's events, numbered without gaps
--   root:workers, root:slots, root:models   zset and hashes: living workers, by expiry; their children;
--                          the networks that they serve, as "<model>=<cost> ..."
--   root:lock:<name>       string: the owner of a short lock
--
-- `shared.jobstore.rows` puts constants before this that Python uses too: BUCKET_MS, WINDOW_MS, CHUNK,
-- DEFAULT_MODEL, and the sets of states RUNNING, UNFINISHED, ENDS and IDLE.
--
-- Times are milliseconds since the epoch by the server's clock. An image that is not done in the present
-- phase is in exactly one place: in a lease, among the retries, or not yet reached by the cursor.

local root = KEYS[1]

local function at(...)
  return table.concat({ root, ... }, ':')
end

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = milliseconds()

-- Return what a job contributes to the counters, so that `account` sees what a script changed.
local function contribution(job)
  return {
    state = job.state,
    images = UNFINISHED[job.state] and job.total - job.ok - job.bad or 0,
    bytes = job.state and job.state ~= 'expired' and job.bytes or 0,
  }
end

-- Return what an image costs in a phase, as text, given the fields `measure_cost` and `render_cost`. Jobs of
-- earlier versions have neither.
local function cost_in(phase, measure, render)
  return phase == 'measure' and measure or render or '1'
end

-- Return the lane of a network's jobs. Jobs of earlier versions name none, and want the default.
local function lane_of(urgency, model)
  return (not model or model == DEFAULT_MODEL) and urgency or urgency .. ':' .. model
end

local function load_job(id)
  local key = at('job', id)
  local row = redis.call('HMGET', key, 'state', 'phase', 'total', 'ok', 'bad', 'measured', 'cursor', 'virtual',
    'owner', 'bytes', 'urgent', 'restoring', 'weight', 'measure_cost', 'render_cost', 'model', 'gathered')
  if not row[1] then
    return nil
  end
  local job = {
    id = id, key = key, state = row[1], phase = row[2],
    total = tonumber(row[3]), ok = tonumber(row[4]), bad = tonumber(row[5]), measured = tonumber(row[6]),
    cursor = tonumber(row[7]), virtual = tonumber(row[8]),
    owner = row[9], bytes = tonumber(row[10]), lane = lane_of(row[11] == '1' and 'urgent' or 'batch', row[16]),
    restoring = row[12] == '1', weight = tonumber(row[13]), cost = tonumber(cost_in(row[2], row[14], row[15])),
    measure_cost = tonumber(row[14] or 1), render_cost = tonumber(row[15] or 1), model = row[16] or DEFAULT_MODEL,
    gathered = row[17] == '1',
  }
  job.counted = contribution(job)
  return job
end

-- Everything from which Python makes a Job.
local function snapshot(id)
  local key = at('job', id)
  return { id, redis.call('HGETALL', key), redis.call('HGETALL', key .. ':rate'), now }
end

local function set(job, field, value)
  job[field] = value
  redis.call('HSET', job.key, field, value)
end

local function has(job, outcome, index)
  return redis.call('GETBIT', job.key .. ':' .. outcome, index) == 1
end

-- Whether the present phase has nothing left to do for an image.
local function is_done(job, index)
  return has(job, 'ok', index) or has(job, 'bad', index)
    or (job.phase == 'measure' and has(job, 'measured', index))
end

local function runs(job)
  return RUNNING[job.state]
end

-- Whether there is work for workers now, or will be without a client's doing.
local function is_active(job)
  return runs(job) or (job.state == 'uploading' and job.gathered)
end

local function has_ended(job)
  return ENDS[job.state]
end

-- Whether outcomes still count. A canceled job takes them until its last lease has ended; after that it may
-- be finalised at any moment, so its counts must not change.
local function takes_outcomes(job)
  return runs(job) or job.state == 'paused'
    or (job.state == 'canceling' and redis.call('HLEN', job.key .. ':held') > 0)
end

local function due_retries(job)
  return redis.call('ZCOUNT', job.key .. ':retries', '-inf', now)
end

-- How many images the cursor still has to hand out.
local function fresh_images(job)
  local behind = job.bad + (job.phase == 'measure' and job.measured or job.ok)
  local under_way = redis.call('HLEN', job.key .. ':held') + redis.call('ZCARD', job.key .. ':retries')
  return job.total - behind - under_way
end

-- A job that is being restored hands out nothing, since it may learn that images are done already.
local function has_work(job)
  return runs(job) and not job.restoring and (due_retries(job) > 0 or fresh_images(job) > 0)
end
