"""Notifications in hard times: clients that vanish, a bus that does, workers and nodes that are killed."""
import asyncio
import base64
import hmac
import json
import os
import random
import re
import resource
import select
import signal
import socket
import struct
import time

import pytest
import redis

from client import connect
from conftest import SLACK, eventually
from crowd import ctl, is_alive, until, with_bus
from inbox import PATH, Tab, inboxes, notify, post, publish, serving, tab, token
from rawws import REQUEST, Raw, frame


def lines(b, level):
    return [line for line in b.log().splitlines() if re.search(rf"^\S+ {level} ", line)]


def redis_of(b):
    return redis.Redis(unix_socket_path=b.redis_path, decode_responses=True)


def raw(b, user="alice", path=PATH):
    return Raw(b.port).open(f"{path}?token={token(user)}")


def said(ws):
    fin, opcode, payload = ws.frame()
    assert (fin, opcode) == (1, 1)
    return json.loads(payload)


def reset(s):
    """A RST instead of a FIN."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# ── the three tests of the seed ──

def test_normal_connection(broker):
    b = broker(**inboxes())
    ws = raw(b)
    assert said(ws)["type"] == "connection_established"
    ws.send(frame(1, b'{"type":"ping"}'))
    assert said(ws) == {"type": "pong"}
    ws.send(frame(8, struct.pack(">H", 1000)))
    assert ws.closing() == (1000, "")
    eventually(lambda: re.search(r" info .*disconnected .*user=alice code=1000 ", b.log()), what="the line")
    assert len(lines(b, "error")) == 0


@pytest.mark.parametrize("last", [b"", frame(1, b'{"type":"list"}'), frame(1, b"half a message")[:7], frame(1, b"x", fin=False)],
                         ids=["idle", "asking", "inside a frame", "inside a message"])
def test_abrupt_end(broker, last):
    b = broker(**inboxes())
    for _ in range(3):
        ws = raw(b)
        assert said(ws)["type"] == "connection_established"
        ws.send(last)
        reset(ws.s)
    eventually(lambda: b.counter("closed_lost") == 3, what="the ends are counted")
    assert len(re.findall(r' info .*disconnected .*user=alice code=1006 cause="(?:Connection reset by peer|Broken pipe)"', b.log())) == 3
    assert lines(b, "error") == [] and b.counter("connections") == b.counter("inbox_readers") == 0


def test_send_after_the_end(broker, redis_server):
    """Notifications are on their way to clients whose resets the worker has not seen yet."""
    keys = with_bus(redis_server)
    b, other = broker(**keys, **inboxes()), broker("other", **keys, **inboxes())
    before = [w["pid"] for w in b.workers()]
    tabs = [raw(b) for _ in range(20)]
    for ws in tabs:
        said(ws)
    os.kill(before[0], signal.SIGSTOP)
    try:
        for ws in tabs:
            reset(ws.s)
        for i in range(20):
            assert post(other, {"user": "alice", "notification": {"id": f"n{i}"}})[0] == 200
    finally:
        os.kill(before[0], signal.SIGCONT)
    eventually(lambda: b.counter("closed_lost") == 20, what="all are gone")
    assert lines(b, "error") == [] and [w["pid"] for w in b.workers()] == before
    assert len(re.findall("a send failed", b.log())) <= 5
    ws = raw(b)
    assert said(ws)["unread_count"] == 20
    assert [said(ws)["notification"]["id"] for _ in range(20)] == [f"n{i}" for i in range(20)]


# ── very many at once ──

class Many:
    """n clients in one thread; they are only ever connected, and read now and then."""

    def __init__(self, b, n, users):
        self.sockets = []
        for first in range(0, n, 200):
            batch = [self.begin(b, users[i % len(users)]) for i in range(first, min(first + 200, n))]
            for s in batch:
                self.await_text(s, b"connection_established")
            self.sockets += batch

    def begin(self, b, user):
        s = socket.create_connection(("127.0.0.1", b.port), timeout=30 * SLACK)
        s.sendall(REQUEST.format(path=f"{PATH}?token={token(user)}", more="").encode())
        return s

    def await_text(self, s, text):
        data = b""
        while text not in data:
            chunk = s.recv(65536)
            assert chunk, data
            data += chunk

    def vanish(self):
        for s in self.sockets:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for s in self.sockets:
            s.close()


def test_ten_thousand_vanish(broker):
    """All at once, while notifications are on their way to them."""
    n, users = 10000, [f"u{i}" for i in range(100)]
    b = serving(broker(workers=2, **inboxes(users)))
    before = [w["pid"] for w in b.workers()]
    many = Many(b, n, users)
    eventually(lambda: b.counter("websockets") == n, what="all are there")
    assert b.counter("inbox_readers") <= 200
    for i in range(3):
        assert post(b, {"broadcast": True, "notification": {"id": f"b{i}"}})[0] == 200
    many.vanish()
    eventually(lambda: b.counter("websockets") == 0, 30, "all are gone")
    assert b.counter("closed_lost") == n and b.counter("inbox_readers") == 0
    assert [w["pid"] for w in b.workers()] == before
    assert lines(b, "error") == []
    assert len(lines(b, "info")) < 4000 and len(lines(b, "warn")) < 50
    ws = raw(b, "u7")
    assert said(ws)["unread_count"] == 3


# ── clients that do not read, and too much at once ──

def test_slow_consumer(broker):
    """A tab that reads nothing is closed; the other one of the same user is not held up."""
    b = broker(**inboxes(backpressure="64KiB"))
    slow, quick = Raw(b.port, rcvbuf=4096).open(f"{PATH}?token={token('alice')}"), raw(b)
    said(quick)
    for i in range(400):
        assert post(b, {"user": "alice", "notification": {"id": f"n{i}", "x": "y" * 60000}})[0] == 200
        assert said(quick)["notification"]["id"] == f"n{i}" and said(quick)["type"] == "unread_count"
        if len(b.rows("show", "connections", "user", "alice")) == 1 or '"state":"closing"' in str(b.ctl("--json", "show", "connections").stdout):
            break
    else:
        pytest.fail("the slow one is never closed")
    slow.close()
    eventually(lambda: re.search(r"disconnected .*user=alice code=10(?:08|06)", b.log()), what="it is gone")
    assert said_pong(quick)


def said_pong(ws):
    ws.send(frame(1, b'{"type":"ping"}'))
    while (message := said(ws)) != {"type": "pong"}:
        assert message["type"] in ("notification", "unread_count")
    return True


async def test_kick(broker):
    b = broker(**inboxes())
    one, two = await tab(b), await tab(b, "bob")
    await ctl(b, "kick", "user", "alice")
    assert await one.c.closed() == (4411, "Disconnected by an operator")
    await two.nothing()
    rows = await asyncio.to_thread(b.rows, "show", "connections")
    assert [r["user"] for r in rows] == ["bob"]


async def test_a_flood_of_questions(broker):
    """Reading stops while Redis is asked; every question is answered, in order."""
    b = broker(**inboxes())
    t = await tab(b)
    await t.c.ws.send("x" * 100)
    for i in range(3000):
        await t.c.raw('{"type":"list","limit":%d}' % (i % 100 + 1))
        if i % 100 == 99:
            await t.c.raw('{"type":"ping"}')
    kinds = [(await t.get())["type"] for _ in range(3031)]
    assert kinds == ["error"] + (["list"] * 100 + ["pong"]) * 30


# ── the bus goes, and comes back ──

class Cable:
    """Between a broker and Redis: can be cut and joined again; and what Redis says, in answers or in messages, can be held up."""

    def __init__(self, redis):
        self.redis, self.server, self.pairs, self.is_cut = redis, None, [], False
        self.answers, self.messages = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.messages.set()

    async def open(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        if self.is_cut:
            writer.transport.abort()
            return
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self.redis.port)
        self.pairs.append((writer, their_writer))
        link = {"flow": self.answers}
        await asyncio.gather(self.ask(reader, their_writer, link), self.answer(their_reader, writer, link), return_exceptions=True)
        self.drop(writer, their_writer)

    async def ask(self, reader, writer, link):
        while data := await reader.read(65536):
            if b"SUBSCRIBE" in data:
                link["flow"] = self.messages
            writer.write(data)
        writer.close()

    async def answer(self, reader, writer, link):
        while data := await reader.read(65536):
            await link["flow"].wait()
            writer.write(data)
        writer.close()

    def drop(self, *writers):
        for w in writers:
            w.transport.abort()

    def cut(self):
        self.is_cut = True
        for pair in self.pairs:
            self.drop(*pair)
        self.pairs.clear()

    def join(self):
        self.is_cut = False

    @property
    def keys(self):
        return {"redis": {"url": f"redis://127.0.0.1:{self.port}/0"}}


async def two_nodes(broker, redis_server, users, **more):
    """One behind a cable, one beside Redis."""
    server = redis_server()
    cable = await Cable(server).open()
    near = await asyncio.to_thread(lambda: broker("near", **inboxes(users, **more), redis={"url": server.url}))
    far = await asyncio.to_thread(lambda: broker("far", **inboxes(users, **more), **cable.keys))
    return cable, near, far


async def test_live_before_the_backlog(broker, redis_server):
    """What is published while the answer about the inbox is on its way comes behind it, and once."""
    cable, near, far = await two_nodes(broker, redis_server, ["alice"])
    old = await notify(near, "alice")
    cable.answers.clear()
    c = await connect(far.url, f"{PATH}?token={token('alice')}")
    r = redis.Redis(port=cable.redis.port)
    await until(lambda: "cmdstat_zrevrangebyscore" in r.info("commandstats"), what="Redis has looked for a backlog")
    new = [await notify(near, "alice", n=i) for i in range(2)]
    cable.answers.set()
    t = Tab(c, "alice")
    assert (await t.get())["unread_count"] in (1, 2, 3)  # with what has come live meanwhile
    heard = [await t.get() for _ in range(3)]
    assert [m["notification"]["id"] for m in heard] == [old, *new]
    while t.said[-1].get("type") != "pong":
        await t.c.raw('{"type":"ping"}')
        while (await t.get())["type"] != "pong":
            assert t.said[-1]["type"] == "unread_count"
    counts = [m["count"] if "count" in m else m["unread_count"] for m in t.said if "count" in m or "unread_count" in m]
    assert counts == sorted(counts) and counts[-1] == 3


async def test_answers_before_messages(broker, redis_server):
    """What a tab has been told in an answer it is not told again, and no older count follows, when the messages come late."""
    cable, near, far = await two_nodes(broker, redis_server, ["alice"])
    one = await tab(far)
    cable.messages.clear()
    a = await notify(near, "alice", id="a")
    two = await tab(far)
    assert two.first["unread_count"] == 1
    await two.expect("a")
    await notify(near, "alice", id="b")
    assert await two.ask(type="mark_read", id="a") == {"type": "unread_count", "count": 1}
    await notify(near, "alice", id="c")
    cable.messages.set()
    await one.expect(a, 1, "b", 2, 1, "c", 2)
    await two.expect("b", "c", 2)
    await one.nothing()
    await two.nothing()


async def test_bus_away(broker, redis_server):
    cable, near, far = await two_nodes(broker, redis_server, ["alice", "bob", "carl"])
    here, there, idle = await tab(near), await tab(far), await tab(far, "bob")
    first = await notify(near, "alice")
    await here.expect(first, 1)
    await there.expect(first, 1)
    cable.cut()
    await until(lambda: far.http()[0] == 503, what="the far one has no bus")

    for message in ({"type": "mark_read", "id": first}, {"type": "mark_all_read"}, {"type": "list"}):
        answer = await there.ask(**message)
        assert (answer["type"], answer["code"]) == ("error", "unavailable"), answer
    await there.nothing()
    late = await connect(far.url, f"{PATH}?token={token('carl')}")
    assert await late.closed() == (4503, "The inbox cannot be reached now, try again later")
    status, answer = await asyncio.to_thread(post, far, {"user": "alice", "notification": {}})
    assert (status, answer["error"]) == (503, "bus-down")
    done = await ctl(far, "notify", "alice", "{}", check=False)
    assert done.returncode == 3, done

    missed = [await notify(near, "alice", n=i) for i in range(3)]
    everybody = (await publish(near, {"broadcast": True, "notification": {}}))["*"]
    await here.expect(missed[0], 2, missed[1], 3, missed[2], 4, everybody, 5)
    assert await here.ask(type="mark_read", id=missed[1]) == {"type": "unread_count", "count": 4}
    cable.join()
    await there.expect(missed[0], missed[2], everybody, 4)
    got = [await idle.get(), await idle.get()]
    assert got[0]["notification"]["id"] == everybody and got[1] == {"type": "unread_count", "count": 1}
    await there.nothing()
    await here.nothing()
    assert await there.ask(type="mark_all_read") == {"type": "unread_count", "count": 0}
    await here.expect(0)
    await idle.nothing()
    again = await notify(far, "alice")
    for t in here, there:
        await t.expect(again, 1)


async def test_only_what_was_missed(broker, redis_server):
    """What a tab was told before is not told again; a tab that came after the loss is not told what its backlog held."""
    cable, near, far = await two_nodes(broker, redis_server, ["alice"])
    old = await notify(near, "alice")
    t = await tab(far)
    await t.expect(old)
    cable.cut()
    await until(lambda: far.http()[0] == 503, what="the far one has no bus")
    cable.join()
    await until(lambda: far.http()[0] == 200, what="it is back")
    new = await notify(near, "alice")
    await t.expect(new, 2)
    await t.nothing()
    cable.cut()
    await until(lambda: far.http()[0] == 503, what="the far one has no bus")
    while_away = await notify(near, "alice")
    cable.join()
    await t.expect(while_away, 3)
    late = await tab(far)
    await late.expect(old, new, while_away)
    await late.nothing()
    await t.nothing()


async def test_another_redis(broker, redis_server):
    """Redis is restarted and has forgotten everything: the tabs stay, and learn that there is nothing."""
    server = redis_server()
    b = broker(redis={"url": server.url}, **inboxes())
    t = await tab(b)
    made = await notify(b, "alice")
    await t.expect(made, 1)
    server.kill()
    await until(lambda: b.http()[0] == 503, what="the bus is away")
    await asyncio.to_thread(server.start)
    await t.expect(0)
    made = await notify(b, "alice")
    await t.expect(made, 1)
    await t.nothing()


async def test_redis_refuses(broker, redis_server):
    """Out of memory: said to whoever publishes, one line for the operator, and what is there can be read and marked."""
    server = redis_server(args=["--maxmemory-policy", "noeviction"])
    b = broker(redis={"url": server.url}, **inboxes())
    t = await tab(b)
    made = await notify(b, "alice")
    await t.expect(made, 1)
    server.client().config_set("maxmemory", 1)
    for _ in range(3):
        status, answer = await asyncio.to_thread(post, b, {"user": "alice", "notification": {}})
        assert (status, answer["error"]) == (503, "bus-down"), answer
    await until(lambda: lines(b, "error"), what="a line")
    assert len(lines(b, "error")) == 1 and "OOM" in lines(b, "error")[0]
    assert await t.ask(type="mark_read", id=made) == {"type": "unread_count", "count": 0}
    assert await t.ids() == [made]
    server.client().config_set("maxmemory", 0)
    await t.expect(await notify(b, "alice"), 1)


async def test_redis_makes_no_sense(broker):
    """Somebody else's value where an inbox belongs: an error, no crash; others are not touched."""
    b = broker(**inboxes())
    t, u = await tab(b), await tab(b, "bob")
    redis_of(b).set("heliod:inbox:{u:alice}:unread", "x")
    for message in ({"type": "mark_read", "id": "x"}, {"type": "list"}):
        assert (await t.ask(**message))["code"] == "unavailable"
    c = await connect(b.url, f"{PATH}?token={token('alice')}")
    assert (await c.closed())[0] == 4503
    await u.expect(await notify(b, "bob"), 1)
    await until(lambda: lines(b, "error"), what="a line")
    assert len(lines(b, "error")) == 1


async def test_redis_has_something_else_in_an_inbox(broker):
    """In the right place, but nothing that can be sent: neither it nor what is published there reaches a client."""
    b = broker(**inboxes())
    t, u = await tab(b), await tab(b, "bob")
    made = await notify(b, "alice")
    await t.expect(made, 1)
    r = redis_of(b)
    good = r.hget("heliod:inbox:{u:alice}:texts", made)
    for text in (b"garbage", b"\xff", b'{"id":"x"', b'{},'):
        r.hset("heliod:inbox:{u:alice}:texts", made, text)
        assert (await t.ask(type="list"))["code"] == "unavailable"
        c = await connect(b.url, f"{PATH}?token={token('alice')}")
        assert (await c.closed())[0] == 4503
        for news in (b"n9000000000000000 " + text, b"c9000000000000000 " + text, text):
            r.publish("heliod:n:alice", news)
    await u.expect(await notify(b, "bob"), 1)
    await until(lambda: lines(b, "error"), what="a line")
    assert len(lines(b, "error")) == 1 and "user=alice" in lines(b, "error")[0]
    r.hset("heliod:inbox:{u:alice}:texts", made, good)
    assert await t.ids() == [made]
    await t.expect(await notify(b, "alice"), 2)
    await until(lambda: b.counter("bus_malformed") == 12, what="counted")


# ── a reload, and the end of the endpoint ──

async def test_reload(broker):
    b = broker(**inboxes())
    t = await tab(b)
    await ctl(b, "reload")
    made = await notify(b, "alice")
    await t.expect(made, 1)
    b.write(endpoints=[{"path": "/echo", "protocol": "echo"}])
    await ctl(b, "reload")
    made = await notify(b, "alice")
    await t.expect(made, 2)
    await t.close()
    b.write(**inboxes())
    await ctl(b, "reload")
    t = await tab(b)
    assert t.first["unread_count"] == 2


async def test_endpoints_share_inboxes(broker):
    one = inboxes()["endpoints"][0]
    b = broker(**{**inboxes(), "endpoints": [one, {**one, "path": "/other", "backlog": 0}]})
    t, u = await tab(b), await tab(b, path="/other")
    made = await notify(b, "alice")
    await t.expect(made, 1)
    await u.expect(made, 1)
    assert await u.ask(type="mark_read", id=made) == {"type": "unread_count", "count": 0}
    await t.expect(0)
    await (await tab(b, path="/other")).nothing()


# ── tokens that expire ──

def jwt(secret, **claims):
    part = lambda o: base64.urlsafe_b64encode(o if isinstance(o, bytes) else json.dumps(o).encode()).rstrip(b"=")
    head = part({"alg": "HS256"}) + b"." + part(claims)
    return (head + b"." + part(hmac.new(secret, head, "sha256").digest())).decode()


@pytest.mark.parametrize("enforced", [True, False])
async def test_expiry(broker, enforced):
    secret = "s" * 32
    auth = {"method": "jwt", "key": secret, "algorithms": ["HS256"], "leeway": "0s", "enforce_expiry": enforced}
    b = broker(**inboxes(auth=auth))
    c = await connect(b.url, f"{PATH}?token={jwt(secret.encode(), sub='alice', exp=int(time.time()) + 2)}")
    assert (await c.get())["user"] == "alice"
    if enforced:
        assert await c.closed() == (4001, "Token expired")
    else:
        await asyncio.sleep(2.5)  # a time over which nothing may happen
        await c.raw('{"type":"ping"}')
        assert await c.get() == {"type": "pong"}
    c = await connect(b.url, f"{PATH}?token={jwt(secret.encode(), sub='alice', exp=int(time.time()) - 1)}")
    assert await c.closed() == (4001, "Unauthorized")


# ── to very many ──

def test_broadcast_to_thousands(broker):
    """3000 users on two workers: each is told of each of five broadcasts, once, and Redis is asked a few at a time."""
    users = [f"u{i}" for i in range(3000)]
    b = serving(broker(workers=2, **inboxes(users)))
    many = Many(b, len(users), users)
    for i in range(5):
        assert post(b, {"broadcast": True, "notification": {"id": f"b{i}"}})[0] == 200
    for s in many.sockets:
        data = b""
        while b'"count":5}' not in data:
            chunk = s.recv(65536)
            assert chunk
            data += chunk
        assert [data.count(b'"id":"b%d"' % i) for i in range(5)] == [1] * 5
    many.vanish()
    eventually(lambda: b.counter("websockets") == 0, 30, "all are gone")
    assert lines(b, "error") == []
