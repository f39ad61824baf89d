-- An engine's own counter stands at so much: add what is new since it was last told. A lower figure is an engine that began anew.
-- KEYS  1 record of the service  2 its counters  3 what the session's engine was last known to have counted
-- ARGV  1 seconds to remember that, then field, count, ...
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 2, #ARGV, 2 do
  local count = tonumber(ARGV[i + 1])
  local before = tonumber(redis.call('HGET', KEYS[3], ARGV[i]) or '0')
  local new = count < before and count or count - before
  if new > 0 then redis.call('HINCRBY', KEYS[2], ARGV[i], string.format('%.0f', new)) end
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[3], ARGV[1])
return 1
