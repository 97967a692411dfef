-- idempotency: what becomes of a submission under an Idempotency-Key.
-- ARGV: entry, verb, token (of the caller), hold_ms, keep_ms, fingerprint, job
-- An entry is a hash: token and until (who works on it, and how long that is believed), then
-- fingerprint and job (once the payload is known), then done. Times are of the server's clock.
--
--   claim    take the entry, or tell how it stands: { standing, fingerprint, job, milliseconds left }
--   renew    believe the holder for another while
--   seal     record the payload and the job about to be recorded
--   finish   keep the answer
--   release  forget the entry
--
-- All but claim return 1, or 0 if the caller does not hold the entry any more. A repeated call
-- changes nothing more.
local key = KEYS[1] .. ':idempotency:' .. ARGV[1]
local verb, token, hold, keep = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local row = redis.call('HMGET', key, 'token', 'until', 'fingerprint', 'job', 'done')
local holder, believed, fingerprint, job, done = row[1], tonumber(row[2] or 0), row[3], row[4], row[5]

-- A sealed entry must outlive its holder: it alone tells whether there is a job already.
local function hold_on(sealed)
  redis.call('HSET', key, 'token', token, 'until', now + hold)
  redis.call('PEXPIRE', key, sealed and keep or hold)
end

if verb == 'claim' then
  if done then
    return { 'done', fingerprint, job, 0 }
  end
  if holder and holder ~= token and believed > now then
    return { 'running', '', '', believed - now }
  end
  hold_on(fingerprint)
  if fingerprint then
    return { 'sealed', fingerprint, job, 0 }
  end
  return { 'new', '', '', 0 }
end

if holder ~= token then
  return 0
end
if verb == 'renew' then
  hold_on(fingerprint)
elseif verb == 'seal' then
  redis.call('HSET', key, 'fingerprint', ARGV[6], 'job', ARGV[7])
  hold_on(true)
elseif verb == 'finish' then
  redis.call('HSET', key, 'done', 1)
  redis.call('PEXPIRE', key, keep)
elseif verb == 'release' and not done then
  redis.call('DEL', key)
end
return 1
