-- add_statistics: add what a process measured, once.
--
-- KEYS[1] is the root of all keys, `{fathom}`.
-- ARGV: the batch's id, the seconds for which it is remembered, the seconds after which a worker's
--   counter is forgotten, the number n of fields, n times field and increment, and then for each
--   worker its name and the images it has ended.
-- Returns 1 if it was added, 0 if it had been before.

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
