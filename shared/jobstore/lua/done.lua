-- done: end an image. Only its first end counts. The image leaves its lease, and the lease is extended.
-- After the last image the job waits to be finalised.
-- ARGV: lease, job, index, the lease's phase, failure ('' or JSON), lease in ms
-- Returns the job's state; nil if the lease is not held.
--
-- The end counts even without the lease: the outputs are stored, and any worker would have made the
-- same. It does not count if the job has moved on to another phase.
local lease, index = ARGV[1], tonumber(ARGV[3])
local job = load_job(ARGV[2])
if not job then
  return nil
end
local held = is_held(lease)
if job.phase == ARGV[4] and takes_outcomes(job) and not is_done(job, index) then
  settle(job, end_image(job, index, ARGV[5]))
end
return answer_holder(job, lease, held, tonumber(ARGV[6]))
