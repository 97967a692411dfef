-- admit: say whether a job could be recorded now.
-- ARGV: owner, images, quota (JSON, see exceeded), share of the memory that may be used
-- Returns nil, or why not: {'memory'} or what `exceeded` returns.
if is_full(tonumber(ARGV[4])) then
  return { 'memory' }
end
-- Its photos have not been counted yet, but they have a byte at least.
return exceeded(ARGV[1], tonumber(ARGV[2]), 1, ARGV[3])
