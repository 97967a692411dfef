-- create: record a new job; a known job stays as it is.
-- ARGV: job, its entry in the list, owner, images, bytes, quota (JSON, see exceeded), share of
-- the memory that may be used, then fields and values of its hash
-- Returns nil, or why the job was not recorded: {'memory'} or what `exceeded` returns.
if redis.call('EXISTS', at('job', ARGV[1])) == 1 then
  return nil
end
local refusal = is_full(tonumber(ARGV[7])) and { 'memory' }
  or exceeded(ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6])
if refusal then
  return refusal
end
settle(record(ARGV[1], ARGV[2], { unpack(ARGV, 8) }))
return nil
