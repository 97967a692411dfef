-- transition: change a job's state as a client asks (pause, resume, cancel).
-- ARGV: job, rule (JSON, see request_move), token of this request
-- Returns {1, snapshot}; {0, state} if the state does not allow it; nil if there is no such job.
local job = load_job(ARGV[1])
if not job then
  return nil
end
local answer = request_move(job, cjson.decode(ARGV[2]), ARGV[3])
if answer == 'refused' then
  return { 0, job.state }
end
if answer == 'moved' then
  settle(job)
end
return { 1, snapshot(job.id) }
