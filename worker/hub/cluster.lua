-- A worker renews its place in the register, or leaves it; those that did not renew theirs are struck off; it may ask all others something.
-- One script, so that Redis knows it when a worker leaves: there is no time to send it again then.
-- KEYS: the deadlines, what is known of each. ARGV: prefix, serverId, about ("": it leaves), lease in ms, question ("": none).
-- With a question: a line for each worker, its serverId and what is known of it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
end
if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[2])
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4] * 10)
    redis.call('PEXPIRE', KEYS[2], ARGV[4] * 10)
else
    redis.call('ZREM', KEYS[1], ARGV[2])
    redis.call('HDEL', KEYS[2], ARGV[2])
end
if ARGV[5] == '' then return '' end
redis.call('PUBLISH', ARGV[1] .. 'heliod:w', ARGV[5])
local lines = {}
for i, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, 1023)) do
    lines[i] = id .. ' ' .. (redis.call('HGET', KEYS[2], id) or '{}')
end
return table.concat(lines, '\n')
