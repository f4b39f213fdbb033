"""`refusals: close`: a good handshake that is refused is accepted and closed with a code and a sentence that a page can read; whatever
is no handshake still gets its HTTP answer, and nothing of the endpoint's protocol sees either."""
import asyncio
import json
import socket
import ssl
import struct
import time

import pytest
import websockets

from backend import Backend
from client import connect
from conftest import SLACK, eventually
from rawws import REQUEST, Raw, frame
from test_handshake import BAD_HEADS, BROKEN, ask, refused

ORIGIN = "https://app.example.com"
STRANGE = "https://evil.example"
ECHO = {"protocol": "echo", "allowed_origins": [ORIGIN]}
ENDPOINTS = [
    {"path": "/ws", "auth": {"method": "anonymous"}, "allowed_origins": [ORIGIN], "refusals": "close"},
    {"path": "/echo", **ECHO, "refusals": "close"},
    {"path": "/pages", "protocol": "echo", "require_origin": True, "refusals": "close"},
    {"path": "/plain", **ECHO},
    {"path": "/ws/notifications/", "protocol": "echo"},
]
CLOSE = {"refusals": "close", "endpoints": ENDPOINTS, "log": {"level": "debug"}, "client": {"close_timeout": "700ms"}}
NO_ORIGIN = 'The Origin "%s" is not allowed at this endpoint.'


@pytest.fixture
def b(shared):
    return shared(**CLOSE)


@pytest.fixture(scope="module", autouse=True)
def no_worker_dies(shared):
    yield
    broker = shared(**CLOSE)
    assert [w["restarts"] for w in broker.rows("show", "workers")] == [0], broker.log()
    assert " error " not in broker.log()


def knock(b, path="/ws", more="", behind=b"", origin=STRANGE):
    """A handshake by hand, `behind` it in the same segment."""
    line = f"Origin: {origin}\r\n" if origin else ""
    return Raw(b.port).send(REQUEST.format(path=path, more=line + more).encode() + behind)


def closing(raw):
    """(code, reason) behind a 101."""
    status, _, text = raw.head()
    assert status == 101, text
    return raw.closing()


async def told(b, path="/ws", **options):
    """What a page's onclose is told."""
    return await (await connect(b.url, path, **options)).closed()


# ── what a page sees ──

async def test_origin(b):
    before = b.counter("refused")
    for path in "/ws", "/echo":
        assert await told(b, path, origin=STRANGE) == (4403, NO_ORIGIN % STRANGE)
    assert await told(b, "/ws", origin="null") == (4403, NO_ORIGIN % "null")
    assert await told(b, "/pages") == (4403, "This endpoint requires an Origin header. "
                                             "Connect from a web page, or send an allowed Origin header.")
    assert b.counter("refused") == before + 4
    assert "id" in (await (await connect(b.url, "/ws", origin=ORIGIN)).authenticate()).connected


NO_SUCH = {  # path → nearest
    "/wss": "/ws",
    "/w": "/ws",
    "/Echo": "/echo",
    "/ws/": "/ws",
    "/ws/notifications": "/ws/notifications/",
    "/undefined/ws/notifications/": "/ws/notifications/",
    "/ws/notification/?token=s3cret": "/ws/notifications/",
    "/" + "very-long-" * 30 + "/ws": "/ws",
}


@pytest.mark.parametrize("path", NO_SUCH)
async def test_no_such_endpoint(b, path):
    code, reason = await told(b, path, origin=STRANGE)
    shown = path.split("?")[0]
    assert code == 4404 and len(reason) <= 123
    assert reason.startswith("No endpoint is configured at the path " + shown[:30])
    assert reason.endswith(f"Did you mean {NO_SUCH[path]}?")
    assert "s3cret" not in b.log()


async def test_nothing_is_near(b):
    assert await told(b, "/quite-another-thing") == (
        4404, "No endpoint is configured at the path /quite-another-thing. See the `endpoints` in heliod.yaml.")


async def test_the_reason_is_never_too_long(b):
    for n in list(range(60, 130, 7)) + [3000]:
        code, reason = await told(b, "/" + "x" * n)
        assert code == 4404 and 60 < len(reason.encode()) <= 123
        code, reason = await told(b, "/ws", origin="https://" + "x" * n)
        assert code == 4403 and 60 < len(reason.encode()) <= 123


async def test_a_subprotocol_is_selected(b):
    """A browser fails a connection that offered some and got none, and then shows 1006."""
    c = await connect(b.url, "/wss", subprotocols=["token.s3cret", "chat"])
    assert c.ws.subprotocol == "chat"
    assert (await c.closed())[0] == 4404
    assert "s3cret" not in b.log()


async def test_by_place(b, broker):
    """Each endpoint has its own word, and what matches none the broker's."""
    async def status(where, path, **options):
        with pytest.raises(websockets.InvalidStatusCode) as e:
            await connect(where.url, path, **options)
        return e.value.status_code

    assert await status(b, "/plain", origin=STRANGE) == 403
    other = broker(endpoints=ENDPOINTS)
    assert await status(other, "/wss") == 404
    assert (await told(other, "/ws", origin=STRANGE))[0] == 4403
    assert other.ctl("show", "config").stdout.count("refusals") >= len(ENDPOINTS) + 1


# ── nothing of a protocol runs ──

async def test_the_endpoint_never_hears_of_it(broker):
    backend = Backend(authenticate=(200, {"userId": "u"}))
    try:
        b = broker(endpoints=[{"path": "/ws", "auth": {"method": "hook"}, "allowed_origins": [ORIGIN], "refusals": "close",
                               "auth_timeout": "50ms", "hooks": {w: backend.url for w in ("authenticate", "connected", "disconnected")}}])
        hello = frame(1, b'{"event":"authenticate","data":{"token":"t"}}')
        raws = [knock(b, behind=hello + frame(9, b"ping") + frame(1, b"nonsense") + b"\xff" * 50) for _ in range(20)]
        for raw in raws:
            assert closing(raw) == (4403, NO_ORIGIN % STRANGE)
            assert raw.ended()  # no error, no pong, no other close
            raw.close()
        good = await connect(b.url, "/ws", origin=ORIGIN)
        await good.authenticate()
        await good.close()
        eventually(lambda: backend.seen("disconnected"), 10, "the good one has left")
        assert [len(backend.seen(h)) for h in ("authenticate", "connected", "disconnected")] == [1, 1, 1]
    finally:
        backend.close()
    for name in ("auth_refused", "auth_errors", "auth_timeouts", "events_invalid", "messages_out", "users", "rooms"):
        assert b.counter(name) == (1 if name == "messages_out" else 0), name
    assert b.counter("refused") == 20 and b.counter("auth_accepted") == 1


def test_pings_and_data_have_no_answer(b):
    raw = knock(b, behind=frame(9, b"a") + frame(1, b"b") * 3 + frame(2, b"c" * 200000) + frame(1, b"d", fin=False))
    assert closing(raw)[0] == 4403
    raw.send(frame(9, b"in between") + frame(8, struct.pack(">H", 4403)))
    assert raw.ended()


def test_a_refused_client_is_nobody_to_helioctl(b):
    raw = knock(b)
    assert closing(raw)[0] == 4403
    port = raw.s.getsockname()[1]
    rows = [r for r in b.rows("show", "connections") if r["address"].endswith(f":{port}")]
    assert [r["state"] for r in rows] == ["closing"]
    assert "endpoint" not in rows[0] and "protocol" not in rows[0] and "user" not in rows[0]
    assert not [r for r in b.rows("show", "connections", "endpoint", "/ws") if r["address"].endswith(f":{port}")]
    raw.close()


# ── its end ──

def test_the_handshake_is_awaited_so_long(b):
    """client.close_timeout, whatever the client says or does not say."""
    start, end = time.monotonic(), None
    quiet, talks = knock(b), knock(b)
    assert closing(quiet)[0] == closing(talks)[0] == 4403
    talks.s.settimeout(0.1)
    while end is None and time.monotonic() - start < 20 * SLACK:
        try:
            talks.send(frame(1, b"still here"))
            if not talks.more():
                end = time.monotonic()
        except socket.timeout:
            pass
        except OSError:
            end = time.monotonic()
    assert end and end - start > 0.65
    assert quiet.ended()


def test_those_that_vanish(b):
    for _ in range(50):
        raw = knock(b, path="/wss")
        raw.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    eventually(lambda: b.counter("websockets") == 0 and b.counter("connections") == 0, 10, "all are gone")


def test_a_stop_waits_for_them_no_longer(broker):
    b = broker(**CLOSE)
    raws = [knock(b) for _ in range(5)]
    assert {closing(raw)[0] for raw in raws} == {4403}
    assert b.stop(10) == 0
    assert all(raw.eof() for raw in raws)


# ── what is no handshake ──

@pytest.mark.parametrize("name", BROKEN)
def test_no_handshake_is_refused_by_http(b, name):
    data, status, word = BROKEN[name]
    refused(Raw(b.port).send(data), status, word)


@pytest.mark.parametrize("name", [n for n, row in BROKEN.items() if b"/echo" in row[0]])
def test_nor_is_it_without_an_endpoint(b, name):
    raw = Raw(b.port).send(BROKEN[name][0].replace(b"/echo", b"/ehco"))
    status, _, body = raw.response()
    assert status == 404
    assert json.loads(body)["hint"] == "Did you mean /echo?"


def test_bad_requests_and_pages_stay(b):
    for data, status, word in list(BAD_HEADS.values())[::8]:
        refused(Raw(b.port).send(data), status, word)
    assert b.http("/health")[0] == 200 and b.http("/ready")[0] == 200
    assert b.http("/nowhere")[0] == 404 and b.http("/ws")[0] == 426


def test_a_refusal_may_follow_other_requests(b):
    raw = Raw(b.port).send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n" + ask(line="GET /wss HTTP/1.1"))
    assert raw.response()[0] == 200 and raw.response()[0] == 404
    assert closing(raw) == (4404, "No endpoint is configured at the path /wss. Did you mean /ws?")


# ── log and reload ──

async def test_the_log_says_it(b):
    before = len(b.log())
    await told(b, "/ws", origin=STRANGE)
    await told(b, "/wss")
    for line in ("code=4403 error=origin-not-allowed", "code=4404 error=no-such-endpoint",
                 'code=4403 cause="close handshake"', 'code=4404 cause="close handshake"'):
        eventually(lambda: line in b.log()[before:], 10, line)
    assert "disconnected" not in b.log()[before:]


async def test_reload(broker):
    """New handshakes see what is in force; whoever is being turned away is turned away as before."""
    def with_refusals(how):
        return {"refusals": how, "endpoints": [{"path": "/ws", "auth": {"method": "anonymous"}, "allowed_origins": [ORIGIN],
                                                "refusals": how}]}

    b = broker(**with_refusals("http"))
    stays = await (await connect(b.url, "/ws", origin=ORIGIN)).authenticate()
    for how in ("close", "http", "close"):
        b.write(**with_refusals(how))
        lingering = knock(b)
        assert lingering.head()[0] == (403 if how == "close" else 101)
        b.ctl("reload")
        if how == "close":
            assert (await told(b, "/ws", origin=STRANGE))[0] == 4403
            assert (await told(b, "/wss"))[0] == 4404
        else:
            for path, status in (("/ws", 403), ("/wss", 404)):
                with pytest.raises(websockets.InvalidStatusCode) as e:
                    await connect(b.url, path, origin=STRANGE)
                assert e.value.status_code == status
            assert lingering.close_code() == 4403
        await stays.flush()
    bad = with_refusals("closed")
    b.write(**bad)
    done = b.ctl("reload", check=False)
    assert done.returncode == 1 and 'endpoints[0].refusals: "closed" is none of http, close' in done.stderr
    assert (await told(b, "/ws", origin=STRANGE))[0] == 4403


# ── TLS on the clear port ──

def test_tls_is_answered_and_logged(b):
    before = len(b.log())
    for _ in range(3):
        with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", b.port), timeout=30) as s:
            ssl.create_default_context().wrap_socket(s, server_hostname="localhost")
    _, body = refused(Raw(b.port).send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400, "TLS", "http:// or ws://")
    assert body["error"] == "tls-not-spoken"
    eventually(lambda: "TLS came to a port where plain HTTP is spoken" in b.log(), 10, "the line")
    assert b.log()[before:].count("TLS came") <= 1  # in ten seconds
