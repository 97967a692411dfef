-- acquire: take a short lock, or extend it if the caller holds it; a time of 0 releases it.
-- ARGV: lock, owner, ms
-- Returns 1 if the caller holds it, else 0.
local key, owner, ms = at('lock', ARGV[1]), ARGV[2], tonumber(ARGV[3])
if ms > 0 and redis.call('SET', key, owner, 'NX', 'PX', ms) then
  return 1
end
if redis.call('GET', key) ~= owner then
  return 0
end
redis.call('PEXPIRE', key, ms)
return ms > 0 and 1 or 0
