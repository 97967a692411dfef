-- claim_finalize: claim a job that waits to be finalised, for a while.
-- ARGV: claim in ms
-- Returns {job, number of its end, see submit_for_finalising}, or nil. If the caller does not finish in
-- time, another may claim the job. Entries of jobs that are gone are removed.
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
