-- Give the lease back if it is still ours. KEYS 1 leader. ARGV 1 holder.
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
