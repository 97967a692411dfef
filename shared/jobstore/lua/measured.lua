-- measured: record an image's range in the first of two passes, once, and widen the job's range by it. The
-- last image begins the second pass, which starts over at the first image.
-- ARGV: lease, job, index, low, high, lease in ms
-- Returns the job's state; nil if the lease is not held.
local lease, index = ARGV[1], tonumber(ARGV[3])
local job = load_job(ARGV[2])
if not job then
  return nil
end

local function widen(field, value, pick)
  local present = tonumber(redis.call('HGET', job.key, field))
  if not present or pick(present, tonumber(value)) ~= present then
    redis.call('HSET', job.key, field, value)
  end
end

local held = is_held(lease)
if job.phase == 'measure' and takes_outcomes(job) and not is_done(job, index) then
  widen('low', ARGV[4], math.min)
  widen('high', ARGV[5], math.max)
  local was_held = release(job, index)
  mark(job, 'measured', index)
  settle(job, was_held)
end
return answer_holder(job, lease, held, tonumber(ARGV[6]))
