-- finish: set the final state of a job and forget what only a running job needs.
-- ARGV: job, final state
-- Returns {1, state}, or {0, state} if the job does not wait to be finished; nil without such a job.
local job = load_job(ARGV[1])
if not job then
  return nil
end
if job.state == ARGV[2] then
  return { 1, job.state }
end
if not redis.call('ZSCORE', at('finalize'), job.id) then
  return { 0, job.state }
end
end_job(job, ARGV[2])
return { 1, job.state }
