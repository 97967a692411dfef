-- chore_list: read the rows of a job's chores, oldest first, or of one chore.
-- ARGV: job, chore (one of them is '')
local chores = { ARGV[2] }
if ARGV[2] == '' then
  chores = redis.call('ZRANGE', at('chores-of', ARGV[1]), 0, -1)
end
local rows = {}
for _, chore in ipairs(chores) do
  rows[#rows + 1] = row_of(chore)
end
return rows
