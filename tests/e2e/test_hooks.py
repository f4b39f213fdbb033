"""The back end's hooks (PROTOCOL A10) and what becomes of their answers."""
import asyncio
import json
import threading
import time

import pytest

from backend import Backend
from client import connect, entered
from conftest import eventually, free_port
from test_events import error, static


@pytest.fixture
def backend():
    started = []

    def start(**answers):
        b = Backend(**answers)
        started.append(b)
        return b

    yield start
    for b in started:
        b.close()


def hooked(backend, *names, auth="hook", **more):
    hooks = {name: backend.url for name in names}
    hooks.update(more.pop("hooks", {}))
    if backend.secret:
        hooks["secret"] = backend.secret
    auth = {"method": "hook"} if auth == "hook" else auth
    return {"endpoints": [{"path": "/ws", "protocol": "events", "auth": auth, "hooks": hooks, **more}]}


async def test_authenticate_accepts(broker, backend):
    h = backend(secret="s3cret", authenticate=(200, {"userId": "u1", "metadata": {"a": [1, "ü"]}, "rooms": ["team", "ws:no", 5]}),
                message=(200, None))
    b = broker(**hooked(h, "authenticate", "message", "connected", "disconnected"))
    c = await connect(b.url, "/ws?x=1", origin="http://app.example")
    await c.raw('{"event":"authenticate","data":{"type":"Bearer", "token":"abc", "n":1.0}}')
    connected = await c.get()
    assert connected["event"] == "connected" and connected["data"]["userId"] == "u1"
    asked = h.seen("authenticate")[0]
    assert asked == {"hook": "authenticate", "clientId": connected["data"]["id"], "endpoint": "/ws", "remoteAddress": "127.0.0.1",
                     "origin": "http://app.example", "data": {"type": "Bearer", "token": "abc", "n": 1.0}}
    assert '"data":{"type":"Bearer", "token":"abc", "n":1.0}' in h.raw("authenticate")[0]  # as the client sent it
    assert {r["room"] for r in b.rows("show", "rooms")} == {"team", "ws-default", "ws-notification"}
    await c.say("hello", {"x": 1}, id="m1")
    eventually(lambda: h.seen("message"), 10)
    assert h.seen("message")[0] == {"hook": "message", "clientId": connected["data"]["id"], "userId": "u1",
                                    "metadata": {"a": [1, "ü"]}, "message": {"event": "hello", "data": {"x": 1}, "id": "m1"}}
    await c.ws.close(4000, "done")
    gone = eventually(lambda: h.seen("disconnected"), 10)[0]
    told = h.seen("connected")[0]
    assert told["clientId"] == gone["clientId"] and told["serverId"] == gone["serverId"] and told["endpoint"] == "/ws"
    assert gone["code"] == 4000 and gone["durationMs"] >= 0 and gone["metadata"] == {"a": [1, "ü"]}
    assert "abc" not in b.log() and "s3cret" not in b.log()


@pytest.mark.parametrize("data, passed", [(None, {}), ("null", {}), ("5", 5), ('"t"', "t"), ("[1]", [1]), ("false", False)])
async def test_credentials_are_passed_as_they_are(broker, backend, data, passed):
    h = backend(authenticate=(200, {}))
    b = broker(**hooked(h, "authenticate"))
    c = await connect(b.url)
    await c.raw('{"event":"authenticate"%s}' % (f',"data":{data}' if data else ""))
    connected = await c.get()
    assert list(connected["data"]) == ["id", "time"]
    assert h.seen("authenticate")[0]["data"] == passed and h.seen("authenticate")[0]["origin"] is None


REFUSALS = [(200, None, "Authentication error"), (200, b"null", "Authentication failed"), (200, b"false", "Authentication failed"),
            (204, None, "Authentication failed"), (401, b"x", "Authentication failed"), (403, None, "Authentication failed"),
            (500, b"{}", "Authentication error"), (404, b"{}", "Authentication error"), (302, b"{}", "Authentication error"),
            (200, b"[]", "Authentication error"), (200, b"true", "Authentication error"), (200, b"{", "Authentication error"),
            (200, b'{"userId":NaN}', "Authentication error"), (200, b"x" * (2 << 20), "Authentication error")]


async def test_authenticate_refuses_or_throws(broker, backend):
    h = backend()
    b = broker(**hooked(h, "authenticate"))
    for status, body, message in REFUSALS:
        h.answers["authenticate"] = (status, body)
        c = await connect(b.url)
        await c.say("authenticate", {"token": "x"})
        assert await c.get() == error(message), (status, body and body[:20])
        assert await c.closed() == (4003, "Authentication failed")


async def test_back_end_unreachable_or_slow(broker, backend):
    b = broker(**hooked(backend(), hooks={"authenticate": f"http://127.0.0.1:{free_port()}/hook"}))
    c = await connect(b.url)
    await c.say("authenticate")
    assert await c.get() == error("Authentication error")
    assert await c.closed() == (4003, "Authentication failed")
    h = backend(authenticate=lambda _: time.sleep(2) or (200, {}))
    slow = broker("slow", **hooked(h, "authenticate", hooks={"timeout": "300ms"}))
    c = await connect(slow.url)
    await c.say("authenticate")
    assert await c.get() == error("Authentication error")
    assert slow.counter("hooks_failed") == 1


async def test_in_progress_timer_and_messages_meanwhile(broker, backend):
    h = backend(authenticate=lambda _: time.sleep(3) or (200, {}))
    b = broker(**hooked(h, "authenticate", auth_timeout="300ms"))
    c = await connect(b.url)
    begin = time.monotonic()
    await c.say("authenticate")
    await c.say("authenticate")
    assert await c.get() == error("Already authenticated")
    await c.say("custom")
    assert await c.get() == error("Not authenticated")
    await c.say("heartbeat")
    await c.raw("{")
    assert await c.get() == error("Invalid message format")
    assert await c.closed() == (4001, "Authentication timeout")
    assert 0.9 <= time.monotonic() - begin


async def test_slow_authenticator_succeeds_within_three_times(broker, backend):
    h = backend(authenticate=lambda _: time.sleep(0.8) or (200, {"userId": 5}))
    b = broker(**hooked(h, "authenticate", auth_timeout="500ms"))
    c = await entered(b.url)
    assert c.connected["userId"] == "5"


async def test_client_gone_while_authenticating(broker, backend):
    h = backend(authenticate=lambda _: time.sleep(0.5) or (200, {"userId": "u1"}))
    b = broker(**hooked(h, "authenticate", "connected", "disconnected"))
    c = await connect(b.url)
    await c.say("authenticate")
    eventually(lambda: h.seen("authenticate"), 10)
    c.ws.transport.abort()
    await asyncio.sleep(0)
    eventually(lambda: not b.rows("show", "connections"), 10)
    eventually(lambda: b.counter("hooks_waiting") == 0, 10, "the call has ended")
    assert not h.seen("connected") and not h.seen("disconnected") and not b.rows("show", "users")


async def test_empty_user_is_shown_but_unreachable(broker, backend):
    b = broker(**hooked(backend(authenticate=(200, {"userId": ""})), "authenticate"))
    c = await entered(b.url)
    assert c.connected["userId"] == ""
    assert not b.rows("show", "users")


async def test_another_method_first_then_the_hook(broker, backend):
    h = backend(authenticate=lambda q: (200, {"metadata": {"m": 1}, "rooms": ["r"]}) if q.get("userId") == "u1" else (403, None))
    b = broker(**hooked(h, "authenticate", auth=static("u1", "u2")))
    c = await entered(b.url, token="token-u1")
    assert c.connected["userId"] == "u1"
    d = await connect(b.url)
    await d.say("authenticate", {"token": "token-u2"})
    assert await d.get() == error("Authentication failed")
    e = await connect(b.url)
    await e.say("authenticate", {"token": "wrong"})
    assert await e.get() == error("Authentication failed")
    assert len(h.seen("authenticate")) == 2  # the wrong token never reached the back end


# ---- rooms ----


async def test_rooms_hook(broker, backend):
    h = backend(rooms=lambda q: (200, [r for r in q["rooms"] if r.startswith("ok")] + ["never-asked", 5]))
    b = broker(**hooked(h, "rooms", auth={"method": "anonymous"}, rooms={"join": ["public-*"]}, acknowledge=True))
    c = await entered(b.url)
    await c.say("join", {"rooms": ["public-a", "ok-1", "no", "ok-2", "", "ws:x"]}, id=1)
    await c.say("leave", {"rooms": ["ok-2"]}, id=2)  # waits behind the join
    ack = await c.get()
    assert ack["data"]["ok"] and set(ack["data"]["rooms"]) == {"public-a", "ok-1", "ok-2"}
    assert (await c.get())["data"]["rooms"] == ["ok-2"]
    assert h.seen("rooms") == [{"hook": "rooms", "clientId": c.id, "rooms": ["ok-1", "no", "ok-2"]}]
    for status, body in [(500, None), (200, b"{}"), (204, None), (200, b"x")]:
        h.answers["rooms"] = (status, body)
        await c.say("join", {"rooms": ["ok-3"]}, id=3)
        assert (await c.get())["data"] == {"id": 3, "ok": True, "rooms": []}


# ---- messages ----


async def test_message_hook_sends(broker, backend):
    sends = []
    h = backend(message=lambda q: (200, {"send": sends}))
    b = broker(workers=2, **hooked(h, "message", auth=static("u1", "u2"), rooms={"join": ["public-*"]}))
    a, z = await entered(b.url, token="token-u1"), await entered(b.url, token="token-u2")
    await a.join("public-a")
    await z.join("public-a")
    sends[:] = [
        {"to": {"client": z.id}, "event": "c", "data": {"n": 1}},
        {"to": {"user": "u2"}, "event": "u", "data": None},
        {"to": {"room": "public-a"}, "event": "r"},
        {"to": {"broadcast": True}, "event": "b", "data": 1, "exclude": [a.id]},
        {"to": {}, "event": "bad"}, {"event": "bad"}, 5, {"to": {"room": "x"}},
        {"to": {"room": "public-a", "user": "u1"}, "event": "bad"},
        {"to": {"broadcast": True}, "event": "last"},
    ]
    await a.say("go")
    assert [await z.get() for _ in range(5)] == [{"event": "c", "data": {"n": 1}}, {"event": "u", "data": None}, {"event": "r"},
                                                {"event": "b", "data": 1}, {"event": "last"}]
    assert [await a.get() for _ in range(2)] == [{"event": "r"}, {"event": "last"}]  # the originator is not left out


async def test_an_answer_with_too_many_sends_is_cut_and_told(broker, backend):
    h = backend(message=lambda q: (200, {"send": [{"to": {"client": q["clientId"]}, "event": "n", "data": i} for i in range(1001)]}))
    b = broker(**hooked(h, "message", auth={"method": "anonymous"}))
    c = await entered(b.url)
    await c.say("go")
    assert [(await c.get())["data"] for _ in range(1000)] == list(range(1000))
    await c.flush()
    eventually(lambda: "send[1000]: one answer holds too many" in b.log(), 10, "the operator is told")


async def test_messages_of_a_client_keep_their_order(broker, backend):
    h = backend(message=lambda q: (200, {"send": [{"to": {"client": q["clientId"]}, "event": "re", "data": q["message"]["data"]}]}))
    b = broker(**hooked(h, "message", auth={"method": "anonymous"}))
    c = await entered(b.url)
    for i in range(300):
        await c.say("n", i)
    assert [(await c.get())["data"] for _ in range(300)] == list(range(300))
    assert [m["message"]["data"] for m in h.seen("message")] == list(range(300))
    assert h.connections < 20  # kept alive


async def test_failing_message_hook_is_only_logged(broker, backend):
    h = backend(message=(500, b"secret payload"))
    b = broker(**hooked(h, "message", auth={"method": "anonymous"}))
    c = await entered(b.url)
    for _ in range(3):
        await c.say("x", "private words")
    await c.flush()
    assert len(h.seen("message")) == 3 and b.counter("hooks_failed") >= 1
    assert "private words" not in b.log() and "secret payload" not in b.log()


async def test_queue_full_closes_4503(broker, backend):
    h = backend(authenticate=lambda _: time.sleep(1) or (200, {}))
    b = broker(**hooked(h, "authenticate", hooks={"concurrency": 1, "queue": 2}))
    clients = [await connect(b.url) for _ in range(8)]
    for c in clients:
        await c.say("authenticate")
    ends = []
    for c in clients:
        try:
            ends.append((await c.get())["event"])
        except Exception:
            ends.append(c.ws.close_code)
    assert ends.count(4503) == 5 and ends.count("connected") == 3, ends
    assert b.counter("hooks_dropped") >= 5


async def test_inbound_by_redis(broker, backend):
    b = broker(**{"endpoints": [{"path": "/ws", "protocol": "events", "auth": static("u1"), "inbound": "redis"}]})
    import redis
    listener = redis.Redis(unix_socket_path=b.redis_path).pubsub()
    listener.subscribe("ws:inbound")
    eventually(lambda: (listener.get_message(timeout=1) or {}).get("type") == "subscribe", 5)
    c = await entered(b.url, token="token-u1")
    await c.say("hello", [1, {"x": None}])
    await c.ws.close()
    got = [json.loads(eventually(lambda: listener.get_message(timeout=1), 5)["data"]) for _ in range(3)]
    assert [g["hook"] for g in got] == ["connected", "message", "disconnected"]
    assert got[1]["message"] == {"event": "hello", "data": [1, {"x": None}]} and got[2]["code"] == 1000


async def test_a_stop_does_not_wait_for_an_answer_nobody_hears(broker, backend):
    stopped = threading.Event()
    h = backend(authenticate=lambda _: stopped.wait(60) and (204, None) or (204, None))
    b = broker(**hooked(h, "authenticate", auth_timeout="60s", hooks={"timeout": "60s"}), shutdown_timeout="60s")
    c = await connect(b.url)
    await c.say("authenticate")
    eventually(lambda: h.seen("authenticate"), 10)
    b.proc.terminate()
    assert await c.closed() == (1001, "Server shutting down")
    try:
        assert b.proc.wait(15) == 0
    finally:
        stopped.set()
