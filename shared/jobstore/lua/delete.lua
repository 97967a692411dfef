-- delete: delete a job and its leases.
-- ARGV: job
-- Returns 1, or 0 if there was no such job.
local job = load_job(ARGV[1])
if not job then
  return 0
end
local entry, jobs = redis.call('HGET', job.key, 'entry'), at('owner', job.owner, 'jobs')
drop_leases(job)
forget_images(job)
redis.call('UNLINK', job.key)
job.state = nil
update_queues(job)
account(job)
redis.call('UNLINK', job.key .. ':events')
redis.call('ZREM', at('finalize'), job.id)
redis.call('ZREM', at('jobs'), entry)
redis.call('ZREM', jobs, entry)
if redis.call('EXISTS', jobs) == 0 then
  redis.call('UNLINK', at('owner', job.owner))
end
return 1
