-- create: record a new job; one that is known already stays as it is.
-- ARGV: job, its entry in the list, then fields and values of its hash
-- Returns 1 if it was new, else 0.
local id, entry = ARGV[1], ARGV[2]
if redis.call('EXISTS', at('job', id)) == 1 then
  return 0
end
redis.call('HSET', at('job', id), 'entry', entry, 'ok', 0, 'bad', 0, 'measured', 0, 'cursor', 0, 'virtual', 0,
  unpack(ARGV, 3))
redis.call('ZADD', at('jobs'), 0, entry)
settle(load_job(id))
return 1
