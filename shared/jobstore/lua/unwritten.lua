-- unwritten: read failures whose last attempt was charged and whose reasons are not in the object store yet.
-- ARGV: most failures
-- Returns pairs {job, image}. Entries of jobs that are gone or were retried are deleted.
local found = {}
for _, member in ipairs(redis.call('ZRANGE', at('unwritten'), 0, ARGV[1] - 1)) do
  local id, index = string.match(member, '^(.+):(%d+)$')
  local job = load_job(id)
  if job and job.state ~= 'expired' and has(job, 'bad', index) then
    found[#found + 1] = { id, tonumber(index) }
  else
    redis.call('ZREM', at('unwritten'), member)
  end
end
return found
