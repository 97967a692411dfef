-- pending_chunks: count the leases of a network that could be taken now, up to a limit.
-- ARGV: most images of a lease that cost 1, most leases to count, network
-- Returns the number.
local chunk, at_most = tonumber(ARGV[1]), tonumber(ARGV[2])
promote_waiting()

-- Every queued job has at least one lease to give, so looking at `at_most` jobs is enough.
local function count_chunks(jobs, chunks)
  for _, id in ipairs(redis.call('ZRANGE', jobs, 0, at_most - 1)) do
    local job = load_job(id)
    if job then
      chunks = chunks + due_retries(job) + math.ceil(fresh_images(job) / chunk_size(job, chunk))
    end
    if chunks >= at_most then
      return at_most
    end
  end
  return chunks
end

local chunks = 0
for _, urgency in ipairs(URGENCIES) do
  local lane = lane_of(urgency, ARGV[3])
  for _, owner in ipairs(redis.call('ZRANGE', at('turns', lane), 0, at_most - 1)) do
    chunks = count_chunks(at('owner', owner, lane), chunks)
    if chunks >= at_most then
      return at_most
    end
  end
end
return chunks
