-- restore: begin to bring a job up to what the object store knows of it. It hands out nothing until
-- `restored`. The events told before are forgotten, since some may be missing.
-- ARGV: job, its entry in the list, time of its end in ms ('' if it has not ended), ends of the range
-- common to its images ('' if there is none), then fields and values of its hash
-- Returns 1, or 0 if the job is known and has ended: then there is nothing to learn.
local job = load_job(ARGV[1])

-- A range that is known needs no first pass; who is still at it finds the lease gone.
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
-- Whoever is finalising it does not know the outcomes to come: `restored` submits it anew.
redis.call('ZREM', at('finalize'), job.id)
skip_measuring()
begin_events(job)
tell(job, job.state)
settle(job)
return 1
