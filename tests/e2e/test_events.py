"""The event protocol over a real socket (seed 002, PROTOCOL part A), one worker, anonymous and static authentication."""
import asyncio
import hashlib
import json
import re
import time

import pytest

from client import connect, entered

EVENTS = {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"},
          "rooms": {"join": ["public-*", "user-{userId}"], "publish": ["public-*"]}}


def endpoint(**more):
    return {"endpoints": [{**EVENTS, **more}]}


def static(*users):
    """A tokens list: the token of user u is `token-u`."""
    lines = [f"{u}:sha256:{hashlib.sha256(f'token-{u}'.encode()).hexdigest()}" for u in users]
    return {"method": "static", "tokens": "\n".join(lines)}


def error(message):
    return {"event": "error", "data": {"message": message}}


NOT_JSON = ["", " ", "\ufeff{}", "hello", '{"event":"x"} x', "NaN", '{"event":"x","data":NaN}', '{"event":"a\tb"}',
            '{"event":"x","data":01}', "{'event':'x'}", '{"event":"x",}', '{"event":"x","data":[1,]}', '{"event":"x"']
NOT_AN_EVENT = ["null", "5", "true", '"x"', "[]", "{}", '{"event":""}', '{"event":null}', '{"event":0}', '{"event":false}',
                '{"event":5}', '{"event":{}}', '{"event":["a"]}', '{"Event":"x"}']


async def test_not_json_is_answered_in_every_state(broker):
    b = broker(**endpoint())
    c = await connect(b.url)
    for round_ in range(2):
        for text in NOT_JSON + NOT_AN_EVENT:
            await c.raw(text)
            assert await c.get() == error("Invalid message format"), text
        if round_ == 0:
            await c.authenticate()
    await c.ws.send(b'{"event":"x","data":"\xff"}')
    assert await c.get() == error("Invalid message format")


async def test_before_authentication(broker):
    b = broker(**endpoint())
    c = await connect(b.url)
    for event in ["join", "leave", "custom", "connected", "error", "disconnect", "encrypted", "Authenticate",
                  " authenticate", "publish"]:
        await c.say(event, {"rooms": ["public-a"]})
        assert await c.get() == error("Not authenticated"), event
    await c.say("heartbeat")
    await c.raw('{"event":"\\u0068eartbeat","id":"1"}')
    await c.flush()


async def test_connected_has_its_members_in_order(broker):
    b = broker(**endpoint(auth=static("u1", 'ü "x"')))
    c = await connect(b.url)
    await c.say("authenticate", {"type": "Bearer", "token": "token-u1"})
    text = await asyncio.wait_for(c.ws.recv(), 10)
    assert re.fullmatch(
        r'\{"event":"connected","data":\{"id":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",'
        r'"userId":"u1","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}\}', text), text
    d = await entered(b.url, token='token-ü "x"')
    assert d.connected["userId"] == 'ü "x"'
    assert d.id != json.loads(text)["data"]["id"]


async def test_anonymous_has_no_user(broker):
    b = broker(**endpoint())
    c = await entered(b.url)
    assert list(c.connected) == ["id", "time"]


async def test_binary_frames_mean_the_same(broker):
    b = broker(**endpoint())
    c = await connect(b.url)
    await c.ws.send(b'{"event":"authenticate"}')
    assert (await c.get())["event"] == "connected"
    assert isinstance(c.ws.protocol if False else "", str)
    await c.ws.send([b'{"event":"authen', b'ticate","data":', b"{}}"])  # fragments
    assert await c.get() == error("Already authenticated")


@pytest.mark.parametrize("data", [None, 5, "text", [], {"token": None}, {"token": 5}, {"token": ""}, {"token": "wrong"},
                                  {"token": "token-u1 "}, {"Token": "token-u1"}])
async def test_refused(broker, data):
    b = broker(**endpoint(auth=static("u1")))
    c = await connect(b.url)
    await c.say("authenticate", data)
    await c.say("authenticate", {"token": "token-u1"})  # behind a rejected one: not answered
    assert await c.get() == error("Authentication failed")
    assert await c.closed() == (4003, "Authentication failed")
    assert b.counter("auth_refused") == 1


async def test_already_authenticated(broker):
    b = broker(**endpoint(auth=static("u1")))
    c = await entered(b.url, token="token-u1")
    await c.say("authenticate", {"token": "wrong"})
    assert await c.get() == error("Already authenticated")
    await c.flush()


async def test_messages_right_behind_authenticate_count(broker):
    b = broker(**endpoint())
    c = await connect(b.url)
    other = await entered(b.url)
    await other.join("public-x")
    await c.say("authenticate")
    await c.say("publish", {"room": "public-x", "event": "n", "data": 1})
    assert (await c.get())["event"] == "connected"
    assert await other.get() == {"event": "n", "data": 1}


async def test_authentication_timeout(broker):
    b = broker(**endpoint(auth_timeout="300ms"))
    begin = time.monotonic()
    c = await connect(b.url)
    for _ in range(5):  # heartbeats, garbage and early events do not extend it
        await c.say("heartbeat")
        await asyncio.sleep(0.05)
    assert await c.closed() == (4001, "Authentication timeout")
    assert time.monotonic() - begin >= 0.3
    assert b.counter("auth_timeouts") == 1


async def test_heartbeat_timeout_and_what_is_activity(broker):
    b = broker(**endpoint(heartbeat_interval="200ms", heartbeat_timeout="600ms"))
    silent, beating, talking = [await entered(b.url) for _ in range(3)]
    idle = await connect(b.url)  # not authenticated: only the auth timer counts
    begin = time.monotonic()

    async def keep(c, text):
        while time.monotonic() - begin < 2.5:
            await c.raw(text)
            await asyncio.sleep(0.1)

    async def ping(c):
        with_pings = 0
        while c.ws.open and time.monotonic() - begin < 2.5:
            await c.ws.ping()
            with_pings += 1
            await asyncio.sleep(0.1)

    end = asyncio.gather(keep(beating, '{"event":"heartbeat"}'), keep(talking, "{}"), ping(silent), return_exceptions=True)
    assert await silent.closed() == (4002, "Heartbeat timeout")  # pings are no activity
    assert time.monotonic() - begin >= 0.6
    await end
    await beating.flush()
    assert talking.ws.open and idle.ws.open
    assert b.counter("heartbeat_timeouts") == 1


async def test_size_limit(broker):
    b = broker(**endpoint())
    c = await entered(b.url)
    text = '{"event":"authenticate","data":""}'
    fits = text.replace('""', '"' + "x" * (131072 - len(text)) + '"')
    assert len(fits) == 131072
    await c.raw(fits)
    assert await c.get() == error("Already authenticated")
    await c.raw(fits + " ")
    assert await c.closed() == (1009, "Received too big message")
    d = await connect(b.url)
    await d.ws.send([fits[:70000], fits[70000:] + " "])
    assert await d.closed() == (1009, "Received too big message")


async def test_client_close_is_echoed(broker):
    b = broker(**endpoint())
    for code, reason in [(1000, "bye"), (4999, "ü" * 61), (3000, "")]:
        c = await entered(b.url)
        await c.ws.close(code, reason)
        assert (c.ws.close_code, c.ws.close_reason) == (code, reason)
    assert b.counter("closed_clean") == 3


# ---- rooms (A5) ----


async def test_join_leave_and_what_is_ignored(broker):
    b = broker(**endpoint())
    a, z = await entered(b.url), await entered(b.url)
    for data in [None, 5, "public-a", [], {}, {"rooms": None}, {"rooms": "public-a"}, {"rooms": {"0": "public-a"}},
                 {"rooms": [5, None, "", "ws:x", "public-" + "x" * 250, {"a": 1}, ["public-a"]]}, {"rooms": ["private"]}]:
        await a.say("join", data)
        await a.say("leave", data)
    await a.flush()
    rooms = {r["room"]: r["members"] for r in b.rows("show", "rooms")}
    assert rooms == {"ws-default": 2, "ws-notification": 2}
    await a.join("public-a", "public-a", "public-" + "ü" * 249, "public-*", 5)
    rooms = {r["room"]: r["members"] for r in b.rows("show", "rooms")}
    assert rooms["public-a"] == 1 and rooms["public-" + "ü" * 249] == 1 and rooms["public-*"] == 1
    await z.say("publish", {"room": "public-a", "event": "once"})
    assert await a.get() == {"event": "once"}
    await z.say("publish", {"room": "public-b", "event": "not for a star"})
    await z.say("publish", {"room": "public-*", "event": "literal"})
    assert await a.get() == {"event": "literal"}
    await a.say("leave", {"rooms": ["public-a", "never joined", 7, None]})
    await a.flush()
    await z.say("publish", {"room": "public-a", "event": "gone"})
    await z.say("publish", {"room": "public-*", "event": "last"})
    assert await a.get() == {"event": "last"}


async def test_join_is_effective_before_later_messages(broker):
    b = broker(**endpoint())
    a = await entered(b.url)
    z = await entered(b.url)
    await z.join("public-0", "public-1", "public-2")
    for i in range(300):
        room = f"public-{i % 3}"
        await a.say("join", {"rooms": [room]})
        await a.say("publish", {"room": room, "event": "n", "data": i})
    for i in range(300):
        assert await z.get() == {"event": "n", "data": i}


async def test_user_pattern(broker):
    b = broker(**endpoint(auth=static("u1", "*")))
    one, star = await entered(b.url, token="token-u1"), await entered(b.url, token="token-*")
    await one.join("user-u1", "user-*", "user-u2")
    await star.join("user-u1", "user-*")
    rooms = {r["room"]: r["members"] for r in b.rows("show", "rooms")}
    assert rooms["user-u1"] == 1 and rooms["user-*"] == 1 and "user-u2" not in rooms


async def test_max_rooms(broker):
    b = broker(**endpoint(max_rooms=5))
    a = await entered(b.url)
    await a.join(*[f"public-{i}" for i in range(10)])
    assert len(b.rows("show", "rooms")) == 5
    assert b.counter("room_limit") == 7
    await a.say("leave", {"rooms": ["public-0"]})
    await a.join("public-9")
    assert "public-9" in {r["room"] for r in b.rows("show", "rooms")}


async def test_disconnect_empties_rooms(broker):
    b = broker(**endpoint())
    a = await entered(b.url)
    await a.join("public-a")
    await a.close()
    for _ in range(100):
        if not b.rows("show", "rooms"):
            break
        await asyncio.sleep(0.05)
    assert b.rows("show", "rooms") == []
    assert b.rows("show", "users") == []


# ---- publish and acknowledgements (A10) ----


async def test_publish(broker):
    b = broker(**endpoint())
    a, z = await entered(b.url), await entered(b.url)
    await a.join("public-a")
    await z.join("public-a")
    raw = '{"event":"publish","data":{"room":"public-a","event":"e\\u0041","data":{"n": 9007199254740993, "x":[1e400, "\\ud800"]}}}'
    await a.raw(raw)
    text = await asyncio.wait_for(z.ws.recv(), 10)
    assert text == '{"event":"e\\u0041","data":{"n": 9007199254740993, "x":[1e400, "\\ud800"]}}'
    await a.say("publish", {"room": "private", "event": "x"})
    assert await a.get() == error("Publish not permitted")
    for bad in [None, {}, {"room": "public-a"}, {"event": "x"}, {"room": 5, "event": "x"}, {"room": "public-a", "event": ""}]:
        await a.say("publish", bad)
        assert await a.get() == error("Invalid message format")


async def test_publish_is_an_ordinary_event_without_patterns(broker):
    b = broker(**endpoint(rooms={"join": ["public-*"]}))
    a = await entered(b.url)
    await a.say("publish", {"room": "public-a", "event": "x"})
    await a.flush()
    assert b.counter("events_custom") == 1


async def test_acknowledge(broker):
    b = broker(**endpoint(acknowledge=True))
    a = await entered(b.url)

    async def ask(event, data=None, id_="7"):
        await a.raw(json.dumps({"event": event, "data": data, "id": id_}))
        return (await a.get())["data"]

    assert await ask("join", {"rooms": ["public-a", "private"]}) == {"id": "7", "ok": True, "rooms": ["public-a"]}
    assert await ask("leave", {"rooms": ["public-a", "private"]}) == {"id": "7", "ok": True, "rooms": ["public-a"]}
    assert await ask("publish", {"room": "public-a", "event": "x"}) == {"id": "7", "ok": True}
    assert (await ask("publish", {"room": "private", "event": "x"}))["ok"] is False
    assert (await ask("join", {"rooms": 5}))["ok"] is False
    assert await ask("heartbeat", id_=12) == {"id": 12, "ok": True}
    await a.say("heartbeat")
    await a.flush()


async def test_unacknowledged_by_default(broker):
    b = broker(**endpoint())
    a = await entered(b.url)
    await a.raw('{"event":"join","data":{"rooms":["public-a"]},"id":"1"}')
    await a.raw('{"event":"heartbeat","id":"1"}')
    await a.flush()


# ---- the wire around it ----


async def test_subprotocol_and_compression_offers(broker):
    b = broker(**endpoint(compression="off"))
    c = await connect(b.url, subprotocols=["token.secret", "v1"], compression="deflate")
    assert c.ws.subprotocol == "v1" and not c.ws.extensions
    d = await connect(b.url, subprotocols=["token.secret"])
    assert d.ws.subprotocol == "token.secret"
    assert "secret" not in b.log()


async def test_query_string_is_ignored_and_path_is_exact(broker):
    b = broker(**endpoint())
    await (await connect(b.url, "/ws?token=abc&x=1")).authenticate()
    assert "abc" not in b.log()
    import websockets
    for path in ["/ws/", "/WS", "/w", "/ws%20", "//ws"]:
        with pytest.raises(websockets.InvalidStatusCode) as e:
            await connect(b.url, path)
        assert e.value.status_code == 404


async def test_native_pings(broker):
    b = broker(client={"ping_after": "300ms", "idle_timeout": "900ms"}, **endpoint())
    polite = await entered(b.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
    writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), 10) == b"\x89\x00"
    assert await asyncio.wait_for(reader.read(), 10) == b""  # dropped without a Close frame
    writer.close()
    await polite.flush()
    assert b.counter("closed_idle") == 1
    assert b.counter("pings_sent") >= 2


async def test_vanished_clients_are_routine(broker):
    b = broker(**endpoint(auth=static("sandra@example.com")))
    c = await entered(b.url, token="token-sandra@example.com")
    c.ws.transport.abort()
    for _ in range(100):
        if b.counter("closed_lost"):
            break
        await asyncio.sleep(0.05)
    line = next(x for x in b.log().splitlines() if "disconnected" in x)
    assert " info " in line and "user=sandra@example.com" in line and "code=1006" in line and "cause=" in line
    assert " error " not in b.log() and "token-" not in b.log()
