-- chore_claim: claim the chore that has been due longest.
-- ARGV: token, for how long (ms), kind...
-- Returns its row, or nil if none is due.

-- Return the first due chore of a kind and its due time. Entries of chores that are gone are removed.
local function first_of(kind)
  while true do
    local found = redis.call('ZRANGEBYSCORE', at('chores', kind), '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
    if not found[1] or redis.call('EXISTS', at('chore', found[1])) == 1 then
      return found[1], tonumber(found[2])
    end
    redis.call('ZREM', at('chores', kind), found[1])
  end
end

local first, first_due, first_kind
for i = 3, #ARGV do
  local chore, due = first_of(ARGV[i])
  if chore and (not first or due < first_due) then
    first, first_due, first_kind = chore, due, ARGV[i]
  end
end
if not first then
  return nil
end
local key = at('chore', first)
redis.call('ZADD', at('chores', first_kind), in_a_while(ARGV[2]), first)
redis.call('HSET', key, 'token', ARGV[1], 'seen', redis.call('HGET', key, 'version'))
redis.call('HINCRBY', key, 'claims', 1)
return row_of(first)
