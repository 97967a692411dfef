-- abort: fail a job that waits for its uploads, for a reason that concerns the whole job.
-- ARGV: job, rule (JSON, see request_move), token of this request, failure (JSON)
-- Returns {1, snapshot}; {0, state} if the state does not allow it; nil if there is no such job. A job
-- that was aborted before keeps its first reason.
local job = load_job(ARGV[1])
if not job then
  return nil
end
local answer = request_move(job, cjson.decode(ARGV[2]), ARGV[3])
if answer == 'refused' and redis.call('HEXISTS', job.key, 'error') == 0 then
  return { 0, job.state }
end
if answer == 'moved' then
  redis.call('HSET', job.key, 'error', ARGV[4])
  settle(job)
end
return { 1, snapshot(job.id) }
