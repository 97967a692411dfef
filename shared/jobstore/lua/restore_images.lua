-- restore_images: add outcomes to a job that is being restored, each image once. They are not told,
-- and not counted as ended now.
-- ARGV: job, 1 if the job has ended else 0, then images and their failures ('' or JSON)
-- Returns 1, or 0 if the job is not being restored any more: it was deleted or ended meanwhile.
--
-- A job normalised as a whole whose range is not known is measured again. Unless it has ended, what
-- succeeded is then left to be rendered again, too: over one range, which will be the same.
local job = load_job(ARGV[1])
if not job or not job.restoring then
  return 0
end
local takes_successes = job.phase == 'render' or ARGV[2] == '1'
for i = 3, #ARGV, 2 do
  local index, failure = tonumber(ARGV[i]), ARGV[i + 1]
  if index < job.total and not is_behind(job, index) and (failure ~= '' or takes_successes) then
    mark_end(job, index, failure)
  end
end
account(job)
return 1
