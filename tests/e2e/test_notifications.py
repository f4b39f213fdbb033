"""Notifications (PROTOCOL part C): an inbox for each user, the same in every tab on every worker and broker."""
import asyncio
import json
import re
import uuid

import pytest

from client import connect
from conftest import eventually
from crowd import ctl, until, with_bus
from inbox import KEY, PATH, inboxes, notify, post, publish, tab, token

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# ── coming in ──

async def test_first_message(shared):
    b = shared(**inboxes())
    t = await tab(b)
    assert t.first == {"type": "connection_established", "user": "alice", "id": str(uuid.UUID(t.first["id"])), "unread_count": 0}
    await t.nothing()


@pytest.mark.parametrize("path", ["/ws/notifications", "/ws/notifications/"])
@pytest.mark.parametrize("configured", ["/ws/notifications", "/ws/notifications/"])
async def test_slash(shared, configured, path):
    b = shared(**inboxes(path=configured))
    await tab(b, path=path)


async def test_where_the_token_stands(shared):
    b = shared(**inboxes())
    for options in ({"extra_headers": {"Authorization": f"Bearer {token('bob')}"}}, {"subprotocols": [f"token.{token('bob')}"]}):
        c = await connect(b.url, PATH, **options)
        assert (await c.get())["user"] == "bob"


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=token-of-alicf"])
async def test_unauthorized(shared, query):
    b = shared(**inboxes())
    c = await connect(b.url, PATH + query)
    assert await c.closed() == (4001, "Unauthorized")


# ── the messages ──

async def test_live(shared):
    b = shared(**inboxes(["dora"]))
    one, two = await tab(b, "dora"), await tab(b, "dora")
    made = await notify(b, "dora", title="Hello", n=1.50, nested={"a": [1, {"é": None}]})
    for t in one, two:
        await t.expect(made, 1)
        n = t.said[-2]["notification"]
        assert RFC_3339.fullmatch(n.pop("created_at"))
        assert n == {"id": made, "read": False, "title": "Hello", "n": 1.5, "nested": {"a": [1, {"é": None}]}}


async def test_bytes_as_they_came(shared):
    b = shared(**inboxes(["ed"]))
    c = await connect(b.url, f"{PATH}?token={token('ed')}")
    await c.ws.recv()
    members = r'"z" : 1.0e+2 , "a\u0062":[ 1,2 ],"n":123456789012345678901234567890,"s":"\/é\ud800"'
    status, _ = await asyncio.to_thread(post, b, None, raw=(
        '{"user":"ed","notification":{"read":true,"created_at":7,"id":"x\\u0022y","%s}}' % members[1:]).encode())
    assert status == 200
    text = await c.ws.recv()
    want = '"z":1.0e+2,"a\\u0062":[ 1,2 ],"n":123456789012345678901234567890,"s":"\\/é\\ud800"'
    assert re.fullmatch(r'\{"type":"notification","notification":\{"id":"x\\"y","created_at":"[^"]+","read":false,' + re.escape(want) +
                        r"\}\}", text), text
    await c.ws.recv()
    await c.raw('{"type":"mark_read","id":"x\\"y"}')
    await c.ws.recv()
    await c.raw('{"type":"list"}')
    listed = await c.ws.recv()
    assert '"read":true,' + want in listed, listed


async def test_ping(shared):
    assert await (await tab(shared(**inboxes()))).ask(type="ping") == {"type": "pong"}


async def test_mark_read(shared):
    b = shared(**inboxes(["fay"]))
    one, two = await tab(b, "fay"), await tab(b, "fay")
    a, z = await notify(b, "fay"), await notify(b, "fay")
    for t in one, two:
        await t.expect(a, 1, z, 2)
    assert await one.ask(type="mark_read", id=a) == {"type": "unread_count", "count": 1}
    await two.expect(1)
    assert await one.ask(type="mark_read", id=a) == {"type": "unread_count", "count": 1}
    assert await one.ask(type="mark_read", id="unknown") == {"type": "unread_count", "count": 1}
    assert await two.ask(type="mark_all_read") == {"type": "unread_count", "count": 0}
    await one.expect(0)
    assert await two.ask(type="mark_all_read") == {"type": "unread_count", "count": 0}
    await one.nothing()
    listed = await one.ask(type="list")
    assert [(n["id"], n["read"]) for n in listed["notifications"]] == [(z, True), (a, True)]


async def test_list(shared):
    b = shared(**inboxes(["gus"]))
    made = [await notify(b, "gus", n=i) for i in range(25)][::-1]
    t = await tab(b, "gus", path=PATH)
    await t.expect(*made[::-1])
    first = await t.ask(type="list")
    assert [n["id"] for n in first["notifications"]] == made[:20] and first["more"] is True
    rest = await t.ask(type="list", before=made[19])
    assert [n["id"] for n in rest["notifications"]] == made[20:] and rest["more"] is False
    assert await t.ids(limit=3, before=made[4]) == made[5:8]
    assert await t.ids(limit=100) == made
    assert await t.ask(type="list", before=made[-1]) == {"type": "list", "notifications": [], "more": False}
    gone = await t.ask(type="list", before="gone")
    assert gone["type"] == "error" and gone["code"] == "no-such-notification"


WRONG = [
    ("", "invalid-message"), ("no json", "invalid-message"), ("[]", "invalid-message"), ('"ping"', "invalid-message"), ("{}", "invalid-message"),
    ('{"type":1}', "invalid-message"), ('{"type":"ping",}', "invalid-message"), ('{"type":"pong"}', "unknown-type"),
    ('{"type":""}', "unknown-type"), ('{"type":"notification","notification":{}}', "unknown-type"),
    ('{"type":"mark_read"}', "invalid-message"), ('{"type":"mark_read","id":1}', "invalid-message"),
    ('{"type":"list","limit":0}', "invalid-message"), ('{"type":"list","limit":101}', "invalid-message"),
    ('{"type":"list","limit":"3"}', "invalid-message"), ('{"type":"list","limit":1.5}', "invalid-message"),
    ('{"type":"list","limit":-1}', "invalid-message"), ('{"type":"list","before":null}', "invalid-message"),
    ('{"type":"list","before":""}', "no-such-notification"), (b"\xff", "invalid-message"),
]


@pytest.mark.parametrize("text,code", WRONG)
async def test_wrong_messages(shared, text, code):
    b = shared(**inboxes(["hal"]))
    t = await tab(b, "hal")
    await t.c.raw(text)
    answer = await t.get()
    assert answer["type"] == "error" and answer["code"] == code and answer["message"].endswith("."), answer
    await t.nothing()


async def test_binary_counts_as_text(shared):
    t = await tab(shared(**inboxes()))
    await t.c.raw(b'{"type":"ping"}')
    assert await t.get() == {"type": "pong"}


async def test_order_of_answers(shared):
    """What a client asks is answered in its order, though Redis is asked in between."""
    b = shared(**inboxes(["ida"]))
    t = await tab(b, "ida")
    for _ in range(20):
        for message in ('{"type":"mark_all_read"}', '{"type":"ping"}', '{"type":"list"}', "?"):
            await t.c.raw(message)
    answers = [(await t.get())["type"] for _ in range(80)]
    assert answers == ["unread_count", "pong", "list", "error"] * 20
