-- totals: read the numbers about all jobs together.
-- ARGV: none
-- Returns {fields and values of root:totals, leases, living workers and their slots}.
local living = redis.call('ZRANGEBYSCORE', at('workers'), '(' .. string.format('%.0f', now), '+inf')
local workers = {}
for _, worker in ipairs(living) do
  workers[#workers + 1] = worker
  workers[#workers + 1] = redis.call('HGET', at('slots'), worker) or '0'
end
return { redis.call('HGETALL', at('totals')), redis.call('ZCARD', at('expiry')), workers }
