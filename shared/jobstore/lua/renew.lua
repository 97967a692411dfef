-- renew: extend a lease and name the image in hand, the only one that is charged if the worker dies.
-- ARGV: lease, image in hand ('' for none), lease in ms
-- Returns the job's state; nil if the lease is no longer held.
local lease = ARGV[1]
local id = redis.call('HGET', at('lease', lease), 'job')
local state = id and redis.call('HGET', at('job', id), 'state')
if not state then
  return nil
end
redis.call('HSET', at('lease', lease), 'hand', ARGV[2])
redis.call('ZADD', at('expiry'), now + ARGV[3], lease)
return state
