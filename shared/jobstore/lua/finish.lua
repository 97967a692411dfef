-- finish: set the final state of a job and delete what only a running job needs.
-- ARGV: job, final state, the number of the end that was claimed
-- Returns {1, state}; {0, state} if the job does not wait for this end: another caller has set it and the
-- job has moved on, or it waits for a later end; nil if there is no such job.
local job = load_job(ARGV[1])
if not job then
  return nil
end
local is_this_end = (redis.call('HGET', job.key, 'ending') or '0') == ARGV[3]
if is_this_end and job.state == ARGV[2] then
  return { 1, job.state }
end
if not is_this_end or not redis.call('ZSCORE', at('finalize'), job.id) then
  return { 0, job.state }
end
end_job(job, ARGV[2])
return { 1, job.state }
