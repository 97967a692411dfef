-- register_worker: record that a worker is alive, for a while.
-- ARGV: worker, its slots, lifetime in ms
redis.call('ZADD', at('workers'), now + ARGV[3], ARGV[1])
redis.call('HSET', at('slots'), ARGV[1], ARGV[2])
