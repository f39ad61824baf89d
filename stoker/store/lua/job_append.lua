-- Add chunks to the event log of a running job, if the claimer still holds it.
-- KEYS 1 record  2 events. ARGV 1 epoch  2 most events kept, then the chunks. Returns 1, or 0 when it is somebody else's by now.
local found = redis.call('HMGET', KEYS[1], 'status', 'epoch')
if found[1] ~= '"running"' or found[2] ~= ARGV[1] then return 0 end
local number = redis.call('HINCRBY', KEYS[1], 'events', #ARGV - 2) - (#ARGV - 2)
for i = 3, #ARGV do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], (number + i - 2) .. '-0', 'event', 'chunk', 'data', ARGV[i])
end
return 1
