-- An ended job whose time is over: first what it holds goes (input, result, events), and much later the record.
-- KEYS 1 record  2 input  3 result  4 events  5 ended jobs by time  6 jobs of the project  7 jobs of the token  8 bytes kept
-- ARGV 1 id  2 seconds that the record stays (0: it goes too). Returns 1.
local size = redis.call('STRLEN', KEYS[2]) + redis.call('STRLEN', KEYS[3])
if size > 0 then redis.call('DECRBY', KEYS[8], size) end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
local stays = tonumber(ARGV[2])
if stays > 0 then
  redis.call('HSET', KEYS[1], 'gone', 'true')
  redis.call('ZADD', KEYS[5], redis.call('TIME')[1] + stays, ARGV[1])
else
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('ZREM', KEYS[6], ARGV[1])
  redis.call('ZREM', KEYS[7], ARGV[1])
end
return 1
