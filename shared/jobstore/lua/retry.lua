-- retry: queue the failed images of an ended job once more, their errors forgotten (their attempts
-- were when it ended).
-- ARGV: job, rule (JSON, see request_move), token of this request
-- Returns {1, snapshot}, or {0, state} if that state does not allow it; nil without such a job. A
-- job that failed before it had images has none to retry.
--
-- The cursor goes back to the start and skips what has ended, so this costs the same for one
-- failed image and for 100,000. A job that has a common range keeps it and its phase; where the
-- range was lost (the job was restored), all images are measured and rendered anew.
local job = load_job(ARGV[1])
if not job then
  return nil
end
if redis.call('HEXISTS', job.key, 'error') == 1 then
  return { 0, job.state }
end
local answer = request_move(job, cjson.decode(ARGV[2]), ARGV[3])
if answer == 'refused' then
  return { 0, job.state }
end
if answer == 'moved' then
  redis.call('UNLINK', job.key .. ':bad', job.key .. ':errors', job.key .. ':reasons')
  redis.call('HDEL', job.key, 'ended_at')
  set(job, 'bad', 0)
  set(job, 'cursor', 0)
  if job.phase == 'measure' then
    redis.call('UNLINK', job.key .. ':ok')
    set(job, 'ok', 0)
  end
  allocate(job)
  settle(job)
end
return { 1, snapshot(job.id) }
