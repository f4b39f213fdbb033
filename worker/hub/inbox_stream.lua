-- What programs have put into a stream to be notified, shared out among workers.
--
-- KEYS  1 the stream
-- ARGV  1 prefix, 2 name of this worker, 3 how many at once, 4 most bytes of a body, 5 ms after which what another worker
--       took counts as abandoned (0: not now), 6 ... entries that are dealt with
-- Answers with netstrings (5:hello,), four for each entry: its id, what is wrong with it or nothing, field body, field id.

local GROUP = 'heliod'
local FORGOTTEN = 3600 * 1000 -- ms: a worker that has not been heard of for so long, and owes nothing

local call, stream, me, count = redis.call, KEYS[1], ARGV[2], ARGV[3]
local body_max, abandoned = tonumber(ARGV[4]), tonumber(ARGV[5])

for i = 6, #ARGV do
    call('XACK', stream, GROUP, ARGV[i])
    call('XDEL', stream, ARGV[i])
end

-- The group is made by whoever comes first; it begins with what is there already.
local function take()
    local found = redis.pcall('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', count, 'STREAMS', stream, '>')
    if found and found.err and string.find(found.err, 'NOGROUP', 1, true) then
        call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
        found = call('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', count, 'STREAMS', stream, '>')
    end
    if found and found.err then
        return found
    end
    return found and found[1] and found[1][2] or {}
end

local function forget_dead_workers()
    for _, row in ipairs(call('XINFO', 'CONSUMERS', stream, GROUP)) do
        local consumer = {}
        for i = 1, #row, 2 do
            consumer[row[i]] = row[i + 1]
        end
        if consumer.pending == 0 and consumer.idle > FORGOTTEN and consumer.name ~= me then
            call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer.name)
        end
    end
end

local entries = take()
if entries.err then
    return entries
end
if #entries == 0 and abandoned > 0 then
    entries = call('XAUTOCLAIM', stream, GROUP, me, abandoned, '0-0', 'COUNT', count)[2]
    forget_dead_workers()
end

local answer = {}
local function say(text)
    answer[#answer + 1] = #text .. ':' .. text .. ','
end
for _, entry in ipairs(entries) do
    if entry and entry[2] then -- else deleted meanwhile
        local field, wrong = {}, ''
        for i = 1, #entry[2], 2 do
            field[entry[2][i]] = entry[2][i + 1]
        end
        if not field.body then
            wrong = 'it has no field body'
        elseif #field.body > body_max then
            wrong = 'its body is longer than ' .. body_max .. ' bytes'
        elseif #(field.id or '') > 256 then
            wrong = 'its id is too long'
        end
        say(entry[1])
        say(wrong)
        say(wrong == '' and field.body or '')
        say(wrong == '' and field.id or '')
    end
end
return table.concat(answer)
