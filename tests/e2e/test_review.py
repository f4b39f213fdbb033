"""What a second reading of the worker found: each of these was wrong once."""
import asyncio
import json
import os
import signal
import time

import redis

from client import connect, entered
from conftest import eventually
from rawws import Raw, frame
from test_hooks import backend, hooked  # noqa: F401 (a fixture)


async def test_a_hook_that_answers_after_the_close(broker, backend):
    """The stop is told in the middle of an authentication; the answer that comes late changes nothing, and the close
    handshake goes on."""
    h = backend(authenticate=lambda _: time.sleep(1) or (200, {"userId": "late"}))
    b = broker(**hooked(h, "authenticate", "connected"), client={"close_timeout": "60s"}, shutdown_timeout="60s")
    raw = Raw(b.port).open("/ws")
    raw.send(frame(1, b'{"event":"authenticate"}'))
    eventually(lambda: h.seen("authenticate"), 10)
    b.signal(15)
    assert raw.closing() == (1001, "Server shutting down")
    eventually(lambda: b.http("/health")[0] == 0, 10, "the listener is closed")
    await asyncio.sleep(1.5)  # the answer comes while the Close of the client is awaited
    begin = time.monotonic()
    raw.send(frame(8, b"\x03\xe9"))
    assert raw.ended()
    raw.close()
    assert b.proc.wait(30) == 0 and time.monotonic() - begin < 20
    assert not h.seen("connected")


async def test_a_user_id_with_a_zero_character_is_not_cut(broker, backend):
    h = backend(authenticate=lambda r: (200, {"userId": r["data"]["name"]}))
    b = broker(**hooked(h, "authenticate"))
    alice = await connect(b.url)
    await alice.say("authenticate", {"name": "alice"})
    assert (await alice.get())["data"]["userId"] == "alice"
    mallory = await connect(b.url)
    await mallory.say("authenticate", {"name": "alice\0x"})
    assert (await mallory.get())["data"]["userId"] == "alice\0x"
    assert sorted(r["user"] for r in b.rows("show", "users")) == ["alice", "alice\0x"]


async def test_a_user_id_that_fits_no_row(broker, backend):
    """helioctl cannot be told of it, but the worker lives."""
    h = backend(authenticate=(200, {"userId": "\x01" * 100_000}))
    b = broker(**hooked(h, "authenticate"))
    c = await connect(b.url)
    await c.say("authenticate")
    await c.get()
    before = b.workers()[0]["pid"]
    b.ctl("show", "connections", check=False)
    b.ctl("show", "users", check=False)
    await c.flush()
    assert b.workers()[0]["pid"] == before


async def test_an_endpoint_that_goes_while_a_connection_drains(broker):
    """The connection has been reported as closed, but its FIN is still awaited: nobody asks for its endpoint any more."""
    ws = {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}}
    b = broker(endpoints=[ws, {"path": "/echo", "protocol": "echo"}], client={"close_timeout": "60s"})
    raw = Raw(b.port).open("/echo")
    raw.send(frame(8, b"\x03\xe8"))
    assert raw.closing() == (1000, "")
    assert [r["state"] for r in b.rows("show", "connections")] == ["draining"]
    b.write(endpoints=[ws])
    b.ctl("reload")
    await asyncio.sleep(2.5)  # the endpoint is freed by a chore of each second
    assert [r["state"] for r in b.rows("show", "connections")] == ["draining"]
    assert b.rows("show", "connections", "endpoint", "/echo") == []
    raw.close()
    eventually(lambda: b.rows("show", "connections") == [], 10)


async def test_a_burst_is_no_slow_consumer(broker):
    """More than `backpressure` in one loop turn, to a client that takes it at once."""
    events = {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "backpressure": "64KiB",
              "rooms": {"join": ["public-*"], "publish": ["public-*"]}}
    b = broker(endpoints=[events])
    reader = await entered(b.url)
    await reader.join("public-a")
    publisher = Raw(b.port).open("/ws")
    publisher.send(frame(1, b'{"event":"authenticate"}'))
    assert publisher.frame()[1] == 1
    message = b'{"event":"publish","data":{"room":"public-a","event":"x","data":"%s"}}' % (b"x" * 5000)
    publisher.send(b"".join(frame(1, message) for _ in range(400)))
    for _ in range(400):
        assert (await reader.get())["event"] == "x"
    assert b.counter("closed_slow") == 0


async def test_no_file_of_lines_about_one_bad_answer(broker, backend):
    h = backend(authenticate=(200, {}), message=(200, {"send": [5] * 900}))
    b = broker(**hooked(h, "authenticate", "message"))
    c = await entered(b.url)
    for _ in range(5):
        await c.say("hello")
    await c.flush()
    eventually(lambda: b.log().count("send["), 10, "the supervisor has written the lines")
    b.close()
    assert b.log().count("send[") <= 20


async def test_a_worker_that_stood_still_reads_before_it_judges(broker):
    """More clients than one look at the sockets shows: all have spoken while the process was stopped."""
    b = broker(client={"ping_after": "1s", "idle_timeout": "2s"})
    clients = [Raw(b.port).open("/echo") for _ in range(100)]
    pid = b.workers()[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        for c in clients:
            c.send(frame(1, b"here"))
        await asyncio.sleep(3)
    finally:
        os.kill(pid, signal.SIGCONT)
    for c in clients:
        while (got := c.frame()) and got[1] == 9:  # a ping
            pass
        assert got == (1, 1, b"here")
        c.close()
    assert b.counter("closed_idle") == 0


async def test_a_new_linger_holds_at_once(broker):
    endpoint = {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "rooms": {"join": ["public-*"]}}
    b = broker(endpoints=[endpoint], redis={"linger": "10m"})
    db = redis.Redis(unix_socket_path=b.redis_path)
    c = await entered(b.url)

    async def come_and_go(room):
        await c.join(room)
        await c.say("leave", {"rooms": [room]})
        await c.flush()

    await come_and_go("public-long")
    assert db.pubsub_channels("ws:room:public-*") == [b"ws:room:public-long"]
    b.write(redis={"linger": "0s"})
    b.ctl("reload")
    await come_and_go("public-short")
    eventually(lambda: db.pubsub_channels("ws:room:public-*") == [], 10)


async def test_what_a_client_said_outlives_it(broker, backend):
    """Messages that were read reach the back end, and its answer is carried out, though their client has gone: one under
    way, one that waits for its place."""
    def answer(body):
        time.sleep(1)
        return 200, {"send": [{"to": {"broadcast": True}, "event": "heard", "data": body["message"]["event"]}]}

    h = backend(authenticate=(200, {}), message=answer)
    b = broker(**hooked(h, "authenticate", "message", hooks={"concurrency": 1}))
    first, second, listener = await entered(b.url), await entered(b.url), await entered(b.url)
    await first.say("one")
    eventually(lambda: h.seen("message"), 10)
    await second.say("two")
    eventually(lambda: b.counter("hooks_waiting") == 2, 10)
    for c in first, second:
        b.ctl("kick", "client", c.id)
        assert await c.closed() == (4411, "Disconnected by an operator")
    for event in "one", "two":
        assert await listener.get() == {"event": "heard", "data": event}


async def test_what_a_client_said_outlives_the_service(broker, backend, redis_server):
    r = redis_server()
    h = backend(authenticate=(200, {}), message=lambda _: time.sleep(1) or (200, {"send": [{"to": {"user": "u"}, "event": "x"}]}))
    b = broker(redis={"url": r.url}, **hooked(h, "authenticate", "message"))
    db = r.client().pubsub()
    db.subscribe("ws:user:u")
    assert db.get_message(timeout=10)["type"] == "subscribe"
    c = await entered(b.url)
    await c.say("order")
    eventually(lambda: h.seen("message"), 10)
    b.signal(signal.SIGTERM)
    assert await c.closed() == (1001, "Server shutting down")
    assert json.loads(eventually(lambda: db.get_message(timeout=1), 10)["data"])["event"] == "x"
    assert b.proc.wait(30) == 0
