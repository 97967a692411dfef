-- is_reconciled: say whether the jobs were compared with the object store since this server started,
-- and hold on to when the question was first asked: a token that is lost whenever data are.
-- ARGV: a new token
-- Returns {1 or 0, the token that `mark_reconciled` needs}.
--
-- The server's run is a part of the answer, so that a restart, a copy restored (which needs one) and
-- a failover all make it no; the key itself goes with all the others. INFO comes from the very node
-- that holds the keys.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local kept = redis.call('GET', at('reconciled')) or ''
local of_run, token, answer = string.match(kept, '^(%w+):(%w+):(%w+)$')
if of_run ~= run then
  redis.call('SET', at('reconciled'), run .. ':' .. ARGV[1] .. ':no')
  return { 0, ARGV[1] }
end
return { answer == 'yes' and 1 or 0, token }
