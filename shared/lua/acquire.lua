-- acquire: take a short lock, or extend it if it is the caller's.
-- ARGV: lock, owner, ms
-- Returns 1 if the caller holds it, else 0.
local key, owner, ms = at('lock', ARGV[1]), ARGV[2], ARGV[3]
if redis.call('SET', key, owner, 'NX', 'PX', ms) then
  return 1
end
if redis.call('GET', key) ~= owner then
  return 0
end
redis.call('PEXPIRE', key, ms)
return 1
