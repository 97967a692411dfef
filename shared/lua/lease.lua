-- lease: hand out images of the running job with the lowest virtual time: one due retry alone,
-- or the next images from the cursor. The job's virtual time advances by images / weight.
-- ARGV: new lease, worker, most images, lease in ms
-- Returns {lease, job, phase, options, low, high, images}, low and high '' while there is no
-- range; nil if there is nothing to do. Asked again for a lease that is held, it describes that.
local lease, worker, most, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function describe(id)
  local row = redis.call('HMGET', at('job', id), 'phase', 'options', 'low', 'high')
  local images = redis.call('ZRANGE', at('lease', lease, 'images'), 0, -1)
  return { lease, id, row[1], row[2], row[3] or '', row[4] or '', images }
end

-- The first index from `index` on whose bit is clear. BITPOS skips whole bytes, however many.
local function next_clear(bitmap, index)
  while redis.call('GETBIT', bitmap, index) == 1 do
    if index % 8 == 0 then
      local clear = redis.call('BITPOS', bitmap, 0, index / 8)
      if clear > index then
        return clear
      end
    end
    index = index + 1
  end
  return index
end

local function next_fresh(job)
  local index, before = job.cursor, nil
  repeat
    before = index
    index = next_clear(job.key .. ':ok', index)
    index = next_clear(job.key .. ':bad', index)
    if job.phase == 'measure' then
      index = next_clear(job.key .. ':measured', index)
    end
  until index == before
  return index
end

local function take_fresh(job)
  local images = {}
  for i = 1, math.min(most, fresh_images(job)) do
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

local function advance(job, started, images)
  redis.call('SET', at('clock'), started)
  set(job, 'virtual', started + images / tonumber(redis.call('HGET', job.key, 'weight')))
  redis.call('ZADD', at('active'), job.virtual, job.id)
end

-- The active job whose turn it is, and its virtual time. The set is kept exact (see place), but a
-- stray entry must not stop everyone's work.
local function next_job()
  while true do
    local first = redis.call('ZRANGE', at('active'), 0, 0, 'WITHSCORES')
    if not first[1] then
      return nil
    end
    local job = load_job(first[1])
    if job and has_work(job) then
      return job, tonumber(first[2])
    end
    redis.call('ZREM', at('active'), first[1])
  end
end

local held_already = redis.call('HGET', at('lease', lease), 'job')
if held_already then
  return describe(held_already)
end
promote_waiting()
local job, started = next_job()
if not job then
  return nil
end
local images = take(job)
hold(job, images)
advance(job, started, #images)
redis.call('HSETNX', job.key, 'started_at', now)
set(job, 'state', 'processing')
settle(job)
return describe(job.id)
