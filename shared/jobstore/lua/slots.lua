-- slots: delete the workers that have expired, and add up the slots of the others.
-- ARGV: none
-- Returns the sum.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', at('workers'), '-inf', now)) do
  redis.call('ZREM', at('workers'), worker)
  redis.call('HDEL', at('slots'), worker)
end
local sum = 0
for _, slots in ipairs(redis.call('HVALS', at('slots'))) do
  sum = sum + slots
end
return sum
