-- slots: delete the workers that have expired, and read the slots of the others.
-- ARGV: none
-- Returns for each worker {slots, the networks that it serves}; earlier versions serve the default.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', at('workers'), '-inf', now)) do
  redis.call('ZREM', at('workers'), worker)
  redis.call('HDEL', at('slots'), worker)
  redis.call('HDEL', at('models'), worker)
end
local rows, all = {}, redis.call('HGETALL', at('slots'))
for i = 1, #all, 2 do
  rows[#rows + 1] = { tonumber(all[i + 1]), redis.call('HGET', at('models'), all[i]) or DEFAULT_MODEL .. '=1' }
end
return rows
