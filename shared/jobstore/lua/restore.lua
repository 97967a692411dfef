-- restore: begin to bring a job up to what the object store knows of it. Until `restored`, it hands out no
-- images. Its earlier events are deleted, since some may be missing.
-- ARGV: job, its entry in the list, time of its end in ms ('' if it has not ended), low and high end of its
-- common range ('' if there is none), then fields and values of its hash
-- Returns 1, or 0 if the job is known and has ended: then there is nothing to restore.
local job = load_job(ARGV[1])

-- If the range is known, the first pass is over, and workers in it lose their leases.
local function skip_measuring()
  if job.phase == 'measure' and ARGV[4] ~= '' then
    drop_leases(job)
    redis.call('UNLINK', job.key .. ':held', job.key .. ':retries')
    redis.call('HSET', job.key, 'low', ARGV[4], 'high', ARGV[5])
    set(job, 'phase', 'render')
    set(job, 'cursor', 0)
  end
end

if not job then
  job = record(ARGV[1], ARGV[2], { 'restoring', 1, unpack(ARGV, 6) })
  job.since = tonumber(ARGV[3])
  skip_measuring()
  if has_ended(job) then
    redis.call('HSETNX', job.key, 'ended_at', now)
  end
  account(job)
  return 1
end
if has_ended(job) and not job.restoring then
  return 0
end
redis.call('HSET', job.key, 'restoring', 1)
job.restoring = true
-- A finaliser would miss the outcomes to come, so `restored` submits the job again.
redis.call('ZREM', at('finalize'), job.id)
skip_measuring()
begin_events(job)
append_event(job, job.state)
settle(job)
return 1
