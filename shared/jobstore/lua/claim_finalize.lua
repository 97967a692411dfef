-- claim_finalize: give a job that waits to be finalised to this caller alone, for a while.
-- ARGV: claim in ms
-- Returns {job, number of its end, see submit_for_finalising}, or nil. Not finished in time, it is given
-- to another caller. Entries whose jobs are gone go as well.
while true do
  local id = redis.call('ZRANGEBYSCORE', at('finalize'), '-inf', now, 'LIMIT', 0, 1)[1]
  if not id then
    return nil
  end
  if redis.call('EXISTS', at('job', id)) == 1 then
    redis.call('ZADD', at('finalize'), now + ARGV[1], id)
    return { id, redis.call('HGET', at('job', id), 'ending') or '0' }
  end
  redis.call('ZREM', at('finalize'), id)
end
