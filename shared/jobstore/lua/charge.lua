-- charge: charge an attempt to an image of a lease. It is tried again later; after the last it has failed.
-- ARGV: lease, job, index, failure (JSON), policy (JSON, see charge_attempt), lease in ms
-- Returns the job's state; nil if the lease is not held. An image that has left the lease is not
-- charged, so a repeated call charges nothing.
local lease, index = ARGV[1], tonumber(ARGV[3])
local job = load_job(ARGV[2])
if not job or not is_held(lease) then
  return nil
end
if redis.call('ZSCORE', at('lease', lease, 'images'), index) then
  release(job, index)
  charge_attempt(job, index, ARGV[4], cjson.decode(ARGV[5]))
  settle(job)
end
return answer_holder(job, lease, true, tonumber(ARGV[6]))
