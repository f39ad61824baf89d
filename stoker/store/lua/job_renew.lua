-- Renew the leases of all jobs that a runner holds. KEYS 1 leases. ARGV 1 lease in ms, 2 prefix of the records' keys,
-- then id, epoch, ... Returns the ids that are not ours any more (another epoch, cancelled, ended).
local clock = redis.call('TIME')
local until_ = tonumber(clock[1]) + tonumber(clock[2]) / 1e6 + tonumber(ARGV[1]) / 1000
local gone = {}
for i = 3, #ARGV, 2 do
  local found = redis.call('HMGET', ARGV[2] .. ARGV[i], 'status', 'epoch')
  if found[1] == '"running"' and found[2] == ARGV[i + 1] then
    redis.call('ZADD', KEYS[1], until_, ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
  end
end
return gone
