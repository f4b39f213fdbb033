"""The HTTP API and /metrics (PROTOCOL part D): bodies in every shape, keys, CORS, publishing, and what happens when Redis, the
client or the worker leaves in the middle."""
import asyncio
import json
import os
import signal
import socket
import struct
import time

import pytest

from api import KEY, NEWS, answer, chunked, head, post, refused
from client import entered
from conftest import SLACK, eventually
from rawws import Raw

OTHER = "another-k3y"
PAGE = "https://app.example.com"
MAX = 1 << 20
CONF = {
    "api_keys": [{"name": "backend", "key": KEY}, {"name": "other", "key": OTHER}],
    "allowed_origins": [PAGE, "https://*.example.org"],
    "endpoints": [{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "rooms": {"join": ["*"]}}],
}
PUBLISHED = (200, {"published": True})


def published(r):
    status, fields, body = answer(r)
    assert (status, body) == PUBLISHED, body
    return fields


@pytest.fixture
def broker_(shared):
    return shared(**CONF)


@pytest.fixture
def raw(broker_):
    r = Raw(broker_.port)
    yield r
    r.close()


# ---- what is published ----

async def test_each_target_gets_exactly_the_event(broker):
    b = broker(workers=2, **CONF)
    clients = [await entered(b.url) for _ in range(6)]
    ids = [c.id for c in clients]
    await clients[1].say("join", {"rooms": ["r"]})
    await clients[2].say("join", {"rooms": ["r"]})
    await asyncio.to_thread(eventually, lambda: any(x["room"] == "r" and x["members"] == 2 for x in b.rows("show", "rooms")))
    r = Raw(b.port)

    async def expect(receivers, to, data='{"é":[1.0,  2]}', **more):
        text = json.dumps({"to": to, "event": "x", **more})[:-1] + (f',"data":{data}}}' if data else "}")
        await asyncio.to_thread(r.send, post(text.encode()))
        await asyncio.to_thread(published, r)
        await asyncio.to_thread(r.send, post({"to": {"broadcast": True}, "event": "fence"}))
        await asyncio.to_thread(published, r)
        for i, c in enumerate(clients):
            want = [f'{{"event":"x","data":{data}}}' if data else '{"event":"x"}'] if i in receivers else []
            for text in want + ['{"event":"fence"}']:
                assert await asyncio.wait_for(c.ws.recv(), 10 * SLACK) == text

    await expect([1, 2], {"room": "r"})
    await expect([2], {"room": "r"}, exclude=[ids[1], "zzz"])
    await expect([3], {"client": ids[3]}, data=None)
    await expect([4], {"room": ids[4]}, data="null")
    await expect(range(6), {"room": "ws-default"}, data='"text"')
    await expect(range(6), {"broadcast": True})
    await expect([0, 2, 3, 4, 5], {"broadcast": True}, exclude=[ids[1]])
    await expect([], {"user": "nobody"})
    assert b.counter("api_published") == 16
    r.close()


async def test_the_envelope_on_the_bus(broker, redis_server):
    s = redis_server()
    b = broker(redis={"url": s.url}, **CONF)
    sub = s.client().pubsub()
    sub.subscribe("ws:room:r", "ws:broadcast")
    while sub.get_message(timeout=1):
        pass
    r = Raw(b.port).send(post({"event": "x", "exclude": ["a"], "data": {"n": 1}, "to": {"room": "r"}}))
    published(r)
    message = sub.get_message(timeout=10)
    assert message["data"] == b'{"serverId":"heliod","type":"room","target":"r","event":"x","data":{"n": 1},"exclude":["a"]}'
    r.close()


# ---- bodies ----

def big(n):
    """A good body of exactly n bytes."""
    frame = b'{"to":{"room":"nobody"},"event":"x","data":"%s"}'
    return frame % (b"y" * (n - len(frame) + 2))


TEXT = json.dumps(NEWS).encode()
CHUNKED = ("Transfer-Encoding: chunked",)
BODIES = {
    "by length": post(),
    "of the greatest length": post(big(MAX)),
    "in one chunk": head(more=CHUNKED) + chunked(TEXT, 1 << 16),
    "in chunks of a byte": head(more=CHUNKED) + chunked(TEXT, 1),
    "in chunks, of the greatest length": head(more=CHUNKED) + chunked(big(MAX), 70000),
    "with extensions and a trailer": head(more=CHUNKED) + chunked(TEXT, 9, b';a="b c";d', b"Digest: x\r\nX: \r\n"),
    "type with parameters": post(type_="Application/JSON ; charset=utf-8"),
    "coding identity": post(more=["Content-Encoding: identity"]),
    "scheme in any case": post(key=None, more=["authorization: bEARER  " + KEY]),
    "another key": post(key=OTHER),
    "white space": post(b" \r\n\t" + TEXT + b"\n"),
}


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES.keys())
def test_bodies_are_taken(raw, data):
    for _ in range(2):
        assert published(raw.send(data))["connection"] == "keep-alive"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_chopped_and_pipelined(raw, size):
    """Requests with bodies one behind the other, cut anywhere; each is answered, in order."""
    bad = post({**NEWS, "nonsense": 1})
    page = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    stream = BODIES["by length"] + BODIES["in chunks of a byte"] + bad + page + BODIES["with extensions and a trailer"] + post()
    for i in range(0, len(stream), size):
        raw.send(stream[i:i + size])
    statuses = [answer(raw)[0] for _ in range(6)]
    assert statuses == [200, 200, 400, 200, 200, 200]


def test_many_in_one_write(raw):
    raw.send(post() * 300 + b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    for _ in range(300):
        published(raw)
    assert answer(raw)[2]["status"] == "ok"
    assert raw.ended()


def test_close_and_http_1_0(broker_):
    for data in (post(more=["Connection: close"]), post(version="HTTP/1.0")):
        r = Raw(broker_.port).send(data)
        assert published(r)["connection"] == "close" and r.ended()
    r = Raw(broker_.port).send(post(version="HTTP/1.0", more=["Connection: keep-alive"]))
    assert published(r)["connection"] == "keep-alive"
    published(r.send(post()))


def test_half_closed_behind_the_request(broker_):
    r = Raw(broker_.port).send(post())
    r.s.shutdown(socket.SHUT_WR)
    published(r)
    assert r.ended()


def test_expect_continue(raw):
    for more in (["Expect: 100-continue"], ["expect: 100-CONTINUE"]):
        raw.send(head(length=len(TEXT), more=more))
        assert raw.head()[0] == 100
        published(raw.send(TEXT))
    raw.send(head(more=[*CHUNKED, "Expect: 100-continue"]))
    assert raw.head()[0] == 100
    published(raw.send(chunked(TEXT, 5)))
    published(raw.send(post(more=["Expect: 100-continue"])))  # it did not wait for a word
    published(raw.send(post(version="HTTP/1.0", more=["Connection: keep-alive", "Expect: 100-continue"])))


LONG = ["Expect: 100-continue"]
BEFORE_THE_BODY = {
    "too long": (head(length=MAX + 1), 413, "body-too-large"),
    "much too long": (head(length=2 ** 62), 413, "body-too-large"),
    "too long, waiting": (head(length=MAX + 1, more=LONG), 413, "body-too-large"),
    "no length": (head(), 411, "length-required"),
    "no type": (head(type_=None, length=2), 415, "not-json"),
    "another type": (head(type_="text/plain", length=2), 415, "not-json"),
    "a type like it": (head(type_="application/json5", length=2), 415, "not-json"),
    "two types": (head(length=2, more=["Content-Type: application/json"]), 415, "not-json"),
    "compressed": (head(length=2, more=["Content-Encoding: gzip"]), 415, "not-json"),
    "unknown expectation": (head(length=2, more=["Expect: 200-ok"]), 417, "expectation-failed"),
    "no key, waiting": (head(key=None, length=2, more=LONG), 401, "unauthorized"),
    "wrong key": (head(key="x", length=2), 401, "unauthorized"),
    "wrong method": (head(method="PUT", length=2), 405, "method-not-allowed"),
    "no such route": (head(path="/api/nothing", length=2), 404, "no-such-route"),
}


@pytest.mark.parametrize("data,status,error", BEFORE_THE_BODY.values(), ids=BEFORE_THE_BODY.keys())
def test_refused_before_the_body(raw, data, status, error):
    """At once, and nothing that follows is taken for a request."""
    raw.send(data)
    got, fields, body = answer(raw)
    assert (got, body["error"]) == (status, error)
    if error != "length-required":
        assert fields["connection"] == "close"
        raw.send(post())
        assert raw.ended()


BAD_CHUNKS = {
    "no size": b"\r\n", "not hexadecimal": b"g\r\n", "signed": b"-1\r\n", "bare LF": b"3\nabc\n", "too short": b"2\r\nabc\r\n",
    "endless extension": b"1;" + b"x" * 300, "control character": b"1;\x01\r\n", "endless trailer": b"0\r\n" + b"A: b\r\n" * 1000,
    "many digits": b"0" * 20,
}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_bad_chunks(raw, data):
    refused(raw.send(head(more=CHUNKED) + data), 400, "bad-request", closes=True)


@pytest.mark.parametrize("data", [b"100001\r\n", b"fffffffff\r\n", chunked(b" " * (MAX + 1), 50000)], ids=["chunk", "digits", "sum"])
def test_chunks_too_large(raw, data):
    refused(raw.send(head(more=CHUNKED) + data), 413, "body-too-large", closes=True)


def test_a_slow_body(shared):
    b = shared(client={"handshake_timeout": "400ms"}, **CONF)
    for start in (head(length=9) + b"{", head(more=CHUNKED) + b"9\r\n{"):
        r = Raw(b.port).send(post())
        published(r)
        began = time.monotonic()
        r.send(start)
        refused(r, 408, "request-timeout", closes=True)
        assert 0.35 < time.monotonic() - began < 2 * SLACK


def test_gone_in_the_middle(broker_):
    """Of the head, of the body, before the answer; by FIN or RST."""
    for cut in range(1, len(post()) + 1, 23):
        for linger in (False, True):
            r = Raw(broker_.port).send(post()[:cut])
            if linger:
                r.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            r.close()
    published(Raw(broker_.port).send(post()))


BAD_BODIES = {
    "nothing": (b"", "not JSON"),
    "no JSON": (b"{'to':1}", "not JSON"),
    "bad UTF-8": (b'{"event":"\xff"}', "not JSON"),
    "no object": (b"[1]", "not a JSON object"),
    "no target": ({"event": "x"}, "`to`"),
    "no event": ({"to": {"room": "r"}}, "`event`"),
    "event no text": ({**NEWS, "event": 5}, "`event`"),
    "two targets": ({**NEWS, "to": {"room": "r", "user": "u"}}, "must name one"),
    "a target beside no text": ({**NEWS, "to": {"room": "r", "user": 5}}, "must name one"),
    "twice": (b'{"to":{"room":"r"},"event":"x","\\u0065vent":"y"}', "`event` more than once"),
    "a target twice": (b'{"to":{"room":"r","room":"s"},"event":"x"}', "`to.room` more than once"),
    "broadcast false": ({**NEWS, "to": {"broadcast": False}}, "must name one"),
    "empty room": ({**NEWS, "to": {"room": ""}}, "must name one"),
    "unknown members": ({**NEWS, "rooms": [], "Data": 1}, "`rooms`, `Data`"),
    "unknown target": ({**NEWS, "to": {"room": "r", "channel": "c"}}, "`to.channel`"),
    "exclude no list": ({**NEWS, "exclude": "id"}, "`exclude`"),
    "exclude no ids": ({**NEWS, "exclude": [5]}, "`exclude`"),
    "long unknown names": ({("é" * 500 + str(i)): 1 for i in range(50)}, "47 more"),
}


@pytest.mark.parametrize("body,word", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_bodies(raw, body, word):
    refused(raw.send(post(body)), 400, "bad-body", word, closes=False)
    published(raw.send(post()))


# ---- keys ----

WRONG = {"none": None, "empty": "", "another": "x", "half": KEY[:-1], "longer": KEY + "x", "case": KEY.upper(), "two words": KEY + " x"}


def test_every_wrong_key_gets_the_same_answer(broker_):
    answers = set()
    requests = [head(path="/metrics", method="GET", type_=None, key=k) for k in WRONG.values()]
    requests += [head(path="/metrics", method="GET", type_=None, key=None, more=more) for more in (
        [f"Authorization: Basic {KEY}"], [f"Authorization: {KEY}"], ["Authorization: Bearer"],
        [f"Authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}"], [f"X-Api-Key: {KEY}"])]
    requests.append(head(path=f"/metrics?key={KEY}", method="GET", type_=None, key=None))
    requests.append(head(path="/api/nothing", method="GET", type_=None, key="x"))
    for data in requests:
        r = Raw(broker_.port).send(data)
        status, fields, body = answer(r)
        assert fields["www-authenticate"] == "Bearer"
        answers.add((status, json.dumps(body)))
        r.close()
    assert len(answers) == 1 and answers.pop()[0] == 401


def test_the_api_is_off_without_keys(broker):
    b = broker(**{**CONF, "api_keys": []})
    for path in ("/api/events", "/api/nothing", "/api", "/metrics"):
        refused(Raw(b.port).send(post(path=path)), 403, "api-disabled", closes=True)


def test_keys_change_with_a_reload(broker):
    b = broker(**CONF)
    r = Raw(b.port)
    published(r.send(post()))
    b.write(api_keys=[{"name": "new", "key": "n3w"}])
    b.ctl("reload")
    published(r.send(post(key="n3w")))
    refused(r.send(post()), 401, "unauthorized", closes=True)


def test_logs_name_the_key_and_never_show_it(broker):
    b = broker(**{**CONF, "log": {"level": "debug"}})
    published(Raw(b.port).send(post(b'{"to":{"room":"r"},"event":"x","data":"payl0ad"}')))
    refused(Raw(b.port).send(post(key="wr0ng")), 401, "unauthorized")
    eventually(lambda: "without a valid key" in b.log())
    assert "key=backend" in b.log()
    for secret in (KEY, "wr0ng", "payl0ad"):
        assert secret not in b.log()
    assert b.counter("api_denied") == 1


def test_methods(raw):
    for method in ("GET", "PUT", "DELETE", "PATCH", "get"):
        fields, _ = refused(raw.send(head(method=method, type_=None)), 405, "method-not-allowed", closes=False)
        assert fields["allow"] == "POST, OPTIONS"
    refused(raw.send(head(method="HEAD", type_=None)), 405, None, method="HEAD", closes=False)
    fields, _ = refused(raw.send(head(path="/metrics", length=0)), 405, "method-not-allowed", closes=False)
    assert fields["allow"] == "GET, HEAD, OPTIONS"
    status, fields, _ = answer(raw.send(head(method="OPTIONS", key=None, type_=None)))
    assert (status, fields["allow"]) == (204, "POST, OPTIONS")
    refused(raw.send(head(path="/api/x", method="OPTIONS", key=None, type_=None)), 404, "no-such-route", closes=False)
    refused(raw.send(head(path="/api/" + "x" * 2000, method="GET", type_=None)), 404, "no-such-route", closes=False)


# ---- CORS ----

def preflight(origin, path="/api/events"):
    return head(path=path, method="OPTIONS", key=None, type_=None, more=[
        f"Origin: {origin}", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"])


@pytest.mark.parametrize("origin", [PAGE, "https://a.b.example.org"])
def test_allowed_pages(raw, origin):
    status, fields, _ = answer(raw.send(preflight(origin)))
    assert status == 204 and fields["access-control-allow-origin"] == origin and fields["vary"] == "Origin"
    assert "POST" in fields["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(fields["access-control-allow-headers"].lower().split(", "))
    assert "access-control-allow-credentials" not in fields
    mine = [f"Origin: {origin}"]
    assert published(raw.send(post(more=mine)))["access-control-allow-origin"] == origin
    for data in (post(b"x", more=mine), head(path="/api/x", method="GET", type_=None, more=mine), head(method="GET", type_=None, more=mine),
                 head(path="/metrics", method="GET", key=None, type_=None, more=mine), head(length=MAX + 1, more=mine)):
        status, fields, _ = answer(raw.send(data))
        assert status >= 400 and fields["access-control-allow-origin"] == origin


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example.com", "https://example.org", "null", "x" * 3000, "é" * 200])
def test_foreign_pages(raw, origin):
    fields, _ = refused(raw.send(preflight(origin)), 403, "origin-not-allowed", closes=False)
    assert "access-control-allow-origin" not in fields
    fields = published(raw.send(post(more=[f"Origin: {origin}"])))  # the key decides; the page may not read it
    assert "access-control-allow-origin" not in fields and fields["vary"] == "Origin"


def test_no_pages_by_default(broker):
    b = broker(**{**CONF, "allowed_origins": []})
    r = Raw(b.port)
    refused(r.send(preflight(PAGE)), 403, "origin-not-allowed", closes=False)
    assert not {"vary", "access-control-allow-origin"} & set(published(r.send(post(more=[f"Origin: {PAGE}"]))))


# ---- /metrics ----

def scrape(r, method="GET"):
    status, fields, text = r.send(head(path="/metrics", method=method, type_=None)).head()
    assert status == 200, text
    assert fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return int(fields["content-length"]), "" if method == "HEAD" else r.take(int(fields["content-length"])).decode()


def parse(text):
    """{name: (type, {slot: value})}, strictly."""
    out, lines = {}, text.splitlines()
    assert text.endswith("\n")
    while lines:
        _, word, name, help_ = lines.pop(0).split(" ", 3)
        assert word == "HELP" and help_
        hash_, word, same, type_ = lines.pop(0).split(" ")
        assert (hash_, word, same) == ("#", "TYPE", name) and (type_ == "counter") == name.endswith("_total")
        values = {}
        while lines and not lines[0].startswith("#"):
            sample, value = lines.pop(0).split(" ")
            assert sample.startswith(name + '{slot="') and sample.endswith('"}')
            values[int(sample[len(name) + 7:-2])] = int(value)
        assert name not in out
        out[name] = (type_, values)
    return out


def test_a_retiring_worker_lets_go(broker):
    """It answers, then sends the client to its successor; else a busy one would keep it for an hour."""
    b = broker(**CONF)
    r = Raw(b.port)
    published(r.send(post()))
    old = b.workers()[0]["pid"]
    b.ctl("drain", "0")
    eventually(lambda: any(w["pid"] == old for w in b.workers("retiring")))
    assert published(r.send(post()))["connection"] == "close" and r.ended()
    r.close()
    eventually(lambda: [w["pid"] != old for w in b.workers(None)] == [True])
    published(Raw(b.port).send(post()))


async def test_metrics_know_every_worker(broker):
    b = broker(workers=3, **CONF)
    clients = [await entered(b.url) for _ in range(12)]
    r = Raw(b.port)
    page = await asyncio.to_thread(lambda: parse(scrape(r)[1]))
    assert sum(page["heliod_websockets"][1].values()) == len(clients)
    assert set(page["heliod_websockets"][1]) == {0, 1, 2}
    counters = b.rows("show", "counters")
    names = {"heliod_" + c["name"] + ("_total" if c["kind"] == "total" else "") for c in counters}
    assert set(page) == names
    slot = max(range(3), key=page["heliod_websockets"][1].get)
    victim = next(w for w in b.workers() if w["slot"] == slot)
    before = sum(page["heliod_accepted_total"][1].values())
    os.kill(victim["pid"], signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: len(b.workers()) == 3 and victim["pid"] not in [w["pid"] for w in b.workers()])
    r = Raw(b.port)
    page = await asyncio.to_thread(lambda: parse(scrape(r)[1]))
    assert sum(page["heliod_accepted_total"][1].values()) > before  # totals outlive workers
    assert sum(page["heliod_websockets"][1].values()) < len(clients)


def test_metrics_by_head_and_pipelined(raw):
    n, _ = scrape(raw, "HEAD")
    assert n > 1000
    raw.send(head(path="/metrics", method="GET", type_=None) * 20 + post())
    for _ in range(20):
        status, fields, _ = raw.head()
        assert status == 200
        parse(raw.take(int(fields["content-length"])).decode())
    published(raw)


def test_a_reader_that_does_not_take_its_answers(broker_):
    """It is not asked for more: the answers do not pile up in the worker."""
    r = Raw(broker_.port, rcvbuf=4096)
    ask = head(path="/metrics", method="GET", type_=None)
    r.s.setblocking(False)
    sent = 0
    try:
        while sent < 20_000_000:
            sent += r.s.send(ask * 1000)
    except BlockingIOError:
        pass
    assert sent < 20_000_000
    published(Raw(broker_.port).send(post()))
    r.close()


def test_a_supervisor_that_does_not_answer(broker):
    b = broker(client={"handshake_timeout": "500ms"}, **CONF)
    r = Raw(b.port)
    scrape(r)
    b.proc.send_signal(signal.SIGSTOP)
    try:
        r.send(head(path="/metrics", method="GET", type_=None))
        refused(r, 503, "counters-unavailable", closes=False)
    finally:
        b.proc.send_signal(signal.SIGCONT)
    scrape(r)


# ---- Redis away ----

async def test_bus_down_delivers_nothing(broker, redis_server):
    s = redis_server()
    b = broker(redis={"url": s.url}, **CONF)
    c = await entered(b.url)
    r = Raw(b.port)
    s.kill()
    await asyncio.to_thread(eventually, lambda: b.http()[0] == 503)
    for _ in range(3):
        fields, _ = await asyncio.to_thread(lambda: refused(r.send(post()), 503, "bus-down", "Nothing was done", closes=False))
        assert fields["retry-after"] == "1"
    s.start()
    await asyncio.to_thread(eventually, lambda: b.http()[0] == 200)
    await asyncio.to_thread(lambda: published(r.send(post({**NEWS, "event": "fence"}))))
    assert (await c.get())["event"] == "fence"


def stalled(broker, redis_server, **more):
    s = redis_server()
    b = broker(redis={"url": s.url}, **{**CONF, **more})
    s.proc.send_signal(signal.SIGSTOP)
    return s, b


def test_unanswered_then_lost(broker, redis_server):
    s, b = stalled(broker, redis_server)
    r = Raw(b.port).send(post())
    time.sleep(0.3)  # it is on its way
    s.kill()
    refused(r, 503, "bus-uncertain", closes=False)
    r.close()


def test_unanswered_for_too_long(broker, redis_server):
    """The answer that comes late finds nobody, and disturbs nobody."""
    s, b = stalled(broker, redis_server, client={"handshake_timeout": "400ms"})
    r = Raw(b.port).send(post() + post())
    refused(r, 503, "bus-uncertain", closes=False)
    refused(r, 503, "bus-uncertain", closes=False)
    s.proc.send_signal(signal.SIGCONT)
    published(r.send(post()))
    eventually(lambda: b.counter("api_published") == 3)


def test_the_client_leaves_before_the_answer(broker, redis_server):
    s, b = stalled(broker, redis_server)
    for linger in (0, 1) * 5:
        r = Raw(b.port).send(post())
        r.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", linger, 0))
        r.close()
    time.sleep(0.3)
    s.proc.send_signal(signal.SIGCONT)
    published(Raw(b.port).send(post()))
    eventually(lambda: b.counter("api_published") == 11)


def test_the_worker_stops_before_the_answer(broker, redis_server):
    s, b = stalled(broker, redis_server, shutdown_timeout="2s")
    r = Raw(b.port).send(post())
    waiting = Raw(b.port).send(head(length=50) + b"{")
    time.sleep(0.3)
    assert b.stop() == 0
    assert r.eof() and waiting.eof()


def test_a_quick_answer_reaches_a_client_of_a_stopping_worker(broker, redis_server):
    s, b = stalled(broker, redis_server)
    r = Raw(b.port).send(post())
    time.sleep(0.3)
    b.proc.terminate()
    time.sleep(0.1)
    s.proc.send_signal(signal.SIGCONT)
    published(r)
    assert b.proc.wait(20 * SLACK) == 0
