-- idempotency: claim, renew, seal, finish or release an Idempotency-Key.
-- ARGV: entry, verb, token (of the caller), hold_ms, keep_ms, fingerprint, job
-- An entry is a hash: token and until (its holder, and until when that holds), then fingerprint and job
-- (once it is sealed), then done. Times are by the server's clock.
--
--   claim    take the entry, or return its state: { standing, fingerprint, job, milliseconds left }
--   renew    extend the hold
--   seal     store the payload's fingerprint and the id of the job that comes next
--   finish   keep the answer
--   release  delete the entry
--
-- All but claim return 1, or 0 if the caller no longer holds the entry. A repeated call changes nothing
-- more.
local key = KEYS[1] .. ':idempotency:' .. ARGV[1]
local verb, token, hold, keep = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local row = redis.call('HMGET', key, 'token', 'until', 'fingerprint', 'job', 'done')
local holder, held_until, fingerprint, job, done = row[1], tonumber(row[2] or 0), row[3], row[4], row[5]

-- A sealed entry must outlive its holder, because only it tells whether there may be a job.
local function hold_key(sealed)
  redis.call('HSET', key, 'token', token, 'until', now + hold)
  redis.call('PEXPIRE', key, sealed and keep or hold)
end

if verb == 'claim' then
  if done then
    return { 'done', fingerprint, job, 0 }
  end
  if holder and holder ~= token and held_until > now then
    return { 'running', '', '', held_until - now }
  end
  hold_key(fingerprint)
  if fingerprint then
    return { 'sealed', fingerprint, job, 0 }
  end
  return { 'new', '', '', 0 }
end

if holder ~= token then
  return 0
end
if verb == 'renew' then
  hold_key(fingerprint)
elseif verb == 'seal' then
  redis.call('HSET', key, 'fingerprint', ARGV[6], 'job', ARGV[7])
  hold_key(true)
elseif verb == 'finish' then
  redis.call('HSET', key, 'done', 1)
  redis.call('PEXPIRE', key, keep)
elseif verb == 'release' and not done then
  redis.call('DEL', key)
end
return 1
