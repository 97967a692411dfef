-- done: end an image, once: only the first end of an image counts. The image leaves its lease,
-- which is extended. After the last image the job goes on the finalise set.
-- ARGV: lease, job, index, the lease's phase, failure ('' or JSON), lease in ms
-- Returns the job's state; nil if the lease is not held (any more).
--
-- The end counts without the lease too: its outputs are stored, and they are the same whoever
-- made them. It does not count when the job has gone on to another phase since.
local lease, index = ARGV[1], tonumber(ARGV[3])
local job = load_job(ARGV[2])
if not job then
  return nil
end
local held = is_held(lease)
if job.phase == ARGV[4] and takes_outcomes(job) and not is_behind(job, index) then
  settle(job, end_image(job, index, ARGV[5]))
end
return answer_holder(job, lease, held, tonumber(ARGV[6]))
