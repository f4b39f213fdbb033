-- The inbox of a user, and the list of what was said to everybody: each operation in one piece.
--
-- KEYS  1 order (ZSET: id -> microseconds), 2 texts (HASH: id -> JSON), 3 unread (SET of ids), 4 state (HASH),
--       5 order and 6 texts of what was said to everybody; `broadcast` has these two alone, as 1 and 2
-- ARGV  1 prefix of channels, 2 operation, 3 capacity, 4 max_age in microseconds, 5 most bytes of texts in an answer (one text
--       at least), 6 user, 7 ... the operation's own
--
-- state: version  of the last thing published to the user's channel; times of Redis, but ever rising
--        told     the last count published
--        cursor   up to here everybody's list has been merged
-- On the channel: "n<version> <message>" for a new notification, "c<version> <count>" after it and every other change.

local REMEMBERED = 365 * 86400 * 1000   -- ms beyond max_age: who stays away for longer is new

local call, prefix, operation = redis.call, ARGV[1], ARGV[2]
local capacity, max_age, answer_max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

local function digits(n) -- tostring() would round
    return string.format('%.0f', n)
end

-- RFC 3339, in UTC
local function written(us)
    local s = math.floor(us / 1000000)
    local z = math.floor(s / 86400) + 719468 -- days since 1 March 0000
    local era = math.floor(z / 146097)
    local day = z - era * 146097
    local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
    day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local month = math.floor((5 * day + 2) / 153)
    day = day - math.floor((153 * month + 2) / 5) + 1
    month = month < 10 and month + 3 or month - 9
    year = year + era * 400 + (month <= 2 and 1 or 0)
    s = s % 86400
    return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, math.floor(s / 3600),
        math.floor(s / 60) % 60, s % 60, math.floor(us / 1000) % 1000)
end

-- `read` stands where list finds it: no id can hold these characters unescaped.
local function composed(us, id_json, members)
    return '{"id":' .. id_json .. ',"created_at":"' .. written(us) .. '","read":false' .. members .. '}'
end

local function as_read(text)
    local _, at = string.find(text, 'Z","read":', 1, true)
    return string.sub(text, 1, at) .. 'true' .. string.sub(text, at + 6)
end

local function remove(order, texts, unread, ids)
    for _, id in ipairs(ids) do
        call('ZREM', order, id)
        call('HDEL', texts, id)
        if unread then
            call('SREM', unread, id)
        end
    end
end

-- A part may be lost: Redis evicts keys if it is told to, and other programs write here. What is not in order and texts goes.
local function mend(order, texts, unread)
    local n = call('ZCARD', order)
    if call('HLEN', texts) == n and (not unread or call('SCARD', unread) <= n) then
        return
    end
    for _, ids in ipairs({call('ZRANGE', order, 0, -1), call('HKEYS', texts), unread and call('SMEMBERS', unread) or {}}) do
        for _, id in ipairs(ids) do
            if call('HEXISTS', texts, id) == 0 or not call('ZSCORE', order, id) then
                remove(order, texts, unread, {id})
            end
        end
    end
end

-- What is too old goes, and the oldest beyond the capacity.
local function trim(order, texts, unread)
    mend(order, texts, unread)
    remove(order, texts, unread, call('ZRANGEBYSCORE', order, '-inf', digits(now - max_age)))
    local surplus = call('ZCARD', order) - capacity
    if surplus > 0 then
        remove(order, texts, unread, call('ZRANGE', order, 0, surplus - 1))
    end
end

local function keep(order, texts, unread, id, us, text)
    call('ZADD', order, digits(us), id)
    call('HSET', texts, id, text)
    for _, key in ipairs({order, texts, unread}) do
        if key == unread then
            call('SADD', key, id)
        end
        call('PEXPIRE', key, digits(math.ceil(max_age / 1000) + 1))
    end
end

local function newest(order)
    return tonumber(call('ZREVRANGE', order, 0, 0, 'WITHSCORES')[2]) or 0
end

if operation == 'broadcast' then -- id, id as JSON, members
    local order, texts, id = KEYS[1], KEYS[2], ARGV[7]
    trim(order, texts)
    if call('HEXISTS', texts, id) == 0 then
        local us = math.max(now, newest(order) + 1)
        keep(order, texts, nil, id, us, composed(us, ARGV[8], ARGV[9]))
        trim(order, texts)
        call('PUBLISH', prefix .. 'heliod:nb', '')
    end
    return 'ok'
end

local ORDER, TEXTS, UNREAD, STATE, ALL_ORDER, ALL_TEXTS = unpack(KEYS)

-- As this script writes them; whatever else stands there counts as nothing.
local function stored(text)
    local n = tonumber(text)
    return n and n >= 0 and n < 2 ^ 52 and math.floor(n) or nil
end
local state = call('HMGET', STATE, 'version', 'told', 'cursor')
local version, told, cursor = stored(state[1]) or 0, stored(state[2]) or 0, stored(state[3])
local arrived, has_arrived, first_arrived, is_changed = {}, {}, now, false

local function arrive(id, us, text)
    keep(ORDER, TEXTS, UNREAD, id, us, text)
    arrived[#arrived + 1] = id
    has_arrived[id], first_arrived = true, math.min(us, first_arrived)
end

local function merge()
    mend(ALL_ORDER, ALL_TEXTS)
    local last = newest(ALL_ORDER)
    if cursor and last > cursor then
        local found = call('ZRANGEBYSCORE', ALL_ORDER, '(' .. digits(cursor), '+inf', 'WITHSCORES')
        for i = 1, #found, 2 do
            local id, us = found[i], tonumber(found[i + 1])
            local text = call('HGET', ALL_TEXTS, id)
            if text and us > now - max_age and call('HEXISTS', TEXTS, id) == 0 then
                arrive(id, us, text)
            end
        end
    end
    if not cursor then -- a new inbox
        version = math.max(now, version)
    end
    if cursor ~= last then -- back, too: what comes next is new, whatever the clock says
        cursor, is_changed = last, true
    end
end

local function tell(kind, text)
    version, is_changed = math.max(now, version + 1), true
    call('PUBLISH', prefix .. 'heliod:n:' .. ARGV[6], kind .. digits(version) .. ' ' .. text)
end

-- Everybody who listens learns what came of it; returns how many are unread.
local function finish()
    if #arrived > 0 then
        trim(ORDER, TEXTS, UNREAD)
    end
    local news = 0
    for _, id in ipairs(arrived) do
        local text = call('HGET', TEXTS, id)
        if text then
            tell('n', '{"type":"notification","notification":' .. text .. '}')
            news = news + 1
        end
    end
    local count = call('SCARD', UNREAD)
    if news > 0 or count ~= told then
        tell('c', digits(count))
    end
    if is_changed then
        call('HSET', STATE, 'version', digits(version), 'told', count, 'cursor', digits(cursor))
    end
    if is_changed or operation == 'unread' then
        call('PEXPIRE', STATE, digits(math.ceil(max_age / 1000) + REMEMBERED))
    end
    return count
end

trim(ORDER, TEXTS, UNREAD)
merge()

if operation == 'publish' then -- id, id as JSON, members
    local id = ARGV[7]
    if call('HEXISTS', TEXTS, id) == 0 then
        local us = math.max(now, version + 1)
        arrive(id, us, composed(us, ARGV[8], ARGV[9]))
    end
    finish()
    return 'ok'
end

if operation == 'list' then -- limit, id that they stand behind or nothing
    local limit, first = tonumber(ARGV[7]), 0
    finish()
    if ARGV[8] then
        local rank = call('ZREVRANK', ORDER, ARGV[8])
        if not rank then
            return false
        end
        first = rank + 1
    end
    local ids = call('ZREVRANGE', ORDER, first, first + limit)
    local texts, bytes, has_more = {}, 0, false
    for i, id in ipairs(ids) do
        local text = call('HGET', TEXTS, id)
        bytes = bytes + #text
        if i > limit or (i > 1 and bytes > answer_max) then
            has_more = true
            break
        end
        texts[i] = call('SISMEMBER', UNREAD, id) == 1 and text or as_read(text)
    end
    return '{"type":"list","notifications":[' .. table.concat(texts, ',') .. '],"more":' .. tostring(has_more) .. '}'
end

if operation == 'read' then -- id
    call('SREM', UNREAD, ARGV[7])
elseif operation == 'read_all' then
    call('DEL', UNREAD)
end
local count = finish()

-- `unread`: the newest of them, at most so many, that are younger than a version or arrived just now; oldest first
local texts, bytes = {}, 0
if operation == 'unread' then
    local since, limit = tonumber(ARGV[7]), math.min(tonumber(ARGV[8]), count)
    local from = math.min(since, first_arrived - 1)
    local found = limit > 0 and call('ZREVRANGEBYSCORE', ORDER, '+inf', '(' .. digits(from), 'WITHSCORES') or {}
    for i = 1, #found, 2 do
        local id = found[i]
        if #texts >= limit then
            break
        end
        if (has_arrived[id] or tonumber(found[i + 1]) > since) and call('SISMEMBER', UNREAD, id) == 1 then
            local text = call('HGET', TEXTS, id)
            bytes = bytes + #text
            if #texts > 0 and bytes > answer_max then
                break
            end
            table.insert(texts, 1, text)
        end
    end
end
return '{"version":' .. digits(version) .. ',"count":' .. digits(count) .. ',"unread":[' .. table.concat(texts, ',') .. ']}'
