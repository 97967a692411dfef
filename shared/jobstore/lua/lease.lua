-- lease: hand out images of the job whose turn it is. Urgent jobs come first; then the owner with the lowest
-- virtual time, and of that owner's jobs the one with the lowest. The lease holds one due retry, or the next
-- images from the cursor. The owner's virtual time advances by what the images cost, the job's by that /
-- weight. The script takes as long for a job of many images as for one of few. Of several networks, the first
-- with work is served.
-- ARGV: new lease, worker, most images that cost 1, lease in ms, then the networks that the worker serves
-- Returns {lease, job, phase, options, low, high, images, traceparent, attempts, cost, owners}: low and high
-- are '' while there is no range, traceparent is '' if there is none, attempts are those charged to each image
-- (false for none), cost is that of one image, and owners is how many wait for this network; nil if there is
-- nothing to do. A repeated call for a held lease describes that lease.
local lease, worker, most, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function describe(id)
  local row = redis.call('HMGET', at('job', id), 'phase', 'options', 'low', 'high', 'traceparent', 'measure_cost',
    'render_cost', 'model')
  local images = redis.call('ZRANGE', at('lease', lease, 'images'), 0, -1)
  -- On a repeated call the lease may have no image left.
  local attempts = images[1] and redis.call('HMGET', at('job', id, 'attempts'), unpack(images)) or {}
  local cost = cost_in(row[1], row[6], row[7])
  local owners = redis.call('ZCARD', at('turns', lane_of('batch', row[8])))
  return { lease, id, row[1], row[2], row[3] or '', row[4] or '', images, row[5] or '', attempts, cost, owners }
end

-- Return the first image from the cursor on that is not done. A short run of done images is stepped over;
-- a long one, as after a retry or a restore, is skipped at once, however long it is.
local function next_fresh(job)
  local index, near = job.cursor, job.cursor + 16
  while index < near or index % 8 ~= 0 do
    if not is_done(job, index) then
      return index
    end
    index = index + 1
  end
  local scan = job.key .. ':scan'
  redis.call('BITOP', 'OR', scan, job.key .. ':ok', job.key .. ':bad',
    job.key .. (job.phase == 'measure' and ':measured' or ':bad'))
  local clear = redis.call('BITPOS', scan, 0, index / 8)
  redis.call('DEL', scan)
  return clear
end

local function take_fresh(job)
  local images = {}
  for i = 1, math.min(chunk_size(job, most), fresh_images(job)) do
    images[i] = next_fresh(job)
    job.cursor = images[i] + 1
  end
  set(job, 'cursor', job.cursor)
  return images
end

local function take(job)
  local retry = redis.call('ZRANGEBYSCORE', job.key .. ':retries', '-inf', now, 'LIMIT', 0, 1)[1]
  if not retry then
    return take_fresh(job)
  end
  redis.call('ZREM', job.key .. ':retries', retry)
  return { retry }
end

local function hold(job, images)
  redis.call('HSET', at('lease', lease), 'job', job.id, 'worker', worker, 'hand', '')
  for _, index in ipairs(images) do
    redis.call('ZADD', at('lease', lease, 'images'), index, index)
    redis.call('HSET', job.key .. ':held', index, lease)
  end
  extend_lease(lease, lease_ms)
end

-- `pick` is a job, with the virtual times at which it and its owner were picked; `cost` is that of all images.
local function advance_virtual_times(pick, cost)
  local job, owner = pick.job, at('owner', pick.job.owner)
  set(job, 'virtual', pick.started + cost / job.weight)
  redis.call('ZADD', at('owner', job.owner, job.lane), job.virtual, job.id)
  local virtual = pick.owner_started + cost
  redis.call('HSET', owner, job.lane .. ':clock', pick.started, job.lane .. ':virtual', virtual)
  redis.call('ZADD', at('turns', job.lane), virtual, job.owner)
  redis.call('HSET', at('clocks'), job.lane, pick.owner_started)
end

-- The queues are kept exact (see update_queues), but a stray entry must not stop all work. A worker of an
-- earlier version, which knows one network, leaves jobs of others in the wrong queue.
local function next_in(lane)
  while true do
    local owner = redis.call('ZRANGE', at('turns', lane), 0, 0, 'WITHSCORES')
    if not owner[1] then
      return nil
    end
    local first = redis.call('ZRANGE', at('owner', owner[1], lane), 0, 0, 'WITHSCORES')
    local job = first[1] and load_job(first[1])
    if job and has_work(job) and job.lane == lane then
      return { job = job, started = tonumber(first[2]), owner_started = tonumber(owner[2]) }
    end
    leave_queue(lane, owner[1], first[1] or '')
    if job then
      update_queues(job)
    end
  end
end

local function pick_next()
  for _, urgency in ipairs(URGENCIES) do
    for i = 5, #ARGV do
      local pick = next_in(lane_of(urgency, ARGV[i]))
      if pick then
        return pick
      end
    end
  end
end

local held_already = redis.call('HGET', at('lease', lease), 'job')
if held_already and redis.call('EXISTS', at('job', held_already)) == 1 then
  return describe(held_already)
end
promote_waiting()
local pick = pick_next()
if not pick then
  return nil
end
local job = pick.job
local images = take(job)
hold(job, images)
advance_virtual_times(pick, #images * job.cost)
redis.call('HSETNX', job.key, 'started_at', now)
set(job, 'state', 'processing')
settle(job)
-- A job that was recorded by an earlier version may not be there yet.
update_active(job)
return describe(job.id)
