-- mark_reconciled: record that the jobs were compared with the object store since `is_reconciled` returned
-- a token. This does not count if data were lost since.
-- ARGV: the token
-- Returns 1, or 0 if it does not count.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local of_run, token = string.match(redis.call('GET', at('reconciled')) or '', '^(%w+):(%w+):')
if of_run ~= run or token ~= ARGV[1] then
  return 0
end
redis.call('SET', at('reconciled'), run .. ':' .. token .. ':yes')
return 1
