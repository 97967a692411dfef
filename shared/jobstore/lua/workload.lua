-- workload: sum up what is left to do for jobs that run, or will once their images are gathered, by network.
-- ARGV: most jobs to look at
-- Returns {jobs there are, jobs looked at, network, images, work (as text), network, ...}. A job that is being
-- restored has nothing to hand out, and counts as nothing.
local most = tonumber(ARGV[1])
local images, work = {}, {}

-- Add a job, with both passes of one that is normalised as a whole and not measured yet.
local function add(job)
  local pending = job.total - job.ok - job.bad
  local cost = pending * job.render_cost
  if job.phase == 'measure' then
    cost = cost + (job.total - job.measured - job.bad) * job.measure_cost
  end
  images[job.model] = (images[job.model] or 0) + pending
  work[job.model] = (work[job.model] or 0) + cost
end

local ids = redis.call('ZRANGE', at('active'), 0, most - 1)
for _, id in ipairs(ids) do
  local job = load_job(id)
  if not job or not is_active(job) then
    -- A worker of an earlier version ended it.
    redis.call('ZREM', at('active'), id)
  elseif not job.restoring and job.total > 0 then
    add(job)
  end
end
local answer = { redis.call('ZCARD', at('active')), #ids }
for model, count in pairs(images) do
  answer[#answer + 1] = model
  answer[#answer + 1] = count
  answer[#answer + 1] = string.format('%.17g', work[model])
end
return answer
