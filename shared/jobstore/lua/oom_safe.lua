-- carry_on: put before scripts that must go on when the server has reached `maxmemory`.
--
-- A server out of memory refuses only the first write of a script, if that may need memory: once a
-- script has written, it is let finish, for it cannot be stopped in the middle. So these scripts
-- begin with a write that needs none and does nothing: the root is never a key. That holds for all
-- servers alike, where the flag `allow-oom` is known to some only and an error to the others.
redis.call('DEL', KEYS[1])
