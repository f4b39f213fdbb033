"""Notifications (PROTOCOL part C): an inbox for each user, the same in every tab on every worker and broker."""
import asyncio
import json
import os
import pwd
import re
import uuid

import pytest

from client import connect
from conftest import ROOT, eventually
from crowd import ctl, until, with_bus
from inbox import KEY, PATH, inboxes, notify, post, publish, serving, tab, token

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


# ── publishing ──

POSTS = [
    ("", "not JSON"), ("[]", "not a JSON object"), ("{}", "exactly one of"),
    ('{"user":"kim"}', "`notification` is not an object"),
    ('{"notification":{}}', "exactly one of"),
    ('{"user":"kim","users":["kim"],"notification":{}}', "exactly one of"),
    ('{"user":"kim","broadcast":true,"notification":{}}', "exactly one of"),
    ('{"broadcast":false,"notification":{}}', "`broadcast` is not true"),
    ('{"user":"","notification":{}}', "`user` is an empty text"),
    ('{"user":7,"notification":{}}', "`user` is not a text"),
    ('{"user":"%s","notification":{}}' % ("k" * 513), "longer than 512 bytes"),
    ('{"users":"kim","notification":{}}', "`users` is not a list"),
    ('{"users":[],"notification":{}}', "1 to 1000"),
    ('{"users":["kim",null],"notification":{}}', "an element of `users` is not a text"),
    (json.dumps({"users": [f"u{i}" for i in range(1001)], "notification": {}}), "1 to 1000"),
    ('{"user":"kim","notification":[]}', "`notification` is not an object"),
    ('{"user":"kim","notification":"x"}', "`notification` is not an object"),
    ('{"user":"kim","notification":{"id":1}}', "`notification.id` is not a text"),
    ('{"user":"kim","notification":{"id":""}}', "`notification.id` has 0 characters"),
    ('{"user":"kim","notification":{"id":"%s"}}' % ("é" * 65), "`notification.id` has 65 characters"),
    ('{"user":"kim","notification":{"x":"%s"}}' % ("y" * 65536), "longer than 65536 bytes"),
    ('{"user":"kim","notification":{"x":%s}}' % ("[" * 62 + "]" * 62), "nested too deeply"),
    ('{"user":"kim","notification":{},"read":true,"extra":1}', "`read`, `extra`"),
]


@pytest.mark.parametrize("text,why", POSTS, ids=range(len(POSTS)))
async def test_wrong_posts(shared, text, why):
    b = shared(**inboxes(["kim"]))
    t = await tab(b, "kim")
    status, answer = await asyncio.to_thread(post, b, None, raw=text.encode())
    assert (status, answer["error"]) == (400, "bad-body") and why in answer["message"], answer
    await t.nothing()
    assert await t.ids() == []


async def test_largest_posts(shared):
    b = shared(**inboxes(["lea"]))
    t = await tab(b, "lea")
    await notify(b, "lea", id="é" * 64)
    await notify(b, "lea", x=json.loads("[" * 60 + "]" * 60), id="deep")
    await notify(b, "lea", x="y" * 65000, id="long")
    await t.expect("é" * 64, 1, "deep", 2, "long", 3)
    assert await t.ids() == ["long", "deep", "é" * 64]
    again = await tab(b, "lea")
    await again.expect("é" * 64, "deep", "long")


async def test_users(shared):
    users = [f"m{i}" for i in range(1000)]
    b = shared(**inboxes(users))
    tabs = [await tab(b, u) for u in users[::100]]
    ids = await publish(b, {"users": users, "notification": {"n": 1}})
    assert list(sorted(ids)) == sorted(users) and len(set(ids.values())) == 1
    for t in tabs:
        await t.expect(ids[t.user], 1)
    ids = await publish(b, {"users": ["m0", "m0", "m1", "m0"], "notification": {"n": 2}})
    assert sorted(ids) == ["m0", "m1"]
    await tabs[0].expect(ids["m0"], 2)


async def test_an_id_counts_once(shared):
    b = shared(**inboxes(["nat", "ned"]))
    t, u = await tab(b, "nat"), await tab(b, "ned")
    assert await notify(b, "nat", id="once", n=1) == "once"
    await t.expect("once", 1)
    await t.ask(type="mark_read", id="once")
    assert await publish(b, {"users": ["nat", "ned"], "notification": {"id": "once", "n": 2}}) == {"nat": "once", "ned": "once"}
    await u.expect("once", 1)
    await t.nothing()
    listed = await t.ask(type="list")
    assert [(n["n"], n["read"]) for n in listed["notifications"]] == [(1, True)]
    for _ in range(2):
        assert await publish(b, {"broadcast": True, "notification": {"id": "all-once"}}) == {"*": "all-once"}
        await publish(b, {"broadcast": True, "notification": {"id": "once"}})
    await t.expect("all-once", 1)
    await u.expect("all-once", 2)
    await t.nothing()
    await u.nothing()


async def test_helioctl(shared):
    b = shared(**inboxes(["olga", "otto"]))
    t, u = await tab(b, "olga"), await tab(b, "otto")
    made = (await ctl(b, "notify", "olga", '{"title":"é","n":1.0}')).stdout.strip()
    await t.expect(made, 1)
    assert (await ctl(b, "--json", "notify", "--broadcast", '{"id":"to-all"}')).stdout == '{"ok":true,"id":"to-all"}\n'
    await t.expect("to-all", 2)
    await u.expect("to-all", 1)
    read = await asyncio.to_thread(lambda: b.ctl("notify", "otto", "-", stdin='{"id":"piped"}'))
    assert read.stdout == "piped\n"
    await u.expect("piped", 2)
    for wrong, why in (("[]", "not a JSON object"), ("{", "not a JSON object"), ('{"id":7}', "`notification.id` is not a text"),
                       ('{"id":""}', "0 characters")):
        done = await ctl(b, "notify", "otto", wrong, check=False)
        assert done.returncode == 2 and why in done.stderr, done
    await u.nothing()


async def test_another_origin_of_the_answer(shared):
    """Whichever worker is asked, every worker delivers."""
    b = serving(shared(workers=2, **inboxes(["pia"])))
    tabs = [await tab(b, "pia") for _ in range(6)]
    for i in range(1, 11):
        made = await notify(b, "pia")
        for t in tabs:
            await t.expect(made, i)


# ── to everybody ──

async def test_broadcast(broker):
    b = serving(broker(workers=2, **inboxes(["ann", "ben", "cat", "new"])))
    here = [await tab(b, "ann"), await tab(b, "ann"), await tab(b, "ben")]
    away = await tab(b, "cat")
    await away.close()
    ids = []
    for i in range(3):  # one after the other: two that come into an inbox together are counted together
        ids.append((await publish(b, {"broadcast": True, "notification": {"n": i}}))["*"])
        for t in here:
            await t.expect(ids[i], i + 1)
    back = await tab(b, "cat")
    assert back.first["unread_count"] == 3
    await back.expect(*ids)
    new = await tab(b, "new")
    assert new.first["unread_count"] == 0
    await new.nothing()
    assert await new.ids() == []
    await here[0].ask(type="mark_read", id=ids[1])
    await here[1].expect(2)
    assert (await tab(b, "ann")).first["unread_count"] == 2
    assert here[2].said[-1]["count"] == 3


async def test_broadcast_before_a_notification(broker):
    """What everybody was told while a user was away stands in the list before what that user is told then."""
    b = broker(**inboxes(["dan"]))
    await (await tab(b, "dan")).close()
    await publish(b, {"broadcast": True, "notification": {"id": "all"}})
    await notify(b, "dan", id="own")
    back = await tab(b, "dan")
    await back.expect("all", "own")
    assert await back.ids() == ["own", "all"]


# ── how much is kept ──

async def test_backlog(broker):
    b = broker(**inboxes(["eva"], backlog=3))
    made = [await notify(b, "eva", n=i) for i in range(5)]
    t = await tab(b, "eva")
    assert t.first["unread_count"] == 5
    await t.expect(*made[2:])
    await t.nothing()
    await t.ask(type="mark_read", id=made[3])
    t = await tab(b, "eva")
    await t.expect(made[1], made[2], made[4])
    b.write(endpoints=[{**b.keys["endpoints"][0], "backlog": 0}])
    await ctl(b, "reload")
    await (await tab(b, "eva")).nothing()


async def test_capacity(broker):
    b = broker(**inboxes(["fred"], inbox={"capacity": 3}))
    t = await tab(b, "fred")
    made = []
    for i in range(5):
        made.append(await notify(b, "fred", n=i))
        await t.expect(made[-1], min(i + 1, 3))
    assert await t.ids() == made[:1:-1]
    await t.ask(type="mark_read", id=made[2])
    made.append(await notify(b, "fred"))
    await t.expect(made[-1], 3)
    b.write(inbox={"capacity": 1})
    await ctl(b, "reload")
    assert await t.ids() == made[-1:]
    await t.expect(1)
    for _ in range(3):  # one by one: what everybody is told is kept by the same number
        last = (await publish(b, {"broadcast": True, "notification": {}}))["*"]
        await t.expect(last, 1)
    assert await t.ids() == [last]


@pytest.mark.parametrize("backpressure,fit", [("4MiB", 17), ("1MiB", 8), ("64KiB", 1)])
async def test_long_answers(broker, backpressure, fit):
    """Backlog and list hold no more than a MiB at once, and leave room for what is said meanwhile; the rest is told of."""
    b = broker(**inboxes(["gil"], backpressure=backpressure))
    made = [await notify(b, "gil", x="y" * 60000) for _ in range(30)]
    t = await tab(b, "gil")
    await t.expect(*made[-fit:])
    await t.nothing()
    seen, before = [], {}
    while True:
        listed = await t.ask(type="list", limit=100, **before)
        assert len(listed["notifications"]) in (fit, len(made) % fit)
        seen += [n["id"] for n in listed["notifications"]]
        if not listed["more"]:
            break
        before = {"before": seen[-1]}
    assert seen == made[::-1]


def redis_of(b):
    import redis
    return redis.Redis(unix_socket_path=b.redis_path, decode_responses=True)


async def test_age(broker):
    """An hour passes in Redis: what is older than max_age is in no answer, and the count of all tabs follows."""
    b = broker(**inboxes(["hans"], inbox={"max_age": "1h"}))
    one, two = await tab(b, "hans"), await tab(b, "hans")
    old, new = await notify(b, "hans"), await notify(b, "hans")
    for t in one, two:
        await t.expect(old, 1, new, 2)
    r, order = redis_of(b), "heliod:inbox:{u:hans}:order"
    assert 0 < r.ttl(order) <= 3601
    r.zadd(order, {old: r.zscore(order, old) - 3600 * 1000000})
    assert await one.ids() == [new]
    await one.expect(1)
    await two.expect(1)
    assert not r.hexists("heliod:inbox:{u:hans}:texts", old) and r.scard("heliod:inbox:{u:hans}:unread") == 1
    everybody = "heliod:inbox:all:order"
    await (await tab(b, "hans")).close()
    for t in one, two:
        await t.close()
    lost = (await publish(b, {"broadcast": True, "notification": {}}))["*"]
    kept = (await publish(b, {"broadcast": True, "notification": {}}))["*"]
    r.zadd(everybody, {lost: r.zscore(everybody, lost) - 3600 * 1000000})
    back = await tab(b, "hans")
    await back.expect(new, kept)
    assert sorted(k for k in r.keys("heliod:inbox:*") if r.ttl(k) < 0) == []


# ── the stream ──

async def test_stream(broker):
    b = serving(broker(workers=2, **inboxes(["ivy"])))
    t, r = await tab(b, "ivy"), redis_of(b)
    body = lambda **n: json.dumps({"user": "ivy", "notification": n})
    r.xadd("heliod:notify", {"body": body(id="in-body"), "id": "in-field"})
    await t.expect("in-body", 1)
    r.xadd("heliod:notify", {"body": body(n=1), "id": "in-field"})
    await t.expect("in-field", 2)
    entry = r.xadd("heliod:notify", {"body": body(n=2)})
    await t.expect(f"stream-{entry}", 3)
    r.xadd("heliod:notify", {"body": body(n=3), "id": "in-field"})
    wrong = [{"body": "no json"}, {"text": body()}, {"body": body(id=7)}, {"body": body(), "id": "x" * 65}, {"body": body(), "id": b"\xff"}, {"body": b"\xff\0"},
             {"body": body(x="y" * 1100000)}, {"body": ""}]
    for fields in wrong:
        r.xadd("heliod:notify", fields)
    r.xadd("heliod:notify", {"body": body(id="behind")})
    await t.expect("behind", 4)
    await until(lambda: r.xlen("heliod:notify") == 0, what="all is acknowledged and deleted")
    assert r.xpending("heliod:notify", "heliod")["pending"] == 0
    assert await asyncio.to_thread(b.counter, "stream_malformed") == len(wrong)
    assert await asyncio.to_thread(b.counter, "stream_taken") == 5
    assert len(re.findall("an entry of the stream heliod:notify is passed over", b.log())) <= 10
    await t.nothing()


async def test_stream_of_before(redis_server, broker):
    """Entries that were there before any broker; and one that a worker took and died of."""
    keys, r = with_bus(redis_server), None
    import redis
    r = redis.Redis.from_url(keys["redis"]["url"], decode_responses=True)
    body = lambda i: json.dumps({"user": "jim", "notification": {"id": i}})
    r.xgroup_create("heliod:notify", "heliod", "0", mkstream=True)
    r.xadd("heliod:notify", {"body": body("abandoned")})
    r.xreadgroup("heliod", "a-dead-worker", {"heliod:notify": ">"})
    for i in range(40):
        r.xadd("heliod:notify", {"body": body(f"n{i}")})
    b = broker(**keys, **inboxes(["jim"]))
    await until(lambda: r.xlen("heliod:notify") == 1, what="the free ones are stored")
    await until(lambda: r.xlen("heliod:notify") == 0, 20, what="the abandoned one is taken over")
    t = await tab(b, "jim")
    await t.expect(*[f"n{i}" for i in range(40)], "abandoned")


def test_stream_forgets_dead_workers(redis_server):
    """Consumers that owe nothing and were not heard of for an hour (here: at all) are deleted; those that owe something are not."""
    r = redis_server().client()
    text = (ROOT / "worker/hub/inbox_stream.lua").read_text()
    assert "3600 * 1000" in text
    look = r.register_script(text.replace("3600 * 1000", "-1"))
    r.xgroup_create("s", "heliod", "0", mkstream=True)
    r.xadd("s", {"body": "x"})
    r.xreadgroup("heliod", "owes", {"s": ">"})
    r.xgroup_createconsumer("s", "heliod", "idle")
    assert look(keys=["s"], args=["", "me", 16, 1000, 100000]) == b""
    assert [c["name"] for c in r.xinfo_consumers("s", "heliod") if c["name"] != b"me"] == [b"owes"]


async def test_prefix(redis_server, broker):
    """Brokers with different prefixes on one Redis know nothing of each other, in keys, channels and the stream."""
    url = redis_server().url
    a, b = [broker(p, redis={"url": url, "prefix": f"{p}:"}, **inboxes(["pam"])) for p in ("one", "two")]
    t, u = await tab(a, "pam"), await tab(b, "pam")
    await t.expect(await notify(a, "pam"), 1)
    await u.expect(await notify(b, "pam"), 1)
    import redis
    r = redis.Redis.from_url(url, decode_responses=True)
    r.xadd("two:heliod:notify", {"body": '{"user":"pam","notification":{"id":"streamed"}}'})
    await u.expect("streamed", 2)
    await publish(a, {"broadcast": True, "notification": {"id": "all"}})
    await t.expect("all", 2)
    await u.nothing()
    assert all(k.startswith(("one:heliod:", "two:heliod:")) for k in r.keys()), r.keys()


# ── redis.persist ──

@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_persist(workdir, broker, end):
    """Inboxes survive the end of the broker, the hard one as well."""
    store = workdir / "store"
    b = broker(redis={"persist": str(store)}, **inboxes(["kai"]))
    made = [await notify(b, "kai", n=i) for i in range(3)]
    await publish(b, {"broadcast": True, "notification": {"id": "all"}})
    t = await tab(b, "kai")
    await t.expect(*made, "all")
    await t.ask(type="mark_read", id=made[1])
    await t.close()
    if end == "stop":
        assert await asyncio.to_thread(b.stop) == 0
    else:
        b.proc.kill()
        await asyncio.to_thread(b.proc.wait)
    assert store.stat().st_mode & 0o777 == 0o700
    await asyncio.to_thread(b.start)
    t = await tab(b, "kai")
    assert t.first["unread_count"] == 3
    await t.expect(made[0], made[2], "all")
    assert await t.ids() == ["all", *made[::-1]]
    await publish(b, {"broadcast": True, "notification": {"id": "all"}})
    await t.nothing()


async def test_without_persist(broker):
    b = broker(**inboxes(["kai"]))
    await notify(b, "kai")
    await asyncio.to_thread(b.stop)
    await asyncio.to_thread(b.start)
    assert (await tab(b, "kai")).first["unread_count"] == 0


def refused_start(b):
    assert b.proc.wait(20) != 0
    return b.log()


def test_persist_refuses(workdir, broker):
    (workdir / "file").touch()
    (workdir / "open").mkdir(mode=0o755)
    b = broker(redis={"persist": str(workdir / "store")}, **inboxes(["kai"]))
    for name, store, why in (("r", "relative/path", "not an absolute path"), ("f", str(workdir / "file"), "Not a directory"),
                             ("o", str(workdir / "open"), "mode 0755"), ("n", str(workdir / "no" / "such"), "No such file"),
                             ("u", str(workdir / "store"), "in use by another heliod")):
        assert why in refused_start(broker(name, wait=False, redis={"persist": store}, **inboxes(["kai"]))), name
    assert b.http()[0] == 200


@pytest.mark.skipif("os.geteuid() != 0")
def test_persist_of_another_user(workdir, broker):
    (workdir / "others").mkdir(mode=0o700)
    os.chown(workdir / "others", 12345, 12345)
    assert "belongs to user 12345" in refused_start(broker("x", wait=False, redis={"persist": str(workdir / "others")}, **inboxes(["kai"])))


@pytest.mark.skipif("os.geteuid() != 0")
def test_persist_out_of_reach(workdir, broker):
    workdir.chmod(0o755)
    (workdir / "closed").mkdir(mode=0o700)
    (workdir / "others").mkdir(mode=0o700)
    for name, store, why in (("c", workdir / "closed" / "store", "Permission denied"), ("o", workdir / "others", "Permission denied")):
        log = refused_start(broker(name, wait=False, user="nobody", redis={"persist": str(store)}, **inboxes(["kai"])))
        assert f"cannot use {store}" in log and why in log


@pytest.mark.skipif("os.geteuid() != 0")
async def test_persist_of_the_workers_user(workdir, broker):
    workdir.chmod(0o755)
    b = broker(user="nobody", redis={"persist": str(workdir / "store")}, **inboxes(["kai"]))
    made = await notify(b, "kai")
    assert (workdir / "store").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    await asyncio.to_thread(b.stop)
    await asyncio.to_thread(b.start)
    await (await tab(b, "kai")).expect(made)
