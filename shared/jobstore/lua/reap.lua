-- reap: take back expired leases. Unfinished images go back to their jobs. Only the image in hand is charged
-- an attempt, and fails at the last one. If that was a job's last image, the job waits to be finalised.
-- ARGV: failure of a crashed image (JSON), policy (JSON, see charge_attempt), most leases
-- Returns how many leases were taken back.
local failure, policy = ARGV[1], cjson.decode(ARGV[2])

local function reap(lease)
  local row = redis.call('HMGET', at('lease', lease), 'job', 'hand')
  local job = row[1] and load_job(row[1])
  if not job then
    return drop_lease(lease)
  end
  local hand = row[2]
  -- A late renewal may name an image that has left the lease since; then no image is to blame.
  local was_in_hand = hand ~= '' and redis.call('ZSCORE', at('lease', lease, 'images'), hand)
  return_images(job, lease)
  if was_in_hand then
    charge_attempt(job, tonumber(hand), failure, policy)
  end
  settle(job)
end

local expired = redis.call('ZRANGEBYSCORE', at('expiry'), '-inf', now, 'LIMIT', 0, ARGV[3])
for _, lease in ipairs(expired) do
  reap(lease)
end
return #expired
