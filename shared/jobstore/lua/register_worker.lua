-- register_worker: record that a worker is alive, for a while.
-- ARGV: worker, its slots, lifetime in ms, the networks that it serves ("<model>=<cost> ...")
redis.call('ZADD', at('workers'), now + ARGV[3], ARGV[1])
redis.call('HSET', at('slots'), ARGV[1], ARGV[2])
redis.call('HSET', at('models'), ARGV[1], ARGV[4])
