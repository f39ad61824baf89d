-- What time has done to jobs, in bounded portions; jobs whose pause is over are queued again here.
-- KEYS 1 leases  2 deadlines  3 ended jobs  4 outbox of webhooks  5 jobs that pause  6 services with work
-- ARGV 1 at most so many of each  2 prefix of the records' keys  3 prefix of the queues' keys
-- Returns {jobs whose lease ran out, jobs past their deadline, jobs whose result is over: ids, to be moved by the caller;
--          webhooks to send, jobs queued again: numbers; seconds until the next of all these, -1 if there is none}.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local found, soonest = {}, -1
for i = 1, 3 do
  found[i] = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'LIMIT', 0, ARGV[1])
end
found[4] = redis.call('ZCOUNT', KEYS[4], '-inf', now)
found[5] = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', KEYS[5], id)
  local job = redis.call('HMGET', ARGV[2] .. id, 'status', 'service', 'place')
  if job[1] == '"queued"' then
    local service = string.sub(job[2], 2, -2)
    redis.call('ZADD', ARGV[3] .. service, job[3], id)
    redis.call('SADD', KEYS[6], service)
    found[5] = found[5] + 1
  end
end
for i = 1, 5 do
  local first = redis.call('ZRANGEBYSCORE', KEYS[i], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] and (soonest < 0 or tonumber(first[2]) - now < soonest) then soonest = tonumber(first[2]) - now end
end
found[6] = tostring(soonest)
return found
