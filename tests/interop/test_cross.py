"""The genuine server and heliod on one Redis: what one sends reaches the other's clients, once, in order."""
import asyncio
import json

import pytest
import redis
from e2e_conftest import Broker, eventually

import a7_encryption
from a3_states import ending
from conftest import profiles
from sides import Conn, connect


@pytest.fixture
def both(genuine, heliod):
    return genuine.begin(), heliod.begin()


async def two(both, room=None, profile="plain"):
    """A client of either, <g> and <h>; both sides know both names."""
    g, h = [await s.enter(token, profile) for s, token in zip(both, ("user ug", "user uh"))]
    for s in both:
        s.names = {g.id: "g", h.id: "h"}
    for c, name in ((g, "g"), (h, "h")):
        c.name = name
        if room:
            await c.join(room)
    return g, h


async def fenced(*clients):
    """What each has heard, up to a broadcast of the genuine emitter."""
    clients[0].side.app.emit("broadcast", event="fence", data=None)
    return [await c.until('{"event":"fence","data":null}') for c in clients]


def x(data=1):
    return ['{"event":"x","data":%s}' % json.dumps(data)]


async def test_what_either_sends_reaches_both(both):
    """The genuine server's `send`, and helioctl's."""
    g, h = await two(both, "public-a")
    assert g.id != h.id
    for s in both:
        s.send("public-a", "x", 1)
        assert await fenced(g, h) == [x(), x()], s.name
        s.send(None, "x", 1)
        assert await fenced(g, h) == [x(), x()], s.name
        s.send(g.id, "x", 1)
        assert await fenced(g, h) == [x(), []], s.name
        s.send(h.id, "x", 1)
        assert await fenced(g, h) == [[], x()], s.name
        s.send("public-nobody", "x", 1)
        assert await fenced(g, h) == [[], []], s.name


async def test_the_application_behind_either(both):
    """A client's event makes the application send; the client's own server has it first, everyone has it once."""
    g, h = await two(both, "public-a")
    for c, other in ((g, h), (h, g)):
        for order, heard in [({"room": "public-a"}, [x(), x()]), ({}, [x(), x()]), ({"client": other.id}, [[], x()]),
                             ({"client": c.id}, [x(), []])]:
            await c.order({**order, "event": "x", "data": 1})
            assert await c.told() == heard[0]
            assert await fenced(c, other) == [[], heard[1]], (c.name, order)


async def test_users_on_both(both, app, broker):
    a, b = [await s.enter("user same") for s in both]
    for send in (lambda: app.emit("toUser", userId="same", event="x", data=1), lambda: broker.ctl("send", "user", "same", "x", "1")):
        send()
        assert await fenced(a, b) == [x(), x()]
    g, h = await two(both)
    broker.ctl("send", "user", "ug", "x", "1")
    assert await fenced(g, h) == [x(), []]
    app.emit("toUser", userId="uh", event="x", data=1)
    assert await fenced(g, h) == [[], x()]


async def test_exclude_across_servers(both, app):
    g, h = await two(both, "public-a")
    for exclude, heard in [([g.id], [[], x()]), ([h.id], [x(), []]), ([g.id, h.id], [[], []]), (["ug", "uh"], [x(), x()]),
                           ([], [x(), x()])]:
        app.emit("toRoom", room="public-a", event="x", data=1, exclude=exclude)
        assert await fenced(g, h) == heard, exclude


async def test_a_client_that_publishes_itself(both, broker, genuine, heliod):
    """heliod's `publish`: the others in the room, on whatever server, not its sender."""
    g, h = await two(both, "public-a")
    sender = await Conn(heliod, "sender", await connect(broker.url, "/anonymous")).enter()
    await sender.join("public-a")
    await sender.say("publish", {"room": "public-a", "event": "x", "data": 1})
    assert await sender.heard() == []
    assert await fenced(g, h, sender) == [x(), x(), []]


async def test_a_thousand_in_order_each_way(both):
    g, h = await two(both, "public-a")
    numbers = [x(i)[0] for i in range(1000)]
    for c, other in ((g, h), (h, g)):
        for start in range(0, 1000, 100):
            orders = [{"room": "public-a" if i % 3 else other.id, "event": "x", "data": i} for i in range(start, start + 100)]
            await c.order(*orders)
        own = await c.told()
        assert own == [n for i, n in enumerate(numbers) if i % 3], c.name
        assert await fenced(c, other) == [[], numbers], c.name


async def test_both_at_once_a_thousand_each(both):
    """Orders of two publishers may interleave; each one's own stays."""
    g, h = await two(both, "public-a")

    async def publish(c):
        for i in range(1000):
            await c.order({"room": "public-a", "event": c.name, "data": i})
        return await c.told()

    heard_g, heard_h = await asyncio.gather(publish(g), publish(h))
    rest_g, rest_h = await fenced(g, h)
    for heard in (heard_g + rest_g, heard_h + rest_h):
        for c in (g, h):
            assert [t for t in heard if t.startswith('{"event":"%s"' % c.name)] == ['{"event":"%s","data":%d}' % (c.name,
                                                                                                                  i) for i in range(1000)]
        assert len(heard) == 2000


async def test_encrypted_clients_of_either(both):
    genuine, heliod = both
    g, h = await a7_encryption.sealed(genuine), await a7_encryption.sealed(heliod)
    for s in both:
        s.send("ws-default", "to the room", {"é": 1}, profile="sealed")
        s.send(g.conn.id, "to g", 1, profile="sealed")
        s.send(h.conn.id, "to h", 1, profile="sealed")
        assert sorted(await g.get(2)) == ['{"event":"to g","data":1}', '{"event":"to the room","data":{"é":1}}'], s.name
        assert await h.get(2) == ['{"event":"to the room","data":{"é":1}}', '{"event":"to h","data":1}'], s.name


# ---- ends ----


async def states(s, url, path):
    """A client in every state, on a server of its own that will stop."""
    async def open_():
        return Conn(s, "c", await connect(url, path))

    unauthorized, authenticating, authenticated = await open_(), await open_(), await (await open_()).enter()
    await authenticating.say("authenticate", {"token": "sleep 1500 u1"})
    for c in (unauthorized, authenticating, authenticated):
        await c.flush()
    return unauthorized, authenticating, authenticated


async def test_graceful_stop(both, app, place, redis_server, record_property):
    genuine, heliod = both
    port = app.control("start", server="stopping", profile="plain")
    clients = await states(genuine, f"ws://127.0.0.1:{port}", "/ws")
    app.control("stop", server="stopping")
    theirs = [await ending(c) for c in clients]
    b = Broker(place / "stopping", redis={"url": redis_server.url}, endpoints=profiles(app))
    try:
        clients = await states(heliod, b.url, "/ws")
        b.signal(15)
        ours = [await ending(c) for c in clients]
        assert b.proc.wait(30) == 0
    finally:
        b.close()
    assert theirs == ours == [["closed 1001 Server shutting down"]] * 3
    record_property("A6 graceful_stop", "3 the same")


def links(r):
    return {c["id"] for c in r.client_list(_type="pubsub")}


async def test_a_cut_subscription(both, app, place, redis_server, record_property):
    """A9 Q: never restored by the original with its default helper; heliod restores it."""
    genuine, heliod = both
    r = redis.Redis(port=redis_server.port)
    before = links(r)
    port = app.control("start", server="cut", profile="plain")
    theirs = links(r) - before
    b = Broker(place / "cut", redis={"url": redis_server.url}, endpoints=profiles(app))
    try:
        ours = links(r) - before - theirs
        assert theirs and ours
        g = await Conn(genuine, "g", await connect(f"ws://127.0.0.1:{port}", "/ws")).enter()
        h = await Conn(heliod, "h", await connect(b.url, "/ws")).enter()
        for id_ in theirs | ours:
            r.client_kill_filter(_id=id_)
        eventually(lambda: links(r) - before - theirs - ours and b.http()[0] == 200, 20, "heliod is subscribed again")
        r.publish("ws:broadcast", '{"serverId":"s","type":"broadcast","event":"x","data":1}')
        assert await h.get() == x()[0]
        app.control("send", server="cut", destination=g.id, topic="local", data=1)
        assert await g.get() == '{"event":"local","data":1}'
        await h.ws.close()
    finally:
        b.close()
    record_property("A9 a_cut_subscription", "otherwise, as intended: A9 Q: heliod subscribes again")
