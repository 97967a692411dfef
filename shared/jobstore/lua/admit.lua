-- admit: say whether a job could be recorded now.
-- ARGV: owner, images, quota (JSON, see exceeded), share of the memory that may be used
-- Returns nil, or why not: {'memory'} or what `exceeded` returns.
if is_full(tonumber(ARGV[4])) then
  return { 'memory' }
end
-- The bytes of its photos are unknown, but there is at least one.
return exceeded(ARGV[1], tonumber(ARGV[2]), 1, ARGV[3])
