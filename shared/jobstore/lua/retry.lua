-- retry: queue the failed images of an ended job again and delete their errors. Their attempts were deleted
-- when the job ended.
-- ARGV: job, rule (JSON, see request_move), token of this request
-- Returns {1, snapshot}; {0, state} if the state does not allow it; nil if there is no such job. A job that
-- failed before it had images has none to retry.
--
-- The cursor goes back to the start and skips images that have ended, so this costs the same for one failed
-- image and for 100,000. A job with a common range keeps its range and its phase. If the range was lost
-- in a restore, all images are measured and rendered again.
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
