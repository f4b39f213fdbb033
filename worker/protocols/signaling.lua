-- Who is in a signaling room: every decision about it, each in one piece (PROTOCOL part B). One script for all verbs: whoever
-- entered through it has loaded what its leaving needs, too.
-- KEYS[1]: the room: a hash of its entries by connection id, and by the same name the channel of its log.
-- ARGV: prefix, verb, the caller (a worker's server id), stem of the workers' channels, lease and grace (ms), room size, role size;
-- then what the verb takes. Times are Redis' own.
-- The log: in ID WAS PEER… · all PEER… · out ID CODE REASON · away ID MS. A PEER is id/role/worker/code, the oldest first;
-- a code other than 0: lost with it, but may return. Nothing in it is secret: who and session are digests and stay in the hash.
local room, verb, caller, stem = KEYS[1], ARGV[2], ARGV[3], ARGV[1] .. ARGV[4]
local lease, grace, room_size, role_size = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entries = {}

local function tell(...)
    redis.call('PUBLISH', room, table.concat({...}, ' '))
end

local function put(id, e)
    entries[id] = e
    redis.call('HSET', room, id, string.format('%s %s %s %s %.0f %.0f %.0f', e.role, e.worker, e.who, e.session, e.deadline, e.code, e.since))
end

-- A newcomer: present, and the youngest.
local function add(id, e)
    e.deadline, e.code, e.since = now + lease, 0, now
    for _, other in pairs(entries) do e.since = math.max(e.since, other.since + 1) end
    put(id, e)
end

local function drop(id)
    entries[id] = nil
    redis.call('HDEL', room, id)
end

local function is_id(s) return #s == 36 and not string.find(s, '[^0-9a-f-]') end

-- What cannot be an entry is taken away, it would spoil the log; none lasts longer than a new one, whoever wrote it, whenever.
local function load()
    local flat, latest = redis.call('HGETALL', room), now + math.max(lease, grace)
    for i = 1, #flat, 2 do
        local id, role, worker, who, session, deadline, code, since =
            flat[i], string.match(flat[i + 1], '^([%w._~-]+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+)$')
        if role and #role <= 128 and is_id(id) and is_id(worker) and tonumber(code) < 5000 then
            entries[id] = {role = role, worker = worker, who = who, session = session,
                deadline = math.min(tonumber(deadline), latest), code = tonumber(code), since = tonumber(since)}
            if tonumber(deadline) > latest then put(id, entries[id]) end
        else
            redis.call('HDEL', room, id)
        end
    end
end

-- The ids, the oldest first.
local function sorted()
    local ids = {}
    for id in pairs(entries) do ids[#ids + 1] = id end
    table.sort(ids, function(a, b)
        local x, y = entries[a].since, entries[b].since
        return x < y or x == y and a < b
    end)
    return ids
end

local function peers()
    local list = sorted()
    for i, id in ipairs(list) do
        local e = entries[id]
        list[i] = id .. '/' .. e.role .. '/' .. e.worker .. '/' .. e.code
    end
    return table.concat(list, ' ')
end

-- Its connection is gone. With grace the others learn of it later, or never.
local function lose(id, code)
    local e = entries[id]
    if grace > 0 and e.code == 0 then
        e.code, e.deadline = code, now + grace
        put(id, e)
        tell('away', id, grace)
    else
        drop(id)
        tell('out', id, e.code ~= 0 and e.code or code, 'lost')
    end
end

local function lose_all(is_lost)
    for _, id in ipairs(sorted()) do
        if is_lost(entries[id], id) then lose(id, 1006) end
    end
end

local function is_over(e) return e.deadline <= now end

local function count(role)
    local in_room, in_role = 0, 0
    for _, e in pairs(entries) do
        in_room = in_room + 1
        if e.role == role then in_role = in_role + 1 end
    end
    return in_room, in_role
end

local function has_place(role)
    local in_room, in_role = count(role)
    return in_room < room_size and in_role < role_size
end

local function is_nobody(e) return e.who == '-' and e.session == '-' end

local function is_same(a, b)
    return a.who ~= '-' and a.who == b.who or a.session ~= '-' and a.session == b.session
end

-- Whom the newcomer succeeds, and how: back (it was away, or is the same), lost, replaced. nil: nobody.
local function predecessor(me, holders, replaceable)
    for _, id in ipairs(holders) do
        local e = entries[id]
        if e.code ~= 0 and (is_same(e, me) or is_nobody(e) and is_nobody(me)) then return id, 'back' end
    end
    if has_place(me.role) then return nil end
    for _, id in ipairs(holders) do
        if is_same(entries[id], me) then return id, grace > 0 and 'back' or 'replaced' end
    end
    local _, in_role = count(me.role)
    for _, id in ipairs(in_role >= role_size and holders or {}) do
        if entries[id].code ~= 0 then return id, 'lost' end
        if replaceable[id] then return id, 'replaced' end
    end
end

local function probe(id, holders)
    local name = string.match(room, '[^:]*$')
    for _, holder in ipairs(holders) do
        redis.call('PUBLISH', stem .. entries[holder].worker, table.concat({'probe', name, holder, caller, id}, ' '))
    end
end

-- ID ROLE WHO SESSION [ID of who may be replaced]… → in | full | taken ID…
local function enter()
    local id, me, replaceable, holders, listens = ARGV[9],
        {role = ARGV[10], worker = caller, who = ARGV[11], session = ARGV[12]}, {}, {}, {}
    for i = 13, #ARGV do replaceable[ARGV[i]] = true end
    lose_all(function(e) -- a worker that listens no more is dead; one that does may only be late, and so may the caller, if it
        if e.code ~= 0 or e.deadline + lease <= now then return is_over(e) end -- is Redis that stood still. who '?': see renew
        if e.worker == caller or e.who == '?' then return false end
        if listens[e.worker] == nil then listens[e.worker] = redis.call('PUBSUB', 'NUMSUB', stem .. e.worker)[2] > 0 end
        return not listens[e.worker]
    end)
    for _, other in ipairs(sorted()) do
        if entries[other].role == me.role then holders[#holders + 1] = other end
    end
    local was, how = predecessor(me, holders, replaceable)
    if not was and not has_place(me.role) then
        local _, in_role = count(me.role)
        if in_role < role_size then return 'full' end
        probe(id, holders)
        return 'taken ' .. table.concat(holders, ' ')
    end
    if how == 'lost' then
        lose(was, 1006)
    elseif was then
        drop(was)
        if how == 'replaced' then tell('out', was, 4410, 'replaced') end
    end
    add(id, me)
    tell('in', id, how == 'back' and was or '-', peers())
    return 'in'
end

-- ID CODE REASON
local function leave()
    local id, code, reason = ARGV[9], tonumber(ARGV[10]), ARGV[11]
    local e = entries[id]
    if not e then return 'gone' end
    if reason ~= 'lost' then
        drop(id)
        tell('out', id, code, reason)
    elseif e.code == 0 then
        lose(id, code)
    end
    return 'left'
end

-- ASKED (ID ROLE WORKER WHO SESSION)…: the caller's own members, then the others it knows. ROLE -: still entering, only kept.
-- Own ones that are missing are put back if there is place. Others are, if Redis knows of nobody at all, that is, has lost its
-- memory: for the time of one lease, so that their workers find their places kept (who: '?'). A caller that comes late itself (it,
-- Redis, or the machine stood still) does not judge others who do: they have half a lease more.
local function renew()
    local remembers, is_asked, is_late, mine, absent = next(entries) ~= nil, ARGV[9] == '1', false, {}, {}
    for i = 10, #ARGV - 4, 5 do
        local id, role, worker, who, session = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
        local e = entries[id]
        mine[id] = worker == caller or nil
        if mine[id] and e then
            is_late = is_late or is_over(e)
            if e.code ~= 0 then is_asked, e.code = true, 0 end
            if role ~= '-' then e.worker, e.who, e.session = worker, who, session end
            e.deadline = now + lease
            put(id, e)
        elseif not e and role ~= '-' and (mine[id] or not remembers) then
            absent[#absent + 1] = {id, {role = role, worker = worker, who = mine[id] and who or '?', session = session}}
        end
    end
    for id, e in pairs(entries) do
        if is_late and is_over(e) and e.code == 0 then
            e.deadline = now + lease / 2
            put(id, e)
        end
    end
    lose_all(function(e, id) return is_over(e) or e.worker == caller and e.code == 0 and not mine[id] end)
    for _, a in ipairs(absent) do
        local id, e = a[1], a[2]
        if has_place(e.role) then
            add(id, e)
            is_asked = true
        elseif mine[id] then
            tell('out', id, 4410, 'replaced')
        end
    end
    if is_asked then tell('all', peers()) end
    return 'renewed'
end

-- WORKER: it died.
local function bury()
    lose_all(function(e) return e.worker == ARGV[9] and e.code == 0 end)
    return 'buried'
end

load()
local answer = ({enter = enter, leave = leave, renew = renew, bury = bury})[verb]()
local latest = 0
for _, e in pairs(entries) do latest = math.max(latest, e.deadline) end
if latest > 0 then redis.call('PEXPIREAT', room, string.format('%.0f', latest + grace + lease)) end
return answer
