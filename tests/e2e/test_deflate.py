"""permessage-deflate (RFC 7692): with python3-websockets' extension, whose code is not ours, and by hand."""
import os
import random
import zlib

import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from chromium import Browser, Site
from client import connect
from conftest import eventually
from rawws import Raw, frame
from test_bus import envelope, redis_cli
from test_encryption import Sealed, encrypted

TEXT, BINARY, PING, PONG = 1, 2, 9, 10
RSV1 = 4
SMALL = 1000
ENDPOINTS = [
    {"path": "/echo", "protocol": "echo", "compression": "on", "compression_threshold": 16, "max_message": "2MiB"},
    {"path": "/small", "protocol": "echo", "compression": "on", "max_message": SMALL, "compression_level": 1},
    {"path": "/plain", "protocol": "echo", "compression": "off"},
    {"path": "/shown", "protocol": "echo", "compression": "on"},
    {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "compression": "on"},
    {"path": "/fine", "protocol": "events", "auth": {"method": "anonymous"}, "compression": "on", "compression_level": 9,
     "compression_threshold": 0},
]
TAKEN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.fixture(scope="module")
def b(shared):
    return shared(endpoints=ENDPOINTS)


def words(n, seed=1):
    """Text that shrinks, of n bytes."""
    pick = random.Random(seed)
    return " ".join(pick.choice(["alpha", "beta", "gamma", "delta", "ε"]) for _ in range(n)).encode()[:n].decode(errors="ignore")


def squeeze(plain, bits=15):
    c = zlib.compressobj(6, zlib.DEFLATED, -bits)
    out = c.compress(plain) + c.flush(zlib.Z_SYNC_FLUSH)
    assert out.endswith(b"\0\0\xff\xff")
    return out[:-4]


def inflate(packed, bits=15):
    d = zlib.decompressobj(-bits)
    return d.decompress(packed + b"\0\0\xff\xff")


def offer(port, *values, path="/echo"):
    """(the raw client, what was answered)"""
    raw = Raw(port)
    fields = "".join(f"Sec-WebSocket-Extensions: {v}\r\n" for v in values)
    raw.send((f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n").encode())
    status, answer, text = raw.head()
    assert status == 101, text
    raw.may_rsv = RSV1
    return raw, answer.get("sec-websocket-extensions")


def opened(port, path="/echo"):
    raw, answer = offer(port, "permessage-deflate", path=path)
    assert answer == TAKEN
    return raw


def got(raw):
    """(opcode, whether it came compressed, the message)"""
    fin, opcode, payload = raw.frame()
    assert fin
    return opcode, raw.rsv == RSV1, inflate(payload) if raw.rsv else payload


def beats(raw, message=b"are you still there? are you still there?"):
    raw.send(frame(TEXT, squeeze(message), rsv=RSV1))
    assert got(raw) == (TEXT, True, message)


# ---- negotiation ----

@pytest.mark.parametrize("offers,answer", [
    (["permessage-deflate"], TAKEN),
    (["permessage-deflate; client_max_window_bits"], TAKEN),
    (["permessage-deflate; client_max_window_bits=9; client_no_context_takeover"], TAKEN),
    (["permessage-deflate; server_max_window_bits=8"], TAKEN + "; server_max_window_bits=8"),
    (['permessage-deflate; server_max_window_bits="12"; server_no_context_takeover'], TAKEN + "; server_max_window_bits=12"),
    (["permessage-deflate; server_max_window_bits=16, permessage-deflate"], TAKEN),
    (["permessage-deflate; x", "other, permessage-deflate; server_max_window_bits=9"], TAKEN + "; server_max_window_bits=9"),
    (["permessage-deflate; server_max_window_bits"], None),
    (["permessage-deflate; server_max_window_bits=08"], None),
    (["permessage-deflate; client_no_context_takeover=1"], None),
    (["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
    (["x-webkit-deflate-frame"], None),
    ([], None),
])
def test_offers(b, offers, answer):
    raw, got_answer = offer(b.port, *offers)
    assert got_answer == answer
    raw.send(frame(TEXT, b"plain is always, always, always, always allowed"))
    assert got(raw) == (TEXT, answer is not None, b"plain is always, always, always, always allowed")
    raw.close()


def test_off_takes_no_offer(b):
    raw, answer = offer(b.port, "permessage-deflate", path="/plain")
    assert answer is None
    raw.send(frame(TEXT, squeeze(b"x"), rsv=RSV1))
    assert raw.close_code() == 1002


ALL = [(s, c, sb, cb) for s in (False, True) for c in (False, True) for sb in (None, 8, 9, 12, 15) for cb in (None, True, 9, 15)]


@pytest.mark.parametrize("path", ["/echo", "/small"])
async def test_python_websockets_with_every_parameter(b, path):
    for s, c, sb, cb in ALL:
        extension = ClientPerMessageDeflateFactory(s, c, sb, cb)
        async with websockets.connect(b.url + path, extensions=[extension], compression=None, ping_interval=None) as ws:
            assert [e.name for e in ws.extensions] == ["permessage-deflate"]
            for n in (0, 1, 15, 16, 300, 999) + (() if path == "/small" else (5000, 70_000)):
                for message in (words(n), os.urandom(n)):
                    await ws.send(message)
                    assert await ws.recv() == message, (s, c, sb, cb, n)
            await ws.send([words(100), "", words(200, 2), "é" * 30])  # fragments
            assert await ws.recv() == words(100) + words(200, 2) + "é" * 30


# ---- messages in ----

def cuts(data):
    return [[data[:i], data[i:]] for i in range(len(data) + 1)] + [[data[i:i + 1] for i in range(len(data))]]


def test_fragments_cut_anywhere(b):
    """RSV1 on the first frame alone; control frames in between."""
    message = "Hällo, hällo, hällo".encode()
    packed = squeeze(message)
    raw = opened(b.port)
    for pieces in cuts(packed) + [[b"", b"", packed, b""]]:
        for i, piece in enumerate(pieces):
            raw.send(frame(0 if i else TEXT, piece, fin=i == len(pieces) - 1, rsv=0 if i else RSV1))
            if i % 3 == 1:
                raw.send(frame(PING, b"%d" % i))
        pings = [b"%d" % i for i in range(len(pieces)) if i % 3 == 1]
        seen = [got(raw) for _ in range(len(pings) + 1)]
        pongs = [(PONG, False, p) for p in pings]
        assert sorted(seen) == sorted(pongs + [(TEXT, True, message)])
    raw.close()


def test_bytes_cut_anywhere(b):
    """The same by TCP."""
    message = b"so it goes, so it goes, so it goes"
    stream = frame(BINARY, squeeze(message), rsv=RSV1) + frame(TEXT, message[:15])
    raw = opened(b.port)
    for i in range(1, len(stream)):
        raw.send(stream[:i])
        raw.send(stream[i:])
        assert [got(raw), got(raw)] == [(BINARY, True, message), (TEXT, False, message[:15])]
    raw.close()


@pytest.mark.parametrize("packed,message", [
    (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
    (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
    (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
    (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"),
    (b"\x00", b""),
    (b"\x02\x00", b""),
    (b"", b""),
])
def test_examples_of_the_rfc(b, packed, message):
    raw = opened(b.port)
    raw.send(frame(TEXT, packed, rsv=RSV1))
    assert got(raw) == (TEXT, False, message)
    beats(raw)
    raw.close()


NOT_DEFLATE = (1007, "a compressed message that cannot be inflated")
UTF8 = (1007, "a text message that is not UTF-8")


@pytest.mark.parametrize("frames,end", [
    ([frame(TEXT, b"Hello", rsv=RSV1)], NOT_DEFLATE),
    ([frame(TEXT, b"\xf2\x48\xcd", rsv=RSV1)], NOT_DEFLATE),
    ([frame(TEXT, b"\xf2\x00\x11\x00\x00", rsv=RSV1)], NOT_DEFLATE),  # needs the window of a message before
    ([frame(TEXT, b"\xf2\x48", fin=False, rsv=RSV1), frame(0, b"\xcd")], NOT_DEFLATE),
    ([frame(TEXT, squeeze(b"\xff" * 40), rsv=RSV1)], UTF8),
    ([frame(TEXT, squeeze(b"\xe2\x82"), rsv=RSV1)], (1007, "a text message that ends inside a character")),
    ([frame(TEXT, squeeze("ok".encode() + b"\xc3"), fin=False, rsv=RSV1), frame(0, b"")],
     (1007, "a text message that ends inside a character")),
    ([frame(PING, b"", rsv=RSV1)], 1002),
    ([frame(8, b"", rsv=RSV1)], 1002),
    ([frame(TEXT, b"a", fin=False, rsv=RSV1), frame(0, b"b", rsv=RSV1)], 1002),
    ([frame(TEXT, b"a", rsv=2)], 1002),
    ([frame(TEXT, b"a", rsv=RSV1 | 1)], 1002),
])
def test_faults(b, frames, end):
    raw = opened(b.port)
    for f in frames:
        raw.send(f)
    code, reason = raw.closing()
    assert code == end if isinstance(end, int) else (code, reason) == end
    assert raw.s.shutdown(1) is None and raw.ended()


def test_a_bad_message_in_binary_is_bytes(b):
    raw = opened(b.port)
    raw.send(frame(BINARY, squeeze(b"\xff" * 40), rsv=RSV1))
    assert got(raw) == (BINARY, True, b"\xff" * 40)
    raw.close()


@pytest.mark.parametrize("size,fits", [(SMALL, True), (SMALL + 1, False), (10_000_000, False)])
def test_the_limit_is_of_the_inflated(b, size, fits):
    before = b.counter("deflate_bombs")
    for pieces in (1, 2, 5):
        raw = opened(b.port, "/small")
        packed = squeeze(b"0" * size)
        step = -(-len(packed) // pieces)
        parts = [packed[i:i + step] for i in range(0, len(packed), step)]
        for i, part in enumerate(parts):
            try:
                raw.send(frame(0 if i else BINARY, part, fin=i == len(parts) - 1, rsv=0 if i else RSV1))
            except OSError:
                assert not fits
        if fits:
            assert got(raw) == (BINARY, True, b"0" * size)
            raw.close()
        else:
            assert raw.closing() == (1009, "Received too big message")
            raw.close()
    if size == SMALL + 1:
        assert b.counter("deflate_bombs") == before + 3


def test_a_bomb_costs_little(b):
    """A gibibyte of zeros in a mebibyte: no more is inflated than the limit, again and again."""
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    chunk = bytes(1 << 20)
    bomb = b"".join(c.compress(chunk) for _ in range(1000)) + c.flush(zlib.Z_SYNC_FLUSH)
    bomb = bomb[:-4]
    worker = b.workers()[0]["pid"]

    def peak():
        return int(next(l for l in open(f"/proc/{worker}/status") if l.startswith("VmHWM")).split()[1])

    warm = opened(b.port)
    warm.send(frame(BINARY, squeeze(bytes(2 << 20)), rsv=RSV1))
    assert got(warm) == (BINARY, False, bytes(2 << 20))
    before = peak()
    for _ in range(5):
        raw = opened(b.port)
        raw.send(frame(BINARY, bomb[:1_100_000], rsv=RSV1))
        assert raw.closing() == (1009, "Received too big message")
        raw.close()
    assert peak() - before < 60_000  # KiB, with ASan's quarantine; the bombs hold 5 GB
    beats(warm)


def test_what_does_not_shrink_is_no_reason_to_refuse(b):
    """At the limit, as noise in stored blocks: longer on the wire than max_message."""
    message = os.urandom(SMALL)
    for packed in (squeeze(message), b"".join(b"\0\x7d\0\x82\xff" + message[i:i + 125] for i in range(0, SMALL, 125)) + b"\0"):
        assert len(packed) > SMALL
        raw = opened(b.port, "/small")
        raw.send(frame(BINARY, packed, rsv=RSV1))
        assert got(raw) == (BINARY, False, message)
        raw.close()


# ---- messages out ----

def test_short_ones_go_as_they_are(b):
    raw = opened(b.port)
    for n in range(40):
        raw.send(frame(TEXT, b"a" * n))
        assert got(raw) == (TEXT, 16 <= n, b"a" * n)
    for n, packed in ((1 << 20, True), ((1 << 20) + 1, False)):  # as long as a slice of work, not longer
        raw.send(frame(BINARY, bytes(n)))
        assert got(raw) == (BINARY, packed, bytes(n))
    noise = os.urandom(5000)
    raw.send(frame(BINARY, noise))
    assert got(raw) == (BINARY, False, noise)
    raw.close()


async def test_a_broadcast_is_compressed_once(b):
    """For everybody on the same terms, however many they are; the others get it on theirs."""
    def terms(bits=None):
        return {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=bits)]}

    crowd = [await connect(b.url, **terms()) for _ in range(20)]
    crowd += [await connect(b.url, **terms(10)) for _ in range(5)]
    crowd += [await connect(b.url, "/fine", **terms()) for _ in range(3)]
    crowd += [await connect(b.url, compression=None) for _ in range(4)]
    for c in crowd:
        await c.authenticate()
    made, saved, out = b.counter("deflate_made"), b.counter("deflate_saved_bytes"), b.counter("deflate_out_bytes")
    assert b.counter("deflate_connections") >= 28
    data = {"text": words(4000)}
    redis_cli(b, "ws:broadcast", envelope("broadcast", event="news", data=data))
    for c in crowd:
        assert await c.get() == {"event": "news", "data": data}
    assert b.counter("deflate_made") == made + 3
    sent = b.counter("deflate_out_bytes") - out
    assert 0 < sent < 28 * 4000 / 2
    assert b.counter("deflate_saved_bytes") - saved + sent >= 28 * 4000
    for c in crowd:
        await c.close()


async def test_what_is_sealed_is_not_compressed(broker):
    b = broker(**encrypted(compression="on", compression_threshold=0))
    sealed = [Sealed(await connect(b.url, compression="deflate")) for _ in range(2)]
    for s, token in zip(sealed, ("token-u1", "token-u2")):
        await s.enter(token)
    clear = await connect(b.url, "/clear", compression=None)
    await clear.authenticate("token-u1")
    made = b.counter("deflate_made")
    data = words(3000)
    redis_cli(b, "ws:broadcast", envelope("broadcast", event="news", data=data))
    for s in sealed:
        assert s.c.ws.extensions
        assert await s.get() == {"event": "news", "data": data}
    assert b.counter("deflate_made") == made
    for c in [s.c for s in sealed] + [clear]:
        await c.close()


def test_a_slow_consumer_is_measured_by_what_it_is_sent(broker):
    """Compressed bytes wait for it, so more messages do."""
    b = broker(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "compression": "on",
                           "backpressure": "64KiB"}])
    raw = opened(b.port, "/ws")
    raw.send(frame(TEXT, b'{"event":"authenticate","data":{"type":"Bearer"}}'))
    assert b'"connected"' in got(raw)[2]
    data = "z" * 50_000  # becomes 70 bytes
    for _ in range(200):
        redis_cli(b, "ws:broadcast", envelope("broadcast", event="news", data=data))
    for _ in range(200):
        opcode, packed, message = got(raw)
        assert (opcode, packed) == (TEXT, True) and data.encode() in message
    raw.close()


# ---- life ----

async def test_it_is_shown(b):
    c = await connect(b.url, "/shown", extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=11)])
    plain = await connect(b.url, "/shown", compression=None)
    eventually(lambda: sorted(r.get("compression", "") for r in b.rows("show", "connections", "endpoint", "/shown")
                              if r["state"] == "open") == ["", "deflate/11"], what="both are shown")
    await c.close()
    await plain.close()


async def test_a_reload_switches_it_off_and_on(broker):
    echo = {"path": "/echo", "protocol": "echo", "compression": "on", "compression_threshold": 0}
    b = broker(endpoints=[echo])
    text = words(2000).encode()
    raw = opened(b.port)
    beats(raw, text)
    b.write(endpoints=[{**echo, "compression": "off"}])
    b.ctl("reload")
    raw.send(frame(TEXT, squeeze(text), rsv=RSV1))  # agreed is agreed: it may, we need not
    assert got(raw) == (TEXT, False, text)
    other, answer = offer(b.port, "permessage-deflate")
    assert answer is None
    b.write(endpoints=[{**echo, "compression_threshold": "1KiB", "compression_level": 9}])
    b.ctl("reload")
    beats(raw, text)
    raw.send(frame(TEXT, squeeze(text[:1023]), rsv=RSV1))
    assert got(raw) == (TEXT, False, text[:1023])
    other.close()
    raw.close()
    eventually(lambda: b.counter("deflate_connections") == 0, what="nobody is left")


# ---- a browser ----

@pytest.mark.xdist_group("chromium")
def test_chromium(broker):
    echo = {"path": "/echo", "protocol": "echo", "compression": "on", "max_message": "1MiB", "allowed_origins": ["*"]}
    b = broker(endpoints=[echo])
    browser, site = Browser(), Site({"/": "<!DOCTYPE html><title>elsewhere</title>"})
    try:
        page = browser.page(site.origin)
        page.js(f"""globalThis.got = []; globalThis.ws = new WebSocket('{b.url}/echo'); ws.binaryType = 'arraybuffer';
            ws.onmessage = e => got.push(typeof e.data === 'string' ? e.data.length : e.data.byteLength); 0""")
        page.until("ws.readyState === 1")
        assert page.js("ws.extensions") == TAKEN
        for n in (0, 1, 600, 70_000, 1_000_000):
            page.js(f"ws.send('ab'.repeat({n}).slice(0, {n})); ws.send(new Uint8Array({n})); 0")
        page.until("got.length === 10")
        assert page.js("got") == [n for n in (0, 1, 600, 70_000, 1_000_000) for _ in range(2)]
        assert 0 < b.counter("deflate_in_bytes") < 20_000
        assert b.counter("deflate_made") == 6 and b.counter("deflate_saved_bytes") > 2_000_000
    finally:
        browser.close()
        site.close()
