-- delete: forget a job; its leases end with it.
-- ARGV: job
-- Returns 1, or 0 if there was no such job.
local id = ARGV[1]
local key = at('job', id)
local entry = redis.call('HGET', key, 'entry')
if not entry then
  return 0
end
for _, lease in ipairs(redis.call('HVALS', key .. ':held')) do
  drop_lease(lease)
end
redis.call('ZREM', at('jobs'), entry)
for _, set_name in ipairs({ 'active', 'waiting', 'finalize' }) do
  redis.call('ZREM', at(set_name), id)
end
redis.call('UNLINK', key, key .. ':ok', key .. ':bad', key .. ':measured', key .. ':errors', key .. ':held',
  key .. ':attempts', key .. ':retries', key .. ':rate')
return 1
