-- bits: read part of a job's bitmaps, and the images that are in a lease.
-- ARGV: job, first byte, last byte (-1 for all)
-- Returns {total, state, succeeded, failed, images in a lease}, or nil if there is no such job.
--
-- This is a script and not a transaction, because an old server that is out of memory refuses those.
local key = at('job', ARGV[1])
local row = redis.call('HMGET', key, 'total', 'state')
if not row[1] then
  return nil
end
return {
  tonumber(row[1]), row[2],
  redis.call('GETRANGE', key .. ':ok', ARGV[2], ARGV[3]),
  redis.call('GETRANGE', key .. ':bad', ARGV[2], ARGV[3]),
  redis.call('HKEYS', key .. ':held'),
}
