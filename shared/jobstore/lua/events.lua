-- events: read the events of a job after a given one.
-- ARGV: job, number of that event ('0' for all), most events
-- Returns {number before the first event ever, number of the last, entries}; nil if there is no such job.
local key = at('job', ARGV[1])
local row = redis.call('HMGET', key, 'events_from', 'events')
if not row[1] then
  return nil
end
return { row[1], row[2], redis.call('XRANGE', key .. ':events', '(' .. ARGV[2], '+', 'COUNT', ARGV[3]) }
