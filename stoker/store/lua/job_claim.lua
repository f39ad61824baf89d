-- Take the next queued job of a service: highest priority, then oldest. The claim is a lease; its epoch fences the claimer.
-- KEYS  1 queue of the service  2 services with work  3 leases  4 deadlines
-- ARGV  1 service  2 runner  3 lease in ms  4 prefix of the records' keys  5 prefix of the event logs' keys
-- Returns {id, epoch}, or {} when nothing is queued.
local clock = redis.call('TIME')
local seconds = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
for _ = 1, 100 do
  local id = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not id then
    redis.call('SREM', KEYS[2], ARGV[1])
    return {}
  end
  redis.call('ZREM', KEYS[1], id)
  local record = ARGV[4] .. id
  local deadline = tonumber(redis.call('HGET', record, 'deadline_at') or '0')
  if redis.call('HGET', record, 'status') == '"queued"' and deadline > seconds then
    local epoch = redis.call('HINCRBY', record, 'epoch', 1)
    local attempt = redis.call('HINCRBY', record, 'attempts', 1)
    redis.call('HSET', record, 'status', '"running"', 'runner', '"' .. ARGV[2] .. '"', 'started_at', now)
    redis.call('ZADD', KEYS[3], seconds + tonumber(ARGV[3]) / 1000, id)
    local number = redis.call('HINCRBY', record, 'events', 1)
    local data = '{"status":"running","attempt":' .. attempt .. ',"time":' .. now .. '}'
    redis.call('XADD', ARGV[5] .. id, number .. '-0', 'event', 'status', 'data', data)
    return {id, epoch}
  end
end
return {}
