-- Take webhooks whose time has come; they come due again after the hold, should whoever took them die.
-- KEYS 1 outbox  2 tries. ARGV 1 hold in seconds  2 at most so many. Returns id, number of this try, id, number, ...
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), id)
  taken[#taken + 1] = id
  taken[#taken + 1] = redis.call('HINCRBY', KEYS[2], id, 1)
end
return taken
