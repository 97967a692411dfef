-- restore_images: add outcomes to a job that is being restored, each image once. This appends no events, and
-- does not count in the rate.
-- ARGV: job, 1 if the job has ended else 0, then images and their failures ('' or JSON)
-- Returns 1, or 0 if the job is no longer being restored: it was deleted or has ended.
--
-- If a job is normalised as a whole and its range is unknown, it is measured again. Unless it has ended, its
-- succeeded images are then rendered again too, over the one range, which will be the same.
local job = load_job(ARGV[1])
if not job or not job.restoring then
  return 0
end
local takes_successes = job.phase == 'render' or ARGV[2] == '1'
for i = 3, #ARGV, 2 do
  local index, failure = tonumber(ARGV[i]), ARGV[i + 1]
  if index < job.total and not is_done(job, index) and (failure ~= '' or takes_successes) then
    mark_end(job, index, failure)
  end
end
account(job)
return 1
