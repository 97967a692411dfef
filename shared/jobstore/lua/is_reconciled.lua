-- is_reconciled: say whether the jobs were compared with the object store since this server started. The
-- first call stores a token, which is lost whenever data are lost.
-- ARGV: a new token
-- Returns {1 or 0, the token that `mark_reconciled` needs}.
--
-- The key names the server's run, so a restart, a failover, or a restored copy (which needs a restart)
-- makes the answer no; a loss of data loses the key too. INFO comes from the very node that holds
-- the keys.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local kept = redis.call('GET', at('reconciled')) or ''
local of_run, token, answer = string.match(kept, '^(%w+):(%w+):(%w+)$')
if of_run ~= run then
  redis.call('SET', at('reconciled'), run .. ':' .. ARGV[1] .. ':no')
  return { 0, ARGV[1] }
end
return { answer == 'yes' and 1 or 0, token }
