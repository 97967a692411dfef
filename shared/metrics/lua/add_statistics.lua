-- add_statistics: add a batch of a process's measurements, once.
--
-- KEYS[1] is the root of all keys, `{fathom}`.
-- ARGV: the batch's id, the seconds for which it is remembered, the seconds after which a worker's
--   counter expires, the number n of fields, n pairs of field and increment, then for each worker its
--   name and the images it has ended.
-- Returns 1 if the batch was added, 0 if it had been added before.

local root = KEYS[1] .. ':statistics'
if not redis.call('SET', root .. ':batch:' .. ARGV[1], '', 'NX', 'EX', ARGV[2]) then
  return 0
end

local at = 5
for _ = 1, tonumber(ARGV[4]) do
  redis.call('HINCRBY', root, ARGV[at], ARGV[at + 1])
  at = at + 2
end
for i = at, #ARGV, 2 do
  local counter = root .. ':images:' .. ARGV[i]
  redis.call('INCRBY', counter, ARGV[i + 1])
  redis.call('EXPIRE', counter, ARGV[3])
end
return 1
