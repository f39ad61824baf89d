-- Accept a job: record, input, place in the queue, idempotency key: all or nothing, before anybody is told 202.
-- KEYS  1 record  2 input  3 queue of the service  4 services with work  5 deadlines  6 idempotency key  7 sequence
--       8 queued by this token  9 jobs of the project by time
-- ARGV  1 id  2 service  3 priority 0..100  4 deadline in seconds from now  5 digest of the request ('' without a key)
--       6 seconds that a key lives  7 most queued jobs of the token (0: no limit)  8 input, then field, value, ...
-- Returns {word, id}: ok | known (the key's job) | reused (same key, another request) | full
if ARGV[5] ~= '' then
  local known = redis.call('HMGET', KEYS[6], 'job', 'digest')
  if known[1] then
    if known[2] == ARGV[5] then return {'known', known[1]} end
    return {'reused', known[1]}
  end
end
local limit = tonumber(ARGV[7])
if limit > 0 and redis.call('SCARD', KEYS[8]) >= limit then return {'full', ARGV[1]} end
local clock = redis.call('TIME')
local seconds = tonumber(clock[1])
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
local deadline = seconds + tonumber(ARGV[4])
for i = 9, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
local place = string.format('%.0f', (100 - tonumber(ARGV[3])) * 1e13 + redis.call('INCR', KEYS[7]))
redis.call('HSET', KEYS[1], 'status', '"queued"', 'created_at', now, 'deadline_at', deadline, 'place', place)
redis.call('SET', KEYS[2], ARGV[8])
redis.call('ZADD', KEYS[3], place, ARGV[1])
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('ZADD', KEYS[5], deadline, ARGV[1])
redis.call('SADD', KEYS[8], ARGV[1])
redis.call('ZADD', KEYS[9], now, ARGV[1])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[6], 'job', ARGV[1], 'digest', ARGV[5])
  redis.call('EXPIRE', KEYS[6], ARGV[6])
end
return {'ok', ARGV[1]}
