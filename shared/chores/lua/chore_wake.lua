-- chore_wake: make an open chore due now; if it is being done, it is done once more.
-- ARGV: chore
local key = at('chore', ARGV[1])
local row = redis.call('HMGET', key, 'state', 'token', 'kind')
if row[1] == 'open' then
  do_once_more(key)
  if row[2] == '' then
    redis.call('ZADD', at('chores', row[3]), now, ARGV[1])
  end
end
