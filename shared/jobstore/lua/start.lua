-- start: queue a job whose uploads are complete.
-- ARGV: job, rule (JSON, see request_move), token of this request, number of images ('' if known already),
-- bytes of its photos ('' if known already)
-- Returns {1, snapshot}; {0, state} if the state does not allow it; {2, ...} with what `exceeded` returns;
-- {3, total} if the number is missing or is not the known one; nil if there is no such job.
local job = load_job(ARGV[1])
if not job then
  return nil
end
local rule, total = cjson.decode(ARGV[2]), tonumber(ARGV[4]) or job.total
local bytes = tonumber(ARGV[5]) or job.bytes
if rule.moves[job.state] then
  if total == 0 or (job.total ~= 0 and job.total ~= total) then
    return { 3, job.total }
  end
  -- Images and bytes that were known before are within the quota already.
  local quota = redis.call('HGET', job.key, 'quota') or '{}'
  local refusal = exceeded(job.owner, total - job.total, bytes - job.bytes, quota)
  if refusal then
    return { 2, unpack(refusal) }
  end
end
local answer = request_move(job, rule, ARGV[3])
if answer == 'refused' then
  return { 0, job.state }
end
if answer == 'moved' then
  if job.total == 0 then
    set(job, 'total', total)
    allocate(job)
  end
  if bytes ~= job.bytes then
    set(job, 'bytes', bytes)
  end
  settle(job)
end
return { 1, snapshot(job.id) }
