-- get: read one job.
-- ARGV: job
-- Returns its snapshot, or nil if there is no such job.
if redis.call('EXISTS', at('job', ARGV[1])) == 0 then
  return nil
end
return snapshot(ARGV[1])
