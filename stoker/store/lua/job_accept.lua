-- Accept a job: record, input, place in the queue, idempotency key: all or nothing, before anybody is told 202.
-- KEYS  1 record  2 input  3 queue of the service  4 services with work  5 deadlines  6 idempotency key  7 sequence
--       8 unfinished jobs of the token  9 jobs of the project by time  10 jobs of the token by time  11 bytes kept
--       (Event 1, that it is queued, is told from the record: a stream of one entry would take 4 KiB.)
-- ARGV  1 id  2 service  3 priority 0..100  4 deadline in seconds from now  5 digest of the request ('' without a key)
--       6 seconds that a key lives  7 most unfinished jobs of the token (0: no limit)  8 most bytes kept (0: no limit)
--       9 input, then field, value, ...
-- Returns {word, id}: ok | known (the key's job) | reused (same key, another request) | full | bytes
if ARGV[5] ~= '' then
  local known = redis.call('HMGET', KEYS[6], 'job', 'digest')
  if known[1] then
    if known[2] == ARGV[5] then return {'known', known[1]} end
    return {'reused', known[1]}
  end
end
local limit, most = tonumber(ARGV[7]), tonumber(ARGV[8])
if limit > 0 and redis.call('SCARD', KEYS[8]) >= limit then return {'full', ARGV[1]} end
local size = string.len(ARGV[9])
if most > 0 and tonumber(redis.call('GET', KEYS[11]) or '0') + size > most then return {'bytes', ARGV[1]} end
local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
local deadline = string.format('%.3f', tonumber(now) + tonumber(ARGV[4]))
for i = 10, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
local place = string.format('%.0f', (100 - tonumber(ARGV[3])) * 1e13 + redis.call('INCR', KEYS[7]))
redis.call('HSET', KEYS[1], 'status', '"queued"', 'created_at', now, 'deadline_at', deadline, 'place', place, 'events', 1)
redis.call('SET', KEYS[2], ARGV[9])
redis.call('INCRBY', KEYS[11], size)
redis.call('ZADD', KEYS[3], place, ARGV[1])
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('ZADD', KEYS[5], deadline, ARGV[1])
redis.call('SADD', KEYS[8], ARGV[1])
redis.call('ZADD', KEYS[9], now, ARGV[1])
redis.call('ZADD', KEYS[10], now, ARGV[1])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[6], 'job', ARGV[1], 'digest', ARGV[5])
  redis.call('EXPIRE', KEYS[6], ARGV[6])
end
return {'ok', ARGV[1]}
