"""Wrong input of every kind, to every route that takes a body and every message that clients may send: the documented answer
(heliod-errors(7)), the connection kept, and nothing changed. What is right by chance must do what it says, and no more: a model knows
all that may be different in the end. A failure names the seed and the message."""
import asyncio
import contextlib
import json
import random

import pytest
import redis
import websockets

import hush
from api import KEY, answer, head
from client import connect, entered
from inbox import PATH as BELL
from inbox import tab, tokens
from rawws import Raw
from test_signaling import PATH as CALL
from test_signaling import enter
from wrong import BAD, MISSING, Number, Object, depth, judge, spoil, text, whole, wrong

MESSAGES = 700
PAYLOAD = "nobody-logs-what-is-said"


def conf(redis_server=None, **more):
    return {**({"redis": {"url": redis_server.url}} if redis_server else {}), "api_keys": [{"name": "tests", "key": KEY}], "inbox": {"capacity": 10000},
            "endpoints": [
                {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "rooms": {"join": ["r-*"], "publish": ["r-*"]}},
                {"path": BELL, "protocol": "notifications", "auth": {"method": "static", "tokens": tokens(["ann", "bob"])}},
                {"path": CALL + "/{room}/{role}", "protocol": "signaling", "room_size": 3, **more}]}


@contextlib.contextmanager
def named(seed, n, data):
    try:
        yield
    except BaseException as e:
        raise AssertionError(f"seed {seed}, message {n}: {data!r}") from e


async def send(c, data, rng):
    """What is no UTF-8 can only go in a binary frame; for these protocols the kind makes no difference. Any word may stand where
    a payload belongs: hush shall listen for one of our own alone."""
    hush.keep("payload", PAYLOAD)
    with contextlib.suppress(UnicodeDecodeError):
        data = data if rng.random() < 0.1 else data.decode()
    await websockets.WebSocketClientProtocol.send(c.ws, data)


async def got(c):
    """The next message, as somebody else's parser reads it."""
    return judge((await asyncio.wait_for(c.ws.recv(), 10)).encode())


def rooms_of(b):
    """By the API: {(endpoint, room): members}."""
    r = Raw(b.port).send(head(path="/api/rooms?limit=1000", method="GET", type_=None))
    status, _, body = answer(r)
    r.close()
    assert status == 200
    return {(x["endpoint"], x["room"]): x["members"] for x in body["rooms"]}


# ── signaling ──

RESERVED = {"joined", "user-joined", "user-left", "user-returned", "error", "pong"}
SIGNALS = [{"type": "offer", "sdp": PAYLOAD, "n": [1, {"from": 2}]}, {"type": "ice", "candidate": {"a": None}}, {"type": "ping"},
           {"type": "offer", "from": {"id": "x"}}, {"type": "user-left", "id": "x", "userType": "patient"}]


def signal(v, others):
    """(answer to the sender or None, {peer: message}); None: it wants to leave."""
    def no(message):
        return {"type": "error", "code": "invalid-message", "message": message}, {}
    if v is BAD:
        return no("This is not JSON; a message is a JSON object with a `type`")
    if not isinstance(v, Object):
        return no("This is no JSON object; a message is an object with a `type`")
    type_, to = v.last("type"), v.last("to")
    if v.count("type") > 1:
        return no("`type` stands there more than once")
    if not isinstance(type_, str):
        return no("`type` is missing, or is not a text")
    if type_ in RESERVED:
        return no("Messages of this type come from the server only")
    if type_ in ("ping", "leave"):
        return ({"type": "pong"}, {}) if type_ == "ping" else None
    if to is not MISSING and to not in [p.id for p in others]:
        return ("no-such-peer", to), {}
    return None, {p: v for p in others if to is MISSING or to == p.id}


def as_object(message):
    return judge(json.dumps(message).encode())


def relayed(v, sender):
    return Object([m for m in v if m[0] != "from"] + [("from", as_object(sender.me))])


@pytest.mark.parametrize("seed", range(2))
async def test_signaling(broker, redis_server, seed):
    rng, server = random.Random(f"signaling {seed}"), redis_server()
    a, b = broker("a", **conf(server)), broker("b", **conf(server))
    c = await enter(a, "room-1", "doctor")
    others = [await enter(a, "room-1", "patient"), await enter(b, "room-1", "nurse")]
    await c.get(), await c.get(), await others[0].get()
    room = f"heliod:sig:{CALL}/{{room}}/{{role}}:room-1"
    before = set(server.client().hkeys(room))
    right = SIGNALS + [{"type": "offer", "to": p.id, "sdp": "x"} for p in others] + [{"type": "bye", "to": "nobody"}, {"type": "x", "to": c.id}]
    heard = {p: [] for p in others}
    for n in range(MESSAGES):
        data = wrong(rng, right)
        with named(seed, n, data):
            said = signal(judge(data), others)
            if said is None:
                continue
            await send(c, data, rng)
            reply, told = said
            if isinstance(reply, tuple):
                error = await got(c)
                assert error.last("code") == reply[0] and error.last("to") == reply[1] and error.names() == {"type", "code", "message", "to"}
            elif reply:
                assert await got(c) == as_object(reply)
            for p in told:
                heard[p].append((n, data, relayed(told[p], c)))
    await c.silent()
    await c.say("mark")
    for p in others:
        for n, data, want in [*heard[p], ("end", "mark", relayed(as_object({"type": "mark"}), c))]:
            with named(seed, n, data):
                assert await got(p) == want
        await p.silent()
    assert before == set(server.client().hkeys(room)) and len(before) == 3
    assert rooms_of(a) == {(CALL + "/{room}/{role}", "room-1"): 3}
    assert any(heard.values()) and a.counter("signaling_invalid") > MESSAGES / 4


# ── notifications ──

ASKS = [{"type": "ping"}, {"type": "mark_read", "id": "n3"}, {"type": "mark_read", "id": "gone"}, {"type": "mark_all_read"},
        {"type": "list", "limit": 3, "before": "n5"}, {"type": "list"}, {"type": "list", "before": "gone"}, {"type": "notification", "notification": {"title": PAYLOAD}}]
ASKS += [{"type": "mark_read", "id": f"n{i}"} for i in range(10)] + [{"type": "list", "before": f"n{i}", "limit": 100} for i in range(10)]


class Inbox:
    """What is in it; made is the order."""

    def __init__(self, made):
        self.made, self.unread = made, set(made)

    def say(self, v):
        """What is to be answered: (type or code, the rest)."""
        if not isinstance(v, Object) or not isinstance(v.last("type"), str):
            return "invalid-message", None
        type_ = v.last("type")
        if type_ == "ping":
            return "pong", None
        if type_ == "mark_read":
            return self.mark_read(v.last("id"))
        if type_ == "mark_all_read":
            self.unread.clear()
            return "unread_count", 0
        return self.list(v.last("before"), v.last("limit")) if type_ == "list" else ("unknown-type", None)

    def mark_read(self, i):
        if not isinstance(i, str):
            return "invalid-message", None
        self.unread.discard(text(i))
        return "unread_count", len(self.unread)

    def list(self, before, limit):
        most = 20 if limit is MISSING else whole(limit, 100)
        if not (before is MISSING or isinstance(before, str)) or not most:
            return "invalid-message", None
        newest = self.made[::-1]
        if before is not MISSING and text(before) not in newest:
            return "no-such-notification", None
        behind = newest if before is MISSING else newest[newest.index(text(before)) + 1:]
        return "list", ([(i, i not in self.unread) for i in behind[:most]], len(behind) > most)


def as_said(message):
    if message["type"] == "error":
        assert list(message) == ["type", "code", "message"] and message["message"].endswith(".")
        return message["code"], None
    if message["type"] == "list":
        return "list", ([(n["id"], n["read"]) for n in message["notifications"]], message["more"])
    return message["type"], message.get("count")


@pytest.mark.parametrize("seed", range(2))
async def test_notifications(broker, seed):
    """Another connection of the same user, and another user, look on."""
    rng, b = random.Random(f"notifications {seed}"), broker(**conf())
    user, stranger = "ann", "bob"
    made = [await notify_as(b, user, f"n{i}") for i in range(30)]
    inbox = Inbox(made)
    asker, same, other = await tab(b, user), await tab(b, user), await tab(b, stranger)
    for t in (asker, same):
        await t.expect(*made)
    heard, count = [], 30
    for n in range(MESSAGES):
        data = wrong(rng, ASKS)
        with named(seed, n, data):
            want = inbox.say(judge(data))
            await send(asker.c, data, rng)
            assert as_said(await asker.get()) == want
            if len(inbox.unread) != count:
                count = len(inbox.unread)
                heard.append(count)
    for at in heard:
        await same.expect(at)
    for t in (asker, same, other):
        await t.nothing()
    assert as_said(await same.ask(type="list", limit=100)) == inbox.list(MISSING, Number(("100",)))
    again = await tab(b, user)
    assert again.first["unread_count"] == len(inbox.unread)


async def notify_as(b, user, i):
    """inbox.notify has a key of its own."""
    status, body = await asyncio.to_thread(ask_api, b, "/api/notifications", json.dumps({"user": user, "notification": {"id": i}}).encode())
    assert status == 200 and body == {"ids": {user: i}}
    return i


def ask_api(b, path, data):
    r = Raw(b.port).send(head(path=path, length=len(data)) + data)
    status, _, body = answer(r)
    r.close()
    return status, body


# ── events ──

EVENTS = [{"event": "heartbeat"}, {"event": "authenticate", "data": {}}, {"event": "custom", "data": {"a": [PAYLOAD]}, "id": 7},
          {"event": "join", "data": {"rooms": ["r-1", "r-2", "secret"]}}, {"event": "join", "data": {"rooms": ["r-3"]}, "id": "x"},
          {"event": "leave", "data": {"rooms": ["r-1", "ws-default"]}}, {"event": "leave", "data": {"rooms": ["r-3"]}},
          {"event": "publish", "data": {"room": "r-0", "event": "news", "data": {"n": PAYLOAD}}}, {"event": "publish", "data": {"room": "r-0", "event": "e"}},
          {"event": "publish", "data": {"room": "secret", "event": "news"}}]


def error(message):
    return as_object({"event": "error", "data": {"message": message}})


def names(v):
    data = v.last("data")
    listed = data.last("rooms") if isinstance(data, Object) else MISSING
    return [text(x) for x in listed if isinstance(x, str)] if isinstance(listed, list) and not isinstance(listed, Object) else []


def is_room(name):
    return 0 < len(name.encode("utf-16-le")) // 2 <= 256 and not name.startswith("ws:")


def published(v):
    """(what the publisher is told, what the room r-0 is)"""
    data = v.last("data")
    room, event = (data.last("room"), data.last("event")) if isinstance(data, Object) else (MISSING, MISSING)
    if not isinstance(room, str) or not isinstance(event, str) or not event:
        return error("Invalid message format"), None
    if not is_room(text(room)) or not room.startswith("r-"):
        return error("Publish not permitted"), None
    members = [("event", event)] + ([("data", data.last("data"))] if data.last("data") is not MISSING else [])
    return None, Object(members) if text(room) == "r-0" else None


def event(v, rooms):
    """As published; rooms is brought up to date."""
    if not isinstance(v, Object) or not isinstance(v.last("event"), str) or not v.last("event"):
        return error("Invalid message format"), None
    name = v.last("event")
    if name == "authenticate":
        return error("Already authenticated"), None
    if name == "join":
        rooms |= {r for r in [r for r in names(v) if is_room(r)][:100] if r.startswith("r-")}
    elif name == "leave":
        rooms -= set(names(v))
    elif name == "publish":
        return published(v)
    return None, None


@pytest.mark.parametrize("seed", range(2))
async def test_events(broker, seed):
    rng, b = random.Random(f"events {seed}"), broker(**conf())
    c, other = await entered(b.url), await entered(b.url)
    await other.join("r-0")
    rooms, heard = {"ws-default", "ws-notification"}, []
    for n in range(MESSAGES):
        data = wrong(rng, EVENTS)
        with named(seed, n, data):
            reply, told = event(judge(data), rooms)
            await send(c, data, rng)
            if reply:
                assert await got(c) == reply
            if told:
                heard.append((n, data, told))
            if told and "r-0" in rooms:
                raise AssertionError("the sender is in that room: nothing makes it join")
    await c.flush()
    for n, data, told in heard:
        with named(seed, n, data):
            assert await got(other) == told
    await other.flush()
    members = {"r-0": 1, "ws-default": 1, "ws-notification": 1}
    for r in rooms:
        members[r] = members.get(r, 0) + 1
    assert rooms_of(b) == {("/ws", r): n for r, n in members.items()}
    assert len(heard) > 10


async def test_events_before_authentication(broker):
    rng, b = random.Random("before"), broker(**conf())
    c = await connect(b.url)
    for n in range(MESSAGES):
        data = wrong(rng, EVENTS)
        v = judge(data)
        name = v.last("event") if isinstance(v, Object) else None
        if name == "authenticate":
            continue
        with named("before", n, data):
            await send(c, data, rng)
            if not isinstance(name, str) or not name:
                assert await got(c) == error("Invalid message format")
            elif name != "heartbeat":
                assert await got(c) == error("Not authenticated")
    await c.authenticate()
    await c.flush()


# ── bodies of the API ──

BODIES = {
    "/api/events": [{"to": {"room": "r-0"}, "event": "news", "data": {"n": PAYLOAD}}, {"to": {"broadcast": True}, "event": "news", "exclude": ["a"]},
                    {"to": {"user": "ann"}, "event": "x", "data": None}, {"to": {"client": "nobody"}, "event": "x"}],
    "/api/notifications": [{"user": "ann", "notification": {"title": PAYLOAD, "id": "i"}}, {"users": ["ann", "bob", "ann"], "notification": {"n": [1]}},
                           {"user": "é", "notification": {"read": True, "created_at": 0}}],
    "/api/tickets": [{"user": "ann", "endpoint": BELL, "ttl": 30}, {"user": "bob", "endpoint": CALL + "/{room}/{role}"},
                     {"user": "ann", "endpoint": BELL.rstrip("/")}, {"user": "ann", "endpoint": "/ws"}],
}
MEMBERS = {"/api/events": {"to", "event", "data", "exclude"}, "/api/notifications": {"user", "users", "broadcast", "notification"},
           "/api/tickets": {"user", "endpoint", "ttl"}}


def is_text(v, most=None):
    return isinstance(v, str) and v != "" and (most is None or len(text(v).encode()) <= most)


def is_list(v):
    return isinstance(v, list) and not isinstance(v, Object)


def is_event(v):
    to, exclude = v.last("to"), v.last("exclude")
    if not isinstance(to, Object) or len(to) != 1 or not is_text(v.last("event")):
        return False
    (kind, target), = to
    if not (is_text(target) if kind in ("room", "user", "client") else kind == "broadcast" and target is True):
        return False
    return exclude is MISSING or is_list(exclude) and all(isinstance(x, str) for x in exclude)


def is_notice(v):
    whom = [v.last(m) for m in ("user", "users", "broadcast") if v.last(m) is not MISSING]
    what = v.last("notification")
    if len(whom) != 1 or not isinstance(what, Object) or depth(what) > 62:
        return False
    if v.last("broadcast") is not MISSING:
        return whom[0] is True
    users = whom[0] if v.last("users") is not MISSING else whom
    i = what.last("id")
    return is_list(users) and 0 < len(users) <= 1000 and all(is_text(u, 512) for u in users) and (
        i is MISSING or isinstance(i, str) and 0 < len(text(i)) <= 64)


def is_order(v):
    ttl, at = v.last("ttl"), v.last("endpoint")
    return (is_text(v.last("user"), 512) and isinstance(at, str) and text(at) in (BELL, BELL.rstrip("/"), CALL + "/{room}/{role}") and
            (ttl is MISSING or whole(ttl, 3600) is not None))


def is_right(path, v):
    return (isinstance(v, Object) and not v.repeats() and v.names() <= MEMBERS[path] and
            {"/api/events": is_event, "/api/notifications": is_notice, "/api/tickets": is_order}[path](v))


def reaches(v, client):
    (kind, target), = v.last("to")
    left_out = client.id in (v.last("exclude") if v.last("exclude") is not MISSING else [])
    return kind == "broadcast" and not left_out or kind == "room" and text(target) in ("r-0", client.id) and not left_out


@pytest.mark.parametrize("seed", range(3))
async def test_bodies(broker, seed):
    rng, b = random.Random(f"bodies {seed}"), broker(**conf())
    client = await entered(b.url)
    await client.join("r-0")
    rooms = rooms_of(b)
    heard, inboxes, tickets = [], {}, 0

    def storm():
        nonlocal tickets
        raw = Raw(b.port)
        for n in range(MESSAGES):
            path = rng.choice(list(BODIES))
            data = wrong(rng, BODIES[path])
            v = judge(data)
            with named(seed, n, data):
                raw.send(head(path=path, length=len(data)) + data)
                status, fields, body = answer(raw)
                assert fields["connection"] == "keep-alive"
                if not is_right(path, v):
                    assert (status, body.get("error")) == (400, "bad-body") and body["message"].startswith("The body cannot be used: "), body
                    continue
                assert status == 200, body
                tickets += path == "/api/tickets"
                if path == "/api/events" and reaches(v, client):
                    heard.append(Object([(m, v.last(m)) for m in ("event", "data") if v.last(m) is not MISSING]))
                if path == "/api/notifications" and v.last("broadcast") is MISSING:
                    note(v, body["ids"])
        raw.close()

    def note(v, ids):
        users = {text(u) for u in (v.last("users") if v.last("users") is not MISSING else [v.last("user")])}
        given = v.last("notification").last("id")
        assert ids.keys() == users and (given is MISSING or set(ids.values()) == {text(given)})
        for user, i in ids.items():
            inboxes.setdefault(user, set()).add(i)

    await asyncio.to_thread(storm)
    for want in heard:
        assert await got(client) == want
    await client.flush()
    db = redis.Redis(unix_socket_path=b.redis_path)
    found = {key.decode().removeprefix("heliod:inbox:{u:").removesuffix("}:order"): {i.decode() for i in db.zrange(key, 0, -1)}
             for key in db.keys("heliod:inbox:{u:*:order")}
    assert found == inboxes
    assert b.counter("tickets_minted") == tickets and rooms_of(b) == rooms
    assert heard and inboxes and tickets


# ── what strangers publish where workers talk to each other ──

def lines(ids, peers):
    """As signaling.lua and workers write them, about whoever there is."""
    return [f"in {ids[0]} - {peers[0]} {peers[1]}", f"in {ids[1]} {ids[0]} {peers[1]}", "all " + " ".join(peers), "all ", f"out {ids[0]} 1006 lost",
            f"out {ids[1]} 1000 left", f"away {ids[0]} 50", f"say {ids[3]} {ids[1]} -\n" + '{"type":"x"}', f"say {ids[3]} {ids[1]} {ids[0]}\n" + '{"type":"x"}',
            f"probe room-1 {ids[0]} {ids[3]} {ids[2]}", f"alive room-1 {ids[0]} {ids[2]}", f"gone room-1 {ids[0]} {ids[2]}",
            f'{{"from":"{ids[3]}","ask":7,"what":"rooms","name":"","after":"","limit":10}}',
            f'{{"ask":1,"from":"{ids[3]}","about":{{"node":"n"}},"answer":{{"rows":[],"more":false}}}}',
            'n9 {"type":"notification","notification":{}}', "c10 5",
            f'{{"serverId":"{ids[3]}","type":"room","target":"r-0","event":"x","data":1}}']


def garbled(rng, line):
    words = line.split(" ")
    act = rng.randrange(6)
    if act == 0:
        del words[rng.randrange(len(words))]
    elif act == 1:
        words[rng.randrange(len(words))] = rng.choice(words + ["", "-", "x", "9" * 30])
    elif act == 2:
        words.insert(rng.randrange(len(words) + 1), rng.choice(words))
    data = " ".join(words).encode()
    return spoil(data, rng) if act == 3 else data


async def test_strangers_on_the_bus(broker, redis_server):
    """Who can publish there can do harm; but no worker ends by it, and what was harmed is well again soon."""
    rng, server = random.Random("strangers"), redis_server()
    a, b = broker("a", **conf(server)), broker("b", **conf(server))
    pids = [w["pid"] for x in (a, b) for w in x.workers()]
    event, bell = await entered(a.url), await tab(a, "ann")
    peers = [await enter(a, "room-1", "doctor"), await enter(b, "room-1", "patient")]
    room = f"heliod:sig:{CALL}/{{room}}/{{role}}:room-1"
    db = server.client()
    workers = [e.split()[1].decode() for e in db.hgetall(room).values()]
    ids = [p.id for p in peers] + ["0b7e151f-aaaa-4bbb-8ccc-0123456789ab", *workers]
    told = lines(ids, [f"{p.id}/{p.role}/{w}/0" for p, w in zip(peers, workers)])
    places = [room, "heliod:w", "heliod:n:ann", "heliod:nb", f"ws:room:{event.id}", "ws:broadcast",
              *(f"heliod:sigw:{CALL}/{{room}}/{{role}}:{w}" for w in workers), *(f"heliod:w:{w}" for w in workers)]
    for place in places:
        assert db.publish(place, garbled(rng, rng.choice(told))) > 0, f"nobody listens to {place}"
    for _ in range(100):
        with db.pipeline(transaction=False) as p:
            for _ in range(50):
                p.publish(rng.choice(places[:1] * 5 + places), garbled(rng, rng.choice(told)))
            await asyncio.to_thread(p.execute)
        await asyncio.sleep(0)
    for p in peers:
        p.ws.transport.abort()
    for role in ("doctor", "patient"):
        await enter_at_last(a, "room-1", role)
    again = await enter(b, "room-2", "doctor")
    await again.silent()
    assert rooms_of(a)[(CALL + "/{room}/{role}", "room-2")] == 1
    assert (await tab(b, "ann")).first["unread_count"] == 0
    await (await entered(b.url)).flush()
    assert [w["pid"] for x in (a, b) for w in x.workers()] == pids
    bell.c.ws.transport.abort()


async def enter_at_last(b, room, role):
    """The same room, the place of whoever was there: by a probe, or free."""
    for _ in range(100):
        with contextlib.suppress(AssertionError, websockets.ConnectionClosed):
            c = await enter(b, room, role)
            await c.ws.ping()
            return c
        await asyncio.sleep(0.1)
    raise AssertionError(f"{role} never comes in again")
