"""The bus (PROTOCOL A8, A11): what a back end PUBLISHes reaches exactly the right clients, on two workers and two brokers."""
import asyncio
import json
import subprocess

import pytest

from client import connect, entered
from conftest import eventually
from test_events import endpoint, error, static

USERS = [f"u{i}" for i in range(20)]


def envelope(type_, target=None, event="x", server="emitter", **more):
    e = {"serverId": server, "type": type_}
    if target is not None:
        e["target"] = target
    e["event"] = event
    e.update(more)
    return json.dumps(e, ensure_ascii=False, separators=(",", ":"))


def redis_cli(b, channel, payload):
    done = subprocess.run(["redis-cli", "-s", b.redis_path, "PUBLISH", channel, payload], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


async def spread(b, n=16, **more):
    """n clients u0 … on the workers of a broker; with several workers until each has some."""
    clients = [await entered(b.url, token=f"token-u{i % len(USERS)}", **more) for i in range(n)]
    while len({c["slot"] for c in b.rows("show", "connections")}) < len(b.workers()):
        clients.append(await entered(b.url, token=f"token-u{len(clients) % len(USERS)}"))
    return clients


async def receivers(clients, marker, publish):
    """Indices of the clients that got exactly `marker` and nothing else; a broadcast behind it proves that nothing more comes."""
    publish()
    got = []
    for i, c in enumerate(clients):
        messages = []
        while True:
            m = await c.get()
            if m["event"] == "fence":
                break
            messages.append(m)
        assert messages in ([], [marker]), messages
        if messages:
            got.append(i)
    return got


async def test_exactly_the_right_clients_on_two_workers(broker):
    b = broker(workers=2, **endpoint(auth=static(*USERS)))
    clients = await spread(b)
    await clients[3].join("public-a")
    await clients[4].join("public-a")
    await asyncio.sleep(0)

    async def expect(indices, channel, payload, marker):
        def publish():
            redis_cli(b, channel, payload)
            redis_cli(b, "ws:broadcast", envelope("broadcast", event="fence"))

        assert await receivers(clients, marker, publish) == indices

    everyone = list(range(len(clients)))
    x = {"event": "x", "data": {"a": 1}}
    await expect([3, 4], "ws:room:public-a", envelope("room", "public-a", data={"a": 1}), x)
    await expect([4], "ws:room:public-a", envelope("room", "public-a", data={"a": 1}, exclude=[clients[3].id]), x)
    await expect([3, 4], "ws:room:public-a", envelope("room", "public-a", data={"a": 1}, exclude=["u3", "zzz", 5]), x)
    await expect([5], f"ws:client:{clients[5].id}", envelope("client", clients[5].id, data={"a": 1}), x)
    await expect([5], f"ws:client:{clients[5].id}", envelope("client", clients[5].id, data={"a": 1}, exclude=[clients[5].id]), x)
    await expect([6], f"ws:room:{clients[6].id}", envelope("room", clients[6].id, data={"a": 1}), x)
    same = [i for i in everyone if i % len(USERS) == 7]
    await expect(same, "ws:user:u7", envelope("user", "u7", data={"a": 1}, exclude=[clients[7].id]), x)
    await expect(everyone, "ws:room:ws-default", envelope("room", "ws-default"), {"event": "x"})
    await expect(everyone, "ws:broadcast", envelope("broadcast", data={"a": 1}), x)
    await expect([i for i in everyone if i != 2], "ws:broadcast", envelope("broadcast", exclude=[clients[2].id]), {"event": "x"})
    await expect([], "ws:room:public-b", envelope("room", "public-b"), {"event": "x"})
    await expect([], "ws:room:public-a", envelope("room", "ws:internal:broadcast"), {"event": "x"})
    # routing is by type and target, not by channel
    await expect([3, 4], "ws:broadcast", envelope("room", "public-a", data={"a": 1}), x)


@pytest.mark.parametrize("payload, delivered", [
    ('{"serverId":"s","type":"broadcast","event":"x","data":null}', '{"event":"x","data":null}'),
    ('{"serverId":"s","type":"broadcast","event":"x","data":false,"extra":1}', '{"event":"x","data":false}'),
    (' { "data" : "é" , "event":"x","type":"broadcast" , "serverId":"s"} ', '{"event":"x","data":"é"}'),
    ('{"serverId":"s","type":"broadcast","event":"x","data":{"n": 9007199254740993}}', '{"event":"x","data":{"n": 9007199254740993}}'),
    ('{"serverId":"s","type":"broadcast","event":"x","exclude":null}', '{"event":"x"}'),
    ('{"serverId":"s","type":"broadcast","event":"x","exclude":{"length":9}}', '{"event":"x"}'),
    ('{"serverId":"s","type":"broadcast","event":"connected"}', '{"event":"connected"}'),
    ('{"serverId":"s","type":"broadcast","event":"error"}', '{"event":"error"}'),
    ('{"serverId":"s","type":"broadcast","event":""}', '{"event":""}'),
])
async def test_accepted_envelopes(broker, payload, delivered):
    b = broker(**endpoint())
    c = await entered(b.url)
    redis_cli(b, "ws:broadcast", payload)
    assert await asyncio.wait_for(c.ws.recv(), 10) == delivered


async def test_dropped_envelopes_stall_nobody(broker):
    b = broker(**endpoint())
    c = await entered(b.url)
    bad = ["", "x", "5", "null", "[]", "{}", '{"serverId":"s"}', '{"serverId":"s","type":"broadcast"}',
           '{"serverId":5,"type":"broadcast","event":"x"}', '{"type":"broadcast","event":"x"}',
           '{"serverId":"s","type":"broadcast","event":5}', '{"serverId":"s","type":"Broadcast","event":"x"}',
           '{"serverId":"s","type":"room","event":"x"}', '{"serverId":"s","type":"room","target":"","event":"x"}',
           '{"serverId":"s","type":"room","target":5,"event":"x"}', '{"serverId":"s","type":"broadcast","event":"x","data":NaN}',
           '{"serverId":"s","type":"broadcast","event":"x"} trailing']
    for payload in bad:
        redis_cli(b, "ws:broadcast", payload)
    redis_cli(b, "ws:broadcast", envelope("broadcast", event="good"))
    assert await c.get() == {"event": "good"}
    assert b.counter("bus_malformed") >= len(bad) - 2


async def test_thousand_in_order_without_duplicates(broker):
    b = broker(workers=2, **endpoint(auth=static(*USERS)))
    clients = await spread(b, 6)
    pipe = __import__("redis").Redis(unix_socket_path=b.redis_path).pipeline(transaction=False)
    kinds = [("ws:broadcast", "broadcast", None), ("ws:room:ws-default", "room", "ws-default"), ("ws:user:u0", "user", "u0"),
             (f"ws:client:{clients[0].id}", "client", clients[0].id)]
    for i in range(1000):
        channel, type_, target = kinds[i % 4]
        pipe.publish(channel, envelope(type_, target, event="n", data=i))
    pipe.execute()
    redis_cli(b, "ws:broadcast", envelope("broadcast", event="fence"))
    for k, c in enumerate(clients):
        want = [i for i in range(1000) if i % 4 < 2 or k % len(USERS) == 0 and i % 4 == 2 or k == 0]
        got = []
        while (m := await c.get())["event"] == "n":
            got.append(m["data"])
        assert got == want


async def test_two_brokers_share_one_redis(broker, redis_server):
    r = redis_server()
    keys = dict(redis={"url": r.url}, workers=2, **endpoint(auth=static(*USERS)))
    a, b = broker("a", **keys), broker("b", **keys)
    left, right = await spread(a, 4), await spread(b, 4)
    for c in left + right:
        await c.join("public-a")
    await left[0].say("publish", {"room": "public-a", "event": "hi", "data": 1})
    for c in left[1:] + right:
        assert await c.get() == {"event": "hi", "data": 1}
    for i in range(1000):
        await right[0].say("publish", {"room": "public-a", "event": "n", "data": i})
    for c in left + right[1:]:
        assert [(await c.get())["data"] for _ in range(1000)] == list(range(1000))
    await left[0].flush()
    await right[0].flush()


async def test_prefix_keeps_brokers_apart(broker, redis_server):
    r = redis_server()
    a = broker("a", redis={"url": r.url, "prefix": "one:"}, **endpoint())
    b = broker("b", redis={"url": r.url, "prefix": "two:"}, **endpoint())
    x, y = await entered(a.url), await entered(b.url)
    r.client().publish("one:ws:broadcast", envelope("broadcast", event="for a"))
    assert await x.get() == {"event": "for a"}
    r.client().publish("two:ws:broadcast", envelope("broadcast", event="for b"))
    assert await y.get() == {"event": "for b"}
    await x.flush()


async def test_envelopes_sent_are_byte_exact(broker, redis_server):
    r = redis_server()
    b = broker(redis={"url": r.url}, **endpoint())
    a, z = await entered(b.url), await entered(b.url)
    listener = r.client().pubsub()
    listener.psubscribe("ws:*")
    eventually(lambda: (listener.get_message(timeout=1) or {}).get("type") == "psubscribe", 5)
    await a.raw('{"event":"publish","data":{"room":"public-rr","event":"news","data":"tÉxt"}}')
    m = eventually(lambda: listener.get_message(timeout=1), 5)
    payload = m["data"].decode()
    server = json.loads(payload)["serverId"]
    assert payload == (f'{{"serverId":"{server}","type":"room","target":"public-rr","event":"news","data":"tÉxt",'
                       f'"exclude":["{a.id}"]}}')
    assert m["channel"] == b"ws:room:public-rr"
    b.ctl("send", "user", "u1", "hello", '{"n": 1}')
    m = eventually(lambda: listener.get_message(timeout=1), 5)
    assert m["channel"] == b"ws:user:u1"
    assert m["data"] == b'{"serverId":"heliod","type":"user","target":"u1","event":"hello","data":{"n": 1}}'
    await z.flush()


async def test_own_id_room(broker):
    b = broker(**endpoint())
    c = await entered(b.url)
    await c.say("leave", {"rooms": [c.id]})
    await c.flush()
    redis_cli(b, f"ws:room:{c.id}", envelope("room", c.id, event="by room"))
    redis_cli(b, f"ws:client:{c.id}", envelope("client", c.id, event="by client"))
    assert await c.get() == {"event": "by client"}


async def test_nothing_before_authentication(broker):
    b = broker(**endpoint())
    c = await connect(b.url)
    b.ctl("send", "all", "hello")
    await c.authenticate()  # the first message is `connected`


# ---- Redis goes and comes back (issue item 8) ----


@pytest.mark.parametrize("managed", [True, False])
async def test_redis_killed_and_back(broker, redis_server, managed):
    r = None if managed else redis_server()
    keys = {} if managed else {"redis": {"url": r.url}}
    b = broker(workers=2, **keys, **endpoint(auth=static(*USERS)))
    clients = await spread(b, 6)
    for c in clients:
        await c.join("public-a")
    slots = {c["id"]: c["slot"] for c in b.rows("show", "connections")}
    same = [c for c in clients[1:] if slots[c.id] == slots[clients[0].id]]
    if managed:
        pid = int((b.dir / "run" / "redis" / "redis.pid").read_text()) if (b.dir / "run" / "redis" / "redis.pid").exists() \
            else int(subprocess.run(["pgrep", "-f", b.redis_path], capture_output=True, text=True).stdout.split()[0])
        import os, signal
        os.kill(pid, signal.SIGSTOP)  # away for as long as the test wants
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: b.counter("bus_reconnects") == 2, 20, "both workers have noticed")
    else:
        r.kill()
    if not managed:
        eventually(lambda: b.http()[0] == 503, 10, "/ready turns 503")
        assert "bus" in b.http()[1]
        await clients[0].say("publish", {"room": "public-a", "event": "local", "data": 1})
        assert await clients[0].get() == error("Bus unavailable")
        for c in same:
            assert await c.get() == {"event": "local", "data": 1}
        late = await entered(b.url, token="token-u9")  # at once when the bus is known to be down
        await late.close()
        assert b.ctl("send", "all", "x", check=False).returncode == 3
        r.start()
    eventually(lambda: b.http()[0] == 200 and all(w["bus_up"] for w in b.workers()), 20, "the bus is back")
    while True:  # every worker has re-subscribed when all got one
        b.ctl("send", "room", "public-a", "back")
        for c in clients:
            while (m := await c.get())["event"] != "back":
                assert m["event"] == "local"
        break
    assert all(c.ws.open for c in clients)
    log = b.log()
    assert log.count("cannot use Redis") + log.count("lost") <= 12, log  # one line a state change, not one an attempt


def test_invalid_redis_stops_the_start(broker, workdir):
    from conftest import Broker, free_port
    port = free_port()
    for url, what in [("", "empty"), ("http://x", ""), ("redis://", ""), (f"redis://127.0.0.1:{port}/0", "")]:
        b = Broker(workdir / "x", wait=False, redis={"url": url, "connect_timeout": "500ms"})
        assert b.proc.wait(30) != 0, url
        assert "Invalid redis connection!" in b.log(), (url, b.log())
        b.close()
        b.log_path.unlink()
