-- expire: delete the images of an idle job, and set its state to say so.
-- ARGV: job, rule (JSON: {"moves": {from: to}, ...}), since when it must have been idle in ms
-- Returns {1, state}; {0, state} if the state does not allow it, or is too new; nil if there is no such job.
local job = load_job(ARGV[1])
if not job then
  return nil
end
local state = cjson.decode(ARGV[2]).moves[job.state]
if job.state == 'expired' or not state then
  return { job.state == 'expired' and 1 or 0, job.state }
end
if tonumber(redis.call('ZSCORE', at('idle'), job.id) or now) >= tonumber(ARGV[3]) then
  return { 0, job.state }
end
-- A paused job may still have leases.
drop_leases(job)
forget_images(job)
end_job(job, state)
return { 1, job.state }
