-- oom_safe: comes before scripts that must work even if the server has reached `maxmemory`.
--
-- A server that is out of memory refuses only the first write of a script, and only if that write may need
-- memory. Once a script has written, it may finish, because it cannot be stopped half-way. So these
-- scripts begin with a write that needs no memory and does nothing, since the root is never a key. All
-- servers behave so, while only some know the flag `allow-oom` and the others call it an error.
redis.call('DEL', KEYS[1])
