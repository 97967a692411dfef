-- give_back: return the unfinished images of a lease to their job, charging no attempt.
-- ARGV: lease
-- Returns how many images went back.
local lease = ARGV[1]
local id = redis.call('HGET', at('lease', lease), 'job')
if not id then
  return 0
end
local job = load_job(id)
if not job then
  drop_lease(lease)
  return 0
end
local images = redis.call('ZCARD', at('lease', lease, 'images'))
return_images(job, lease)
settle(job)
return images
