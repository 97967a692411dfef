-- list: read jobs, the newest first.
-- ARGV: upper end of the entries as ZREVRANGEBYLEX takes it ('+' or '(<entry>'), most jobs, owner
-- ('' for all)
-- Returns pairs {entry, snapshot}.
local jobs = ARGV[3] == '' and at('jobs') or at('owner', ARGV[3], 'jobs')
local page = {}
for _, entry in ipairs(redis.call('ZREVRANGEBYLEX', jobs, ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  page[#page + 1] = { entry, snapshot(string.match(entry, ':(.+)$')) }
end
return page
