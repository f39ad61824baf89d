-- Take or renew the leader's lease. KEYS 1 leader  2 epoch counter. ARGV 1 holder  2 lease in ms.
-- Returns {held (1|0), epoch, holder}. A new holder gets a new epoch; the counter outlives every lease.
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then
  return {0, tonumber(redis.call('HGET', KEYS[1], 'epoch')), holder}
end
local epoch
if holder then
  epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch'))
else
  epoch = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'epoch', epoch)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, epoch, ARGV[1]}
