-- chore_add: add a chore, unless it is known already.
-- ARGV: chore, kind, job, payload, delay_ms ('inf' lets it sleep)
local chore, kind, job = ARGV[1], ARGV[2], ARGV[3]
local key, of_job = at('chore', chore), at('chores-of', job)
local state = redis.call('HGET', key, 'state')
if state == 'open' then
  do_once_more(key)
elseif not state then
  redis.call('HSET', key, 'kind', kind, 'job', job, 'payload', ARGV[4], 'state', 'open', 'created', now,
    'attempts', 0, 'claims', 0, 'note', '', 'token', '', 'version', 0, 'seen', 0)
  redis.call('ZADD', at('chores', kind), in_a_while(ARGV[5]), chore)
  redis.call('ZADD', of_job, now, chore)
end
redis.call('PEXPIRE', of_job, OF_JOB_MS)
