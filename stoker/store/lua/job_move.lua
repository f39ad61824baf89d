-- One arrow of a job: compare status and epoch, then write; keep result and event; leave the sets that it no longer belongs to.
-- KEYS  1 record  2 queue of the service  3 services with work  4 leases  5 deadlines  6 unfinished jobs of the token
--       7 ended jobs by time  8 events of the job  9 result  10 outbox of webhooks  11 jobs that pause  12 bytes kept
-- ARGV  1 control (JSON: id, service, expect [statuses], epoch, to, crashed, crash_limit, poisoned, keep_seconds, webhook,
--         overdue: only if its lease is over, pause: seconds before it is queued again)
--       2 result ('' without)  then field, value, ...
-- Returns {word, status}: ok | absent | refused (with the status there is)
local c = cjson.decode(ARGV[1])
local found = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'place', 'attempts')
if not found[1] then return {'absent', ''} end
local fits = false
for _, status in ipairs(c.expect) do fits = fits or found[1] == '"' .. status .. '"' end
if not fits or (c.epoch and tonumber(found[2] or '0') ~= c.epoch) then return {'refused', found[1]} end
local clock = redis.call('TIME')
local seconds = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
if c.overdue and tonumber(redis.call('ZSCORE', KEYS[4], c.id) or '0') > seconds then return {'refused', found[1]} end
local to = c.to
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if to == 'queued' and c.crashed then
  if redis.call('HINCRBY', KEYS[1], 'crashes', 1) >= c.crash_limit then
    to = 'failed'
    redis.call('HSET', KEYS[1], 'reason', c.poisoned)
  end
end
redis.call('HSET', KEYS[1], 'status', '"' .. to .. '"')
redis.call('ZREM', KEYS[4], c.id)
if to == 'queued' then
  if c.pause and c.pause > 0 then
    redis.call('ZADD', KEYS[11], seconds + c.pause, c.id)
  else
    redis.call('ZADD', KEYS[2], found[3], c.id)
    redis.call('SADD', KEYS[3], c.service)
  end
else
  redis.call('ZREM', KEYS[2], c.id)
  redis.call('ZREM', KEYS[11], c.id)
  redis.call('ZREM', KEYS[5], c.id)
  redis.call('SREM', KEYS[6], c.id)
  local over = string.format('%.3f', seconds + c.keep_seconds)
  redis.call('ZADD', KEYS[7], over, c.id)
  redis.call('HSET', KEYS[1], 'finished_at', now, 'expires_at', over)
  if ARGV[2] ~= '' then
    redis.call('SET', KEYS[9], ARGV[2])
    redis.call('INCRBY', KEYS[12], string.len(ARGV[2]))
  end
  if c.webhook then redis.call('ZADD', KEYS[10], now, c.id) end
end
local number = redis.call('HINCRBY', KEYS[1], 'events', 1)
local data = '{"status":"' .. to .. '","attempt":' .. (found[4] or '0') .. ',"time":' .. now .. '}'
redis.call('XADD', KEYS[8], 'MAXLEN', '~', 20000, number .. '-0', 'event', to == 'queued' and 'status' or 'done', 'data', data)
return {'ok', to}
