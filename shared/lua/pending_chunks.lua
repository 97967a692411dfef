-- pending_chunks: count the leases that could be taken now, up to a bound.
-- ARGV: most images of a lease, most leases to count
-- Returns the number.
local chunk, at_most = tonumber(ARGV[1]), tonumber(ARGV[2])
promote_waiting()
local chunks = 0
-- Every active job has at least one lease to give, so `at_most` jobs are enough to look at.
for _, id in ipairs(redis.call('ZRANGE', at('active'), 0, at_most - 1)) do
  local job = load_job(id)
  if job then
    chunks = chunks + due_retries(job) + math.ceil(fresh_images(job) / chunk)
  end
  if chunks >= at_most then
    return at_most
  end
end
return chunks
