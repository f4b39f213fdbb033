"""Rooms, users, counters and kicks over the HTTP API: asked of any worker, answered by all of two brokers on one Redis."""
import asyncio
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
import uuid
from urllib.parse import quote

import pytest
import redis
import websockets

import api
from api import KEYS, Api, answer, head, refused
from client import WAIT, connect
from conftest import SLACK, Broker, Redis, eventually
from inbox import serving, token, tokens
from rawws import Raw

USERS = ["alice", "bob", "é/ü %"]
PAGE = "https://app.example.com"
EVENTS = {"protocol": "events", "auth": {"method": "static", "tokens": tokens(USERS)}, "rooms": {"join": ["*"]}}
CALL, BELL = "/call/{room}/{role}", "/bell/"
CONF = {
    "workers": 2, "api_keys": KEYS, "allowed_origins": [PAGE],
    "endpoints": [
        {"path": "/ws", **EVENTS}, {"path": "/ws2", **EVENTS, "default_rooms": []},
        {"path": CALL, "protocol": "signaling", "room_size": 9, "role_size": 9, "auth": EVENTS["auth"]},
        {"path": BELL, "protocol": "notifications", "auth": EVENTS["auth"]},
    ],
}


@pytest.fixture(scope="module")
def pair():
    """Two brokers, two workers each, one Redis."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="heliod-", dir="/tmp"))
    bus = Redis(path / "redis")
    brokers = [serving(Broker(path / name, redis={"url": bus.url}, **CONF)) for name in "ab"]
    settled(brokers[0], 4)
    yield brokers
    for b in brokers:
        b.close()
    bus.close()
    shutil.rmtree(path, ignore_errors=True)


def settled(b, workers):
    """All of them are in the register, and answer."""
    def check():
        stats = asking(b, lambda a: a.get("/api/stats"))
        return len(stats["workers"]) == workers and "incomplete" not in stats
    eventually(check, what=f"{workers} workers answer")


def asking(b, what):
    with contextlib.closing(Api(b)) as a:
        return what(a)


async def everywhere(brokers, what, connections=4):
    """The same question over several connections to each; all answers, which should be one."""
    def ask():
        answers = []
        for b in brokers:
            for _ in range(connections):
                answers.append(asking(b, what))
        return answers
    return await asyncio.to_thread(ask)


async def same(brokers, path):
    answers = await everywhere(brokers, lambda a: a.get(path))
    assert all(x == answers[0] for x in answers), answers
    return answers[0]


async def events(b, user="alice", path="/ws", rooms=()):
    c = await (await connect(b.url, path)).authenticate(token(user))
    if rooms:
        await c.join(*rooms)
    return c


async def caller(b, room, role, user="alice"):
    c = await connect(b.url, f"/call/{room}/{role}?token={token(user)}")
    joined = await c.get()
    assert joined["type"] == "joined"
    c.id = joined["id"]
    return c


async def bell(b, user="alice"):
    c = await connect(b.url, f"{BELL}?token={quote(token(user))}")
    first = await c.get()
    assert first["type"] == "connection_established"
    c.id = first["id"]
    return c


def name():
    """Rooms of this test alone: the brokers are shared."""
    return "r-" + uuid.uuid4().hex[:8]


def mine(rooms, prefix):
    return [(r["endpoint"], r["room"], r["members"]) for r in rooms if r["room"].startswith(prefix)]


# ---- rooms ----

async def test_rooms_are_summed_over_workers_and_brokers(pair):
    r = name()
    names = [r + " a", r + "/é&?", r + "%2F"]
    for i in range(8):
        await events(pair[i % 2], rooms=names[:1 + i % 3])
    for i in range(3):
        await events(pair[i % 2], path="/ws2", rooms=names[:1])
    for i in range(3):
        await caller(pair[i % 2], r, f"role{i}")
    want = [(CALL, r, 3), ("/ws", r + " a", 8), ("/ws", r + "%2F", 2), ("/ws", r + "/é&?", 5), ("/ws2", r + " a", 3)]
    assert mine((await same(pair, "/api/rooms?limit=1000"))["rooms"], r) == want


async def test_pages(pair):
    """Any limit, the same whole: each room once, in order."""
    r = name()
    rooms = [f"{r}{i:03}" for i in range(60)]
    for i, b in enumerate(pair * 2):
        await events(b, rooms=rooms[i * 10:i * 10 + 30])
    want = {x: sum(i * 10 <= n < i * 10 + 30 for i in range(4)) for n, x in enumerate(rooms)}

    def pages(b, limit):
        got, after = [], quote(f"/ws {r}")
        with contextlib.closing(Api(b)) as a:
            for _ in range(100):
                page = a.get(f"/api/rooms?limit={limit}&after={after}")
                assert 0 < len(page["rooms"]) <= limit
                got += page["rooms"]
                if "next" not in page or not page["rooms"][-1]["room"].startswith(r):
                    return got
                assert page["next"] == f"/ws {page['rooms'][-1]['room']}"
                after = quote(page["next"])
        raise AssertionError("no end")

    for limit in (1, 7, 59, 60, 1000):
        got = mine(await asyncio.to_thread(pages, random.choice(pair), limit), r)
        assert got == [("/ws", x, want[x]) for x in rooms if want[x]], limit


async def test_pages_of_long_names(broker):
    """A page is not only counted but weighed: one worker says 256 KiB at a time."""
    b = serving(broker(**{**CONF, "workers": 1, "endpoints": [CONF["endpoints"][0]]}))
    settled(b, 1)
    names = {f"{i:04}" + "é" * 252 for i in range(900)}
    for i in range(10):
        c = await events(b)
        for half in (0, 1):
            await c.join(*[n for n in names if int(n[:4]) % 20 == i + 10 * half])

    def pages():
        got, after, sizes = [], "", []
        with contextlib.closing(Api(b)) as a:
            while after is not None:
                page = a.get(f"/api/rooms?limit=1000&after={after}")
                sizes.append(len(page["rooms"]))
                got += [r["room"] for r in page["rooms"]]
                after = quote(page["next"]) if "next" in page else None
        return got, sizes

    got, sizes = await asyncio.to_thread(pages)
    assert got == sorted(names | {"ws-default", "ws-notification"}, key=str.encode)
    assert 2 <= len(sizes) < 20 and max(sizes) * 512 < 300_000


async def test_the_members_of_a_room(pair):
    r = name() + "/ é"
    clients = [await events(pair[i % 2], USERS[i % 3], path=("/ws", "/ws2")[i % 2], rooms=[r]) for i in range(7)]
    whole = await same(pair, "/api/rooms/" + quote(r, safe=""))
    assert (whole["room"], whole["total"], list(whole)) == (r, 7, ["room", "total", "members"])
    want = sorted((c.id, USERS[i % 3], ("/ws", "/ws2")[i % 2]) for i, c in enumerate(clients))
    assert [(m["id"], m["user"], m["endpoint"]) for m in whole["members"]] == want
    workers = {w["worker"] for w in asking(pair[0], lambda a: a.get("/api/stats"))["workers"]}
    assert {m["worker"] for m in whole["members"]} <= workers
    with contextlib.closing(Api(pair[1])) as a:
        pages, after = [], ""
        while after is not None:
            page = a.get(f"/api/rooms/{quote(r, safe='')}?limit=2&after={after}")
            assert page["total"] == 7
            pages += page["members"]
            after = page.get("next")
    assert pages == whole["members"]


async def test_the_members_of_a_call(pair):
    r = name()
    a, b = await caller(pair[0], r, "doctor"), await caller(pair[1], r, "patient", "bob")
    got = await same(pair, f"/api/rooms/{r}")
    assert [(m["id"], m["user"], m["endpoint"]) for m in got["members"]] == sorted([(a.id, "alice", CALL), (b.id, "bob", CALL)])
    await a.close()
    await b.close()
    await asyncio.to_thread(eventually, lambda: asking(pair[0], lambda x: x.ask("GET", f"/api/rooms/{r}"))[0] == 404)


async def test_nobody_there(pair):
    for path in (f"/api/rooms/{name()}", "/api/rooms/%7Broom%7D", f"/api/rooms/{'x' * 3000}", "/api/rooms/%1B%5B2J"):
        for status, body in await everywhere(pair, lambda a, path=path: a.ask("GET", path)):
            assert (status, body["error"]) == (404, "no-such-room")
            assert "\x1b" not in body["message"]


# ---- users ----

async def test_where_a_user_is(pair):
    user = USERS[2]
    mine = [await events(pair[0], user), await events(pair[1], user, path="/ws2"), await caller(pair[1], name(), "x", "bob"),
            await bell(pair[0], user), await bell(pair[1], user)]
    del mine[2]
    got = await same(pair, "/api/users/" + quote(user, safe=""))
    want = sorted(zip([c.id for c in mine], ["/ws", "/ws2", BELL, BELL]))
    found = [(c["id"], c["endpoint"]) for c in got["connections"]]
    assert set(want) <= set(found) and got["user"] == user and got["total"] == len(found)
    assert list(got) == ["user", "total", "connections"] and list(got["connections"][0]) == ["id", "endpoint", "worker"]
    assert await same(pair, "/api/users/nobody") == {"user": "nobody", "total": 0, "connections": []}


# ---- counters ----

async def test_stats(pair):
    clients = [await events(pair[i % 2]) for i in range(5)]
    stats = asking(pair[0], lambda a: a.get("/api/stats"))
    assert list(stats) == ["workers", "nodes", "counters"]
    assert len(stats["workers"]) == 4 and [n["workers"] for n in stats["nodes"]] == [2, 2]
    assert {w["pid"] for w in stats["workers"]} == {w["pid"] for b in pair for w in b.workers()}
    assert {w["node"] for w in stats["workers"]} == {n["node"] for n in stats["nodes"]} == {
        f"{socket.gethostname()}:{b.proc.pid}" for b in pair}
    names = [r["name"] for r in pair[0].rows("show", "counters")]
    assert list(stats["counters"]) == names
    for n in names:
        assert stats["counters"][n] == sum(w["counters"][n] for w in stats["workers"]), n
    assert stats["counters"]["websockets"] >= len(clients)


# ---- kicks ----

KICKED = (4411, "Disconnected by an operator")


async def test_a_client_is_kicked_wherever_it_is(pair):
    for on, by in ((0, 1), (1, 0), (0, 0)):
        for come in (lambda b: events(b), lambda b: caller(b, name(), "x"), lambda b: bell(b)):
            c, other = await come(pair[on]), await events(pair[on])
            path = f"/api/clients/{c.id}"
            assert await asyncio.to_thread(asking, pair[by], lambda a: a.delete(path)) == {"closed": 1}
            assert await c.closed() == KICKED
            status, body = await asyncio.to_thread(asking, pair[by], lambda a: a.ask("DELETE", path))
            assert (status, body["error"]) == (404, "no-such-client")
            await other.flush()


async def test_all_of_a_user_are_kicked(pair):
    user = "bob"
    await asyncio.to_thread(asking, pair[0], lambda a: a.delete(f"/api/users/{user}/connections"))
    theirs = [await events(pair[0], user), await events(pair[1], user, "/ws2"), await caller(pair[1], name(), "x", user),
              await bell(pair[0], user), await bell(pair[1], user)]
    other = await events(pair[1], "alice")
    path = f"/api/users/{user}/connections"
    assert await asyncio.to_thread(asking, pair[1], lambda a: a.delete(path)) == {"closed": len(theirs)}
    for c in theirs:
        assert (await last(c)) == KICKED
    assert await asyncio.to_thread(asking, pair[1], lambda a: a.delete(path)) == {"closed": 0}
    await other.flush()


async def last(c):
    """Its end, whatever is said before."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await asyncio.wait_for(c.ws.recv(), WAIT)
    return c.ws.close_code, c.ws.close_reason


async def test_the_others_in_a_call_are_told(pair):
    r = name()
    a, b = await caller(pair[0], r, "doctor"), await caller(pair[1], r, "patient")
    assert (await a.get())["type"] == "user-joined"
    await asyncio.to_thread(asking, pair[0], lambda x: x.delete(f"/api/clients/{b.id}"))
    left = await a.get()
    assert (left["type"], left["id"], left["code"], left["reason"]) == ("user-left", b.id, 4411, "kicked")


async def test_helioctl_knows_all_protocols(pair):
    r = name()
    a = await caller(pair[0], r, "doctor", "bob")
    n = await bell(pair[0], "bob")
    rows = lambda *words: asyncio.to_thread(pair[0].rows, *words)
    assert [(x["id"], x["role"]) for x in await rows("show", "connections", "room", r)] == [(a.id, "doctor")]
    assert {a.id, n.id} <= {x["id"] for x in await rows("show", "connections", "user", "bob")}
    await events(pair[0], rooms=[r])  # of the same name, and another
    of_r = [(x.get("endpoint"), x["members"]) for x in await rows("show", "rooms") if x["room"] == r]
    assert sorted(of_r, key=str) == [(CALL, 1), (None, 1)]
    assert [x["members"] for x in await rows("show", "rooms", "user", "bob") if x["room"] == r] == [1]
    assert [x["connections"] for x in await rows("show", "users", "room", r) if x["user"] == "bob"] == [1]
    assert [x["connections"] for x in await rows("show", "users") if x["user"] == "bob"][0] >= 2
    assert json.loads((await asyncio.to_thread(pair[0].ctl, "--json", "kick", "room", r, "endpoint", CALL)).stdout) == {"ok": True, "closed": 1}
    assert await a.closed() == KICKED
    closed = json.loads((await asyncio.to_thread(pair[0].ctl, "--json", "kick", "user", "bob", "endpoint", BELL)).stdout)
    assert closed["closed"] >= 1 and await last(n) == KICKED


# ---- workers that do not answer ----

async def test_a_worker_that_stands_still_is_named(broker, redis_server):
    s = redis_server()
    a, b = (serving(broker(n, redis={"url": s.url}, **CONF)) for n in "ab")
    settled(a, 4)
    clients = [await events(x, rooms=["room"]) for x in (a, b) for _ in range(6)]
    still = next(w for w in b.workers())
    os.kill(still["pid"], signal.SIGSTOP)
    try:
        with contextlib.closing(Api(a)) as x:
            before = a.counter("cluster_silent")
            began = time.monotonic()
            page = x.get("/api/rooms/room")
            took = time.monotonic() - began
            assert 0.45 < took < 0.5 + 0.5 * SLACK
            [missing] = page["incomplete"]
            assert a.counter("cluster_silent") == before + 1
            assert (missing["pid"], missing["slot"], missing["node"]) == (still["pid"], still["slot"], f"{socket.gethostname()}:{b.proc.pid}")
            assert page["total"] == len(page["members"]) < 12 or len(clients) == 12
            for method, path in (("GET", "/api/rooms"), ("GET", "/api/rooms/none"), ("GET", "/api/users/x"), ("GET", "/api/stats"),
                                 ("DELETE", "/api/clients/53311a2e-3730-406f-90e4-1b9d5a71f509"), ("DELETE", "/api/users/x/connections")):
                status, body = x.ask(method, path)
                assert status == 200 and [m["pid"] for m in body["incomplete"]] == [still["pid"]], (path, body)
    finally:
        os.kill(still["pid"], signal.SIGCONT)
    settled(a, 4)
    assert asking(a, lambda x: x.get("/api/rooms/room"))["total"] == 12


async def test_a_kick_waits_for_a_worker_that_stands_still(broker, redis_server):
    s = redis_server()
    a, b = (serving(broker(n, redis={"url": s.url}, **{**CONF, "workers": 1})) for n in "ab")
    settled(a, 2)
    c = await events(b)
    pid = b.workers()[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        got = asking(a, lambda x: x.delete(f"/api/clients/{c.id}"))
        assert got["closed"] == 0 and [m["pid"] for m in got["incomplete"]] == [pid]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await c.closed() == KICKED


async def test_a_worker_that_died_is_not_waited_for(broker, redis_server):
    s = redis_server()
    a, b = (serving(broker(n, redis={"url": s.url}, **CONF)) for n in "ab")
    settled(a, 4)
    os.kill(b.workers()[0]["pid"], signal.SIGKILL)  # its supervisor tells the other worker of it
    settled(a, 4)
    assert b.stop() == 0  # these say good-bye
    stats = asking(a, lambda x: x.get("/api/stats"))
    assert "incomplete" not in stats and len(stats["workers"]) == 2
    assert set(s.client().zrange("heliod:{workers}", 0, -1)) == {w["worker"].encode() for w in stats["workers"]} == set(
        s.client().hkeys("heliod:{workers}:about"))


async def test_the_dead_are_forgotten(broker, redis_server):
    """Nobody tells of them: only their lease ends. And a register that was lost is written anew."""
    s = redis_server()
    a = serving(broker(redis={"url": s.url}, **CONF))
    settled(a, 2)
    r, dead = s.client(), str(uuid.uuid4())
    seconds, micros = r.time()
    r.zadd("heliod:{workers}", {dead: seconds * 1000 + 2000})
    r.hset("heliod:{workers}:about", dead, '{"worker":"%s"}' % dead)
    assert asking(a, lambda x: x.get("/api/stats"))["incomplete"] == [{"worker": dead}]
    settled(a, 2)
    assert r.zscore("heliod:{workers}", dead) is None and not r.hexists("heliod:{workers}:about", dead)
    r.flushall()
    settled(a, 2)


async def test_an_old_worker_that_retires_is_asked_too(broker):
    b = serving(broker(**{**CONF, "workers": 1}))
    c = await events(b, rooms=["kept"])
    b.ctl("drain", "0")
    await asyncio.to_thread(eventually, lambda: len(b.workers(None)) == 2 and len(b.workers()) == 1)
    await events(b, rooms=["kept"])
    await asyncio.to_thread(eventually, lambda: asking(b, lambda x: x.get("/api/rooms/kept"))["total"] == 2)
    assert await asyncio.to_thread(asking, b, lambda x: x.delete(f"/api/clients/{c.id}")) == {"closed": 1}
    assert await c.closed() == KICKED
    await asyncio.to_thread(eventually, lambda: len(b.workers(None)) == 1)
    settled(b, 1)


# ---- Redis, and who else speaks there ----

LISTS = ["/api/rooms", "/api/rooms/x", "/api/users/x", "/api/stats"]
KICKS = ["/api/clients/53311a2e-3730-406f-90e4-1b9d5a71f509", "/api/users/x/connections"]


def test_redis_away(broker, redis_server):
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **CONF))
    r = Raw(b.port)
    s.kill()
    eventually(lambda: b.http()[0] == 503)
    eventually(lambda: b.counter("bus_up") == 0)
    for method, path in [("GET", p) for p in LISTS] + [("DELETE", p) for p in KICKS]:
        refused(r.send(head(path=path, method=method, type_=None)), 503, "bus-down", closes=False)
    refused(r.send(api.post({"user": "u", "endpoint": BELL}, path="/api/tickets")), 503, "bus-down", closes=False)
    s.start()
    eventually(lambda: b.counter("bus_up") == 2)
    settled(b, 2)


def test_one_behind_the_other(pair):
    """Questions to all workers wait for each other on a connection, and keep their order."""
    paths = [f"/api/users/nobody-{i}" for i in range(150)]
    r = Raw(pair[0].port).send(b"".join(head(path=p, method="GET", type_=None) for p in paths))
    assert [answer(r)[2]["user"] for _ in paths] == [p.rsplit("/")[-1] for p in paths]
    r.close()


def test_gone_before_the_answer(broker, redis_server):
    """By FIN or RST, with the answers still to come; and the broker, too."""
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **CONF))
    settled(b, 2)
    s.client().zadd("heliod:{workers}", {str(uuid.uuid4()): 9e15})
    for i in range(40):
        r = Raw(b.port).send(head(path="/api/rooms", method="GET", type_=None))
        r.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", i % 2, 0))
        r.close()
    eventually(lambda: b.counter("cluster_asked") >= 40)
    r = Raw(b.port).send(head(path="/api/stats", method="GET", type_=None))
    eventually(lambda: b.counter("cluster_asked") >= 41)
    assert b.stop() == 0
    r.close()


def test_the_answer_has_its_time(broker, redis_server):
    """However short handshake_timeout is, which is for clients."""
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, client={"handshake_timeout": "400ms"}, **CONF))
    settled(b, 2)
    s.client().zadd("heliod:{workers}", {str(uuid.uuid4()): 9e15})
    with contextlib.closing(Api(b)) as a:
        assert len(a.get("/api/stats")["incomplete"]) == 1


def test_redis_silent(broker, redis_server):
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **CONF))
    with contextlib.closing(Api(b)) as a:
        s.proc.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        status, body = a.ask("GET", "/api/rooms")
        assert (status, body["error"]) == (503, "bus-uncertain") and 0.45 < time.monotonic() - began < 0.5 + 0.5 * SLACK
        s.proc.send_signal(signal.SIGCONT)
        settled(b, 2)
        assert a.get("/api/rooms") == {"rooms": []}


def test_brokers_with_another_prefix_are_others(broker, redis_server):
    s = redis_server()
    a = serving(broker("a", redis={"url": s.url, "prefix": "one:"}, **CONF))
    b = serving(broker("b", redis={"url": s.url, "prefix": "two:"}, **CONF))
    for x in (a, b):
        settled(x, 2)
    assert {k.decode().split(":")[0] for k in s.client().keys("*")} == {"one", "two"}


NONSENSE = ["", "{}", "[]", "\0\xff", '{"from":"x","ask":1,"what":"rooms","name":"","after":"","limit":5}',
            '{"from":"%s","ask":1,"what":"stop","name":"","after":"","limit":5}' % uuid.uuid4(), "x" * 100000, '{"a":' * 5000]


def test_strangers_on_the_channels_of_workers(broker, redis_server):
    """Nonsense is dropped and counted; whoever lies in the name of a worker is not believed where it can be seen."""
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **CONF))
    settled(b, 2)
    r = s.client()
    ids = [i.decode() for i in r.zrange("heliod:{workers}", 0, -1)]
    before = b.counter("bus_malformed")
    for text in NONSENSE:
        for channel in ("heliod:w", *(f"heliod:w:{i}" for i in ids)):
            r.publish(channel, text)
    eventually(lambda: b.counter("bus_malformed") == before + len(NONSENSE) * 4)
    assert b.log().count("dropped a message of another worker") <= 10  # five a worker and minute
    r.zadd("heliod:{workers}", {"not a worker": 9e15, "x\ny": 9e15, str(uuid.uuid4()): 9e15})
    for i in ids:
        r.hset("heliod:{workers}:about", i, "not JSON")
    stats = asking(b, lambda a: a.get("/api/stats"))
    assert len(stats["workers"]) == 2 and len(stats["incomplete"]) == 1


def lie(r, text):
    """Answers every question once with that, in the name of a third worker."""
    me, sub = str(uuid.uuid4()), r.pubsub()
    r.zadd("heliod:{workers}", {me: 9e15})
    r.hset("heliod:{workers}:about", me, json.dumps({"worker": me, "node": "liar"}))
    sub.subscribe("heliod:w")

    def serve():
        with contextlib.suppress(redis.ConnectionError):  # its Redis ends before it does
            for message in sub.listen():
                if message["type"] == "message":
                    q = json.loads(message["data"])
                    r.publish(f"heliod:w:{q['from']}", '{"ask":%d,"from":"%s","about":{},"answer":%s}' % (q["ask"], me, text))
    threading.Thread(target=serve, daemon=True).start()
    eventually(lambda: r.pubsub_numsub("heliod:w")[0][1] == 3)
    return me


@pytest.mark.parametrize("text", ['{}', '{"rows":[["/ws","a",1],["/ws","a",1]],"more":false}', '{"rows":[],"more":true}',
                                  '{"rows":[["/ws","b",1],["/ws","a",-1]],"more":true}', '{"closed":"all"}', '{"counters":5}'])
def test_an_answer_that_is_none(broker, redis_server, text):
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **CONF))
    settled(b, 2)
    me = lie(s.client(), text)
    with contextlib.closing(Api(b)) as a:
        for path in ("/api/rooms", "/api/users/x", "/api/stats"):
            status, body = a.ask("GET", path)
            assert status == 200 and [m["worker"] for m in body["incomplete"]] == [me], body
            assert not body.get("rooms") and "next" not in body
        assert [m["worker"] for m in a.delete("/api/users/x/connections")["incomplete"]] == [me]


def test_too_many_questions(broker, redis_server):
    """A worker that never answers holds each question up; there is an end to that."""
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **{**CONF, "workers": 1}))
    settled(b, 1)
    s.client().zadd("heliod:{workers}", {str(uuid.uuid4()): 9e15})
    asked = [Raw(b.port).send(head(path="/api/users/x", method="GET", type_=None)) for _ in range(100)]
    got = [answer(r) for r in asked]
    statuses = [status for status, _, _ in got]
    assert set(statuses) == {200, 429} and 64 <= statuses.count(200) < 100
    assert all("retry-after" in fields and body["error"] == "too-many-questions" for status, fields, body in got if status == 429)
    for r in asked:
        r.send(head(path="/api/users/x", method="GET", type_=None))
    assert {answer(r)[0] for r in asked} == {200, 429}  # they are kept
    for r in asked:
        r.close()


# ---- whatever is asked ----

ROUTES = {p: "GET, HEAD, OPTIONS" for p in LISTS} | {p: "DELETE, OPTIONS" for p in KICKS} | {
    "/api/tickets": "POST, OPTIONS", "/api/events": "POST, OPTIONS", "/api/notifications": "POST, OPTIONS"}


@pytest.mark.parametrize("path", ROUTES)
def test_methods_and_cors(pair, path):
    r, allow = Raw(pair[0].port), ROUTES[path]
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "TRACE"):
        if method not in allow:
            fields, _ = refused(r.send(head(path=path, method=method, type_=None)), 405, "method-not-allowed", method=method, closes=False)
            assert fields["allow"] == allow
    if "HEAD" in allow:
        expected, length = ((404, None) if path == "/api/rooms/x" else (200, None)), None
        status, fields, _ = answer(r.send(head(path=path, method="HEAD", type_=None)), "HEAD")
        assert status == expected[0] and int(fields["content-length"]) > 5
    status, fields, _ = answer(r.send(head(path=path, method="OPTIONS", type_=None, key=None)))
    assert (status, fields["allow"]) == (204, allow)
    ask = ["Origin: " + PAGE, f"Access-Control-Request-Method: {allow.split(',')[0]}"]
    status, fields, _ = answer(r.send(head(path=path, method="OPTIONS", type_=None, key=None, more=ask)))
    assert status == 204 and fields["access-control-allow-methods"] == allow and fields["access-control-allow-origin"] == PAGE
    method = allow.split(",")[0]
    _, fields, _ = answer(r.send(head(path=path, method=method, type_=None, length=0 if method == "POST" else None, more=ask[:1])))
    assert fields["access-control-allow-origin"] == PAGE
    refused(r.send(head(path=path, method=method, type_=None, key="wrong")), 401, "unauthorized", closes=False)
    r.close()


BAD_URLS = {
    "bad escape": ("GET", "/api/rooms/%zz", "percent-encoding"),
    "half an escape": ("GET", "/api/rooms/%2", "percent-encoding"),
    "NUL": ("GET", "/api/users/%00", "percent-encoding"),
    "no UTF-8": ("GET", "/api/rooms/%ff", "percent-encoding"),
    "half a character": ("DELETE", "/api/users/%C3/connections", "percent-encoding"),
    "empty room": ("GET", "/api/rooms/", "empty segment"),
    "empty user": ("DELETE", "/api/users//connections", "empty segment"),
    "empty client": ("DELETE", "/api/clients/", "empty segment"),
    "limit 0": ("GET", "/api/rooms?limit=0", "`limit`"),
    "limit too high": ("GET", "/api/rooms?limit=1001", "`limit`"),
    "limit no number": ("GET", "/api/users/x?limit=1e2", "`limit`"),
    "after no UTF-8": ("GET", "/api/rooms/x?after=%ff", "percent-encoding"),
    "unknown parameter": ("GET", "/api/rooms?prefix=x", "`prefix`"),
    "parameter elsewhere": ("GET", "/api/stats?limit=5", "`limit`"),
    "a key in the URL": ("DELETE", "/api/clients/x?key=s3cret", "`key`"),
}


@pytest.mark.parametrize("method,path,word", BAD_URLS.values(), ids=BAD_URLS)
def test_bad_urls(pair, method, path, word):
    with contextlib.closing(Api(pair[0])) as a:
        status, body = a.ask(method, path)
        assert (status, body["error"]) == (400, "bad-url") and word in body["message"]
        assert "s3cret" not in body["message"]
        assert a.get("/api/users/nobody")["total"] == 0  # the connection is kept


NO_ROUTES = ["/api/room", "/api/rooms/x/", "/api/rooms/x/members", "/api/users", "/api/users/x/connections/y", "/api/clients",
             "/api/stats/", "/api/Stats", "/api/{x}"]


@pytest.mark.parametrize("path", NO_ROUTES)
def test_no_such_route(pair, path):
    for method in ("GET", "DELETE", "POST"):
        refused(Raw(pair[0].port).send(head(path=path, method=method, type_=None)), 404, "no-such-route", closes=False)


def mutated(rng, data):
    """Bytes of a good request, some of them others."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        i, kind = rng.randrange(len(out)), rng.random()
        if kind < 0.4:
            out[i] = rng.choice(b'%/{}?&=+"\\\x00\x7f\xff ,:[]0aZ')
        elif kind < 0.6:
            del out[i:i + rng.randint(1, 9)]
        elif kind < 0.8:
            out[i:i] = rng.choice([b"%00", b"%zz", b"\xed\xa0\x80", b"\xf5", b"null", b"{", b"[1]", b"-1", b"99999999999999999999", b'"a":1,'])
        else:
            j = rng.randrange(len(out))
            out[i:i] = out[j:j + rng.randint(1, 30)]
        if not out:
            out = bytearray(b"x")
    return bytes(out)


DOCUMENTED = {"bad-url", "bad-body", "no-such-route", "no-such-room", "no-such-client", "method-not-allowed"}
GOOD_URLS = ["/api/rooms?limit=5&after=%2Fws%20a", "/api/rooms/r-%C3%A9", "/api/users/u%20v?limit=1", "/api/stats"]
GOOD_BODIES = {
    "/api/tickets": {"user": "u-é", "endpoint": BELL, "ttl": 30},
    "/api/events": {"to": {"room": "nobody-is-here"}, "event": "x", "data": {"n": [1, None]}, "exclude": ["a"]},
    "/api/notifications": {"user": "u-é", "notification": {"title": "x", "id": "i"}},
}


@pytest.mark.parametrize("seed", range(4))
async def test_mutations(pair, seed):
    """Whatever comes: the documented answer in its form, the connection kept, and the bystanders have noticed nothing."""
    rng = random.Random(seed)
    r = name()
    bystanders = [await events(pair[0], rooms=[r]), await events(pair[1], rooms=[r])]

    def storm():
        refusals = 0
        raw = Raw(pair[seed % 2].port)
        for i in range(400):
            if i % 2:
                path, body = rng.choice(list(GOOD_BODIES.items()))
                data = mutated(rng, json.dumps(body, ensure_ascii=False).encode())
                raw.send(head(path=path, length=len(data)) + data)
            else:
                method = rng.choice(["GET", "GET", "DELETE", "POST"])
                path = mutated(rng, rng.choice(GOOD_URLS).encode())
                path = b"/api/" + bytes(c for c in path.removeprefix(b"/api/") if 0x20 < c < 0x7f and c != 0x23)
                raw.send(head(path=path.decode(), method=method, type_=None))
            status, fields, got = answer(raw)
            assert status in (200, 400, 404, 405, 411, 415), got
            if status >= 400:
                refusals += 1
                assert got["error"] in DOCUMENTED | {"not-json", "length-required"}, got
            if fields["connection"] == "close":
                raw.close()
                raw = Raw(pair[seed % 2].port)
        raw.close()
        return refusals

    assert await asyncio.to_thread(storm) > 100
    for c in bystanders:
        await c.flush()
    assert (await same(pair, f"/api/rooms/{r}"))["total"] == 2
    for b in pair:
        assert all(w["worker"] == 1 for w in b.workers())
