-- May a ring be sent? Not while one is on its way (the mark), nor when the queue is full of unanswered ones.
-- KEYS 1 mark  2 queue. ARGV 1 life of the mark in ms  2 queue limit. Returns 1 if the caller should ring.
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 1 end
return 0
