-- One arrow of a job: compare status and epoch, then write; keep result and event; leave the sets that it no longer belongs to.
-- KEYS  1 record  2 queue of the service  3 services with work  4 leases  5 deadlines  6 queued by this token
--       7 ended jobs by time  8 events of the job  9 result  10 outbox of webhooks
-- ARGV  1 control (JSON: id, service, expect [statuses], epoch, to, crashed, crash_limit, keep_seconds, event, webhook)
--       2 result ('' without)  then field, value, ...
-- Returns {word, status}: ok | absent | refused (with the status there is)
local c = cjson.decode(ARGV[1])
local found = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'place', 'crashes')
if not found[1] then return {'absent', ''} end
local fits = false
for _, status in ipairs(c.expect) do fits = fits or found[1] == '"' .. status .. '"' end
if not fits or (c.epoch and tonumber(found[2] or '0') ~= c.epoch) then return {'refused', found[1]} end
local clock = redis.call('TIME')
local seconds = tonumber(clock[1])
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
local to = c.to
if to == 'queued' and c.crashed then
  if redis.call('HINCRBY', KEYS[1], 'crashes', 1) >= c.crash_limit then
    to = 'failed'
    c.event = c.poisoned_event
    redis.call('HSET', KEYS[1], 'reason', c.poisoned)
  end
end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'status', '"' .. to .. '"')
redis.call('ZREM', KEYS[4], c.id)
if to == 'queued' then
  redis.call('ZADD', KEYS[2], found[3], c.id)
  redis.call('SADD', KEYS[3], c.service)
else
  redis.call('ZREM', KEYS[2], c.id)
  redis.call('ZREM', KEYS[5], c.id)
  redis.call('SREM', KEYS[6], c.id)
  redis.call('ZADD', KEYS[7], seconds + c.keep_seconds, c.id)
  redis.call('HSET', KEYS[1], 'finished_at', now, 'expires_at', seconds + c.keep_seconds)
  if ARGV[2] ~= '' then redis.call('SET', KEYS[9], ARGV[2], 'EX', c.keep_seconds) end
  if c.webhook then redis.call('XADD', KEYS[10], '*', 'job', c.id, 'type', 'job.' .. to, 'time', now) end
end
redis.call('XADD', KEYS[8], 'MAXLEN', '~', 10000, '*', 'event', to == 'queued' and 'status' or 'done', 'data', to)
redis.call('EXPIRE', KEYS[8], 172800)
return {'ok', to}
