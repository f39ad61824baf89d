-- Compare, then write one record, its index, the change feed and an event: all or nothing.
-- KEYS  1 record  2 index  3 feed  4 feed version  5 leader epoch  6 events  7 events of the object
--       8 model names of the project  9 revisions of the service
--       10 record of the service it is about  11 that service's counters  12 the cluster's counters
-- ARGV  1 control (JSON), then field, value, field, value, ...  Values are JSON texts and are never decoded here.
-- Returns {word, feed version, time}: ok | same | absent | present | stale | refused (with the field) | taken (with the name)
local c = cjson.decode(ARGV[1])
local exists = redis.call('EXISTS', KEYS[1]) == 1
if c.must == 'exist' and not exists then return {'absent'} end
if c.must == 'absent' and exists then return {'present'} end
if c.epoch and tonumber(redis.call('GET', KEYS[5]) or '0') ~= c.epoch then return {'stale'} end
for _, guard in ipairs(c.expect or {}) do
  local current, fits = redis.call('HGET', KEYS[1], guard[1]) or 'null', guard[3]
  for _, value in ipairs(guard[2]) do
    if current == value then fits = not guard[3] end
  end
  if not fits then return {'refused', guard[1], current} end
end
if c.names then
  for _, name in ipairs(c.names) do
    local owner = redis.call('HGET', KEYS[8], name)
    if owner and owner ~= c.id then return {'taken', name, owner} end
  end
  local held = redis.call('HGETALL', KEYS[8])
  for i = 1, #held, 2 do
    if held[i + 1] == c.id then redis.call('HDEL', KEYS[8], held[i]) end
  end
  for _, name in ipairs(c.names) do redis.call('HSET', KEYS[8], name, c.id) end
end

local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
local changed = not exists
local seen = {}  -- what is measured: [name, since (a field with a time), by (a field whose old value is the label) or '', bounds]
for i, o in ipairs(c.observe or {}) do
  local since, label = tonumber(redis.call('HGET', KEYS[1], o[2]) or 'null'), ''
  if o[3] ~= '' then
    local old, ends = redis.call('HGET', KEYS[1], o[3]) or 'null', false
    for k = 2, #ARGV, 2 do
      if ARGV[k] == o[3] and ARGV[k + 1] ~= old then ends = old ~= 'null' end
    end
    if ends then label = '|' .. string.gsub(old, '"', '') else since = nil end
  end
  if since then seen[#seen + 1] = {o[1] .. label, math.max(0, tonumber(now) - since), o[4], o[3] ~= '' and o[2]} end
end
if c.delete then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], c.id)
  if c.kind == 'service' then redis.call('DEL', KEYS[9], KEYS[11]) end
  changed = exists
else
  for i = 2, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
      changed = true
    end
  end
  if changed or c.touch then
    for _, field in ipairs(c.stamp or {}) do
      redis.call('HSET', KEYS[1], field, now)
      changed = true
    end
  end
  redis.call('SADD', KEYS[2], c.id)
end
if changed then
  if c.count and redis.call('EXISTS', KEYS[10]) == 1 then
    for field, amount in pairs(c.count) do redis.call('HINCRBY', KEYS[11], field, amount) end
  end
  for _, one in ipairs(seen) do
    local bucket = 0
    while one[3][bucket + 1] and one[2] > one[3][bucket + 1] do bucket = bucket + 1 end
    redis.call('HINCRBY', KEYS[12], one[1] .. '|b' .. bucket, 1)
    redis.call('HINCRBY', KEYS[12], one[1] .. '|us', string.format('%.0f', one[2] * 1e6))
    if one[4] then redis.call('HSET', KEYS[1], one[4], now) end
  end
end
if not changed and not c.event then return {'same', tonumber(redis.call('GET', KEYS[4]) or '0'), now} end
if c.revision then
  redis.call('LPUSH', KEYS[9], c.revision)
  redis.call('LTRIM', KEYS[9], 0, c.keep_revisions - 1)
end
local version = redis.call('INCR', KEYS[4])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', c.feed_length, version .. '-0', 'kind', c.kind, 'id', c.id, 'time', now)
if c.event then
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', 10000, '*', 'data', c.event, 'time', now)
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', 500, '*', 'data', c.event, 'time', now)
  redis.call('EXPIRE', KEYS[7], c.keep_events)
end
return {'ok', version, now}
