-- claim_finalize: give a job that waits to be finalised to this caller alone, for a while.
-- ARGV: claim in ms
-- Returns the job, or nil. Not finished in time, it is given to another caller.
local id = redis.call('ZRANGEBYSCORE', at('finalize'), '-inf', now, 'LIMIT', 0, 1)[1]
if not id then
  return nil
end
redis.call('ZADD', at('finalize'), now + ARGV[1], id)
return id
