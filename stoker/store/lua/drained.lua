-- Has every live router reported 0 requests in flight on this session?
-- KEYS 1 routers seen  2 drain of the session. ARGV 1 seconds after which a silent router counts as gone.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
for _, router in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - tonumber(ARGV[1]), '+inf')) do
  if redis.call('HGET', KEYS[2], router) ~= '0' then return 0 end
end
return 1
