-- restored: end a restore. The job goes on, or ends as the object store says.
-- ARGV: job, its state if that is an end (else ''), time of its end in ms
-- Returns 1, or 0 if the job is no longer being restored.
local job = load_job(ARGV[1])
if not job or not job.restoring then
  return 0
end
job.restoring = false
redis.call('HDEL', job.key, 'restoring')
if ARGV[2] == '' or has_ended(job) then
  settle(job)
  return 1
end
job.since = tonumber(ARGV[3])
drop_leases(job)
end_job(job, ARGV[2])
return 1
