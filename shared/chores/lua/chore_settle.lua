-- chore_settle: renew, end or postpone a claimed chore.
-- ARGV: chore, verb, token, ms, note
--
--   renew      hold it for `ms` more
--   finish     it is done; the record is kept for `ms`
--   fail       it is given up; the record is kept for `ms`
--   postpone   it was tried; it is due in `ms`, or sleeps ('inf')
--   release    it was not tried; it is due in `ms`
--   blame      like release, but the claim counts as if its holder had died
--
-- If the chore got more to do meanwhile, it is due at once. Returns 1, or 0 if the claim was lost.
local chore, verb, token, ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = at('chore', chore)
local row = redis.call('HMGET', key, 'token', 'kind', 'version', 'seen')
if not row[1] or row[1] ~= token then
  return 0
end
local open = at('chores', row[2])
if verb == 'renew' then
  redis.call('ZADD', open, in_a_while(ms), chore)
  return 1
end
redis.call('HSET', key, 'token', '')
if verb ~= 'blame' then
  redis.call('HSET', key, 'claims', 0)
end
if verb == 'postpone' then
  redis.call('HINCRBY', key, 'attempts', 1)
end
if verb ~= 'release' and verb ~= 'blame' then
  redis.call('HSET', key, 'note', ARGV[5])
end
if row[3] ~= row[4] then
  redis.call('ZADD', open, now, chore)
elseif verb == 'finish' or verb == 'fail' then
  redis.call('ZREM', open, chore)
  redis.call('HSET', key, 'state', verb == 'fail' and 'failed' or 'done')
  redis.call('PEXPIRE', key, ms)
else
  redis.call('ZADD', open, in_a_while(ms), chore)
end
return 1
