-- chore_forget: delete all chores of a job; their holders lose them.
-- ARGV: job
local of_job = at('chores-of', ARGV[1])
for _, chore in ipairs(redis.call('ZRANGE', of_job, 0, -1)) do
  local kind = redis.call('HGET', at('chore', chore), 'kind')
  if kind then
    redis.call('ZREM', at('chores', kind), chore)
    redis.call('DEL', at('chore', chore))
  end
end
redis.call('DEL', of_job)
