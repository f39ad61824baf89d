-- Add what one process has counted, once: a portion that was added before is not added again.
-- KEYS  1 the process's last portion, then per service its record and its counters (twice the same key: no record is asked for)
-- ARGV  1 number of this portion  2 seconds to remember it, then per service the number of its pairs, and field, amount, ...
-- Returns 1, or 0 where it was added before.
local number = tonumber(ARGV[1])
if tonumber(redis.call('GET', KEYS[1]) or '0') >= number then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local at = 3
for k = 2, #KEYS, 2 do
  local wanted = KEYS[k] == KEYS[k + 1] or redis.call('EXISTS', KEYS[k]) == 1
  local last = at + 2 * tonumber(ARGV[at])
  for i = at + 1, last, 2 do
    if wanted then redis.call('HINCRBY', KEYS[k + 1], ARGV[i], ARGV[i + 1]) end
  end
  at = last + 1
end
return 1
