-- list: read jobs, newest first.
-- ARGV: upper bound of the entries for ZREVRANGEBYLEX ('+' or '(<entry>'), most jobs, owner ('' for all)
-- Returns pairs {entry, snapshot}, without the snapshot if the job is gone.
local jobs = ARGV[3] == '' and at('jobs') or at('owner', ARGV[3], 'jobs')
local page = {}
for _, entry in ipairs(redis.call('ZREVRANGEBYLEX', jobs, ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  local id = string.match(entry, ':(.+)$')
  page[#page + 1] = { entry, redis.call('EXISTS', at('job', id)) == 1 and snapshot(id) }
end
return page
