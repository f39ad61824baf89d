-- What time has done to jobs, in bounded portions. KEYS 1 leases  2 deadlines  3 ended jobs. ARGV 1 at most so many of each.
-- Returns {jobs whose lease ran out, jobs past their deadline, jobs whose result is over}: ids, to be moved by the caller.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local found = {}
for i = 1, 3 do
  found[i] = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'LIMIT', 0, ARGV[1])
end
return found
