"""Frames against a running broker: every rule of RFC 6455 §5, §7 and §8, kept and broken, and what a client that does not read
can do (nothing, to anyone but itself)."""
import asyncio
import os
import select
import socket
import struct
import time

import pytest
import websockets

from conftest import SLACK, eventually
from rawws import Raw, frame

TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0
MIB = 1 << 20
SMALL = 1000  # max_message of /small
with open("/proc/sys/net/ipv4/tcp_wmem") as sysctl:
    SOCKET_MAX = int(sysctl.read().split()[2])  # what the kernel holds for a reader who does not read

QUIET_ASAN = {"ASAN_OPTIONS": os.environ["ASAN_OPTIONS"] + ":quarantine_size_mb=4"}  # freed memory is not to look like used
CONF = {
    "log": {"level": "info"},
    "env": QUIET_ASAN,
    "endpoints": [
        {"path": "/echo", "protocol": "echo", "max_message": "16MiB"},
        {"path": "/small", "protocol": "echo", "max_message": SMALL},
        {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "backpressure": "64KiB",
         "rooms": {"join": ["public-*"], "publish": ["public-*"]}},
    ],
}
HASTY = {
    **CONF,
    "endpoints": [
        {"path": "/echo", "protocol": "echo", "max_message": "16MiB"},
        {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "auth_timeout": "100ms"},
    ],
    "client": {"ping_after": "300ms", "idle_timeout": "1s", "close_timeout": "600ms"},
}


@pytest.fixture
def broker(shared):
    return shared(**CONF)


@pytest.fixture
def hasty(shared):
    return shared(**HASTY)


@pytest.fixture
def ws(broker):
    r = Raw(broker.port).open()
    yield r
    r.close()


@pytest.fixture(scope="module", autouse=True)
def no_worker_dies(shared):
    yield
    for conf in (CONF, HASTY):
        b = shared(**conf)
        assert [w["restarts"] for w in b.rows("show", "workers")] == [0], b.log()
        spoken = [x for x in b.log().splitlines() if " error " in x or " warn worker" in x and "a send failed" not in x]
        assert spoken == [], spoken


def close_frame(code=None, reason=b"", **more):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason, **more)


def header(opcode, length, fin=True, key=b"\0\0\0\0"):
    """The header alone of a frame whose payload does not follow (or follows in clear: the mask is zeros)."""
    size = (struct.pack("B", 0x80 | length) if length < 126 else struct.pack(">BH", 0xFE, length) if length < 65536
            else struct.pack(">BQ", 0xFF, length))
    return bytes([(0x80 if fin else 0) | opcode]) + size + key


def lives(r):
    """The connection works: a ping is answered, and nothing stands before the answer."""
    mark = os.urandom(8)
    r.send(frame(PING, mark))
    return r.frame() == (1, PONG, mark)


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))


def slowly(r, size, step, pause):
    """The next `size` bytes, read a little at a time."""
    got = bytearray(r.data)
    r.data = b""
    while len(got) < size:
        chunk = r.s.recv(min(step, size - len(got)))
        assert chunk, f"the end after {len(got)} of {size} bytes"
        got += chunk
        time.sleep(pause)
    return got


def end_line(b):
    """What finds the line about the end of a connection that begins from now on."""
    since = len(b.log())
    return lambda address: eventually(
        lambda: next((x for x in b.log()[since:].splitlines() if "disconnected" in x and "addr=%s:%d " % address in x), None),
        what="a line about the end")


def worker_pid(b):
    return b.workers()[0]["pid"]


# ---- §5.2: sizes, any chopping ----

SIZES = [0, 1, 2, 3, 4, 5, 31, 32, 33, 124, 125, 126, 127, 1000, 65534, 65535, 65536, 65537, 262_144, MIB, 16 * MIB]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", SIZES)
def test_size(ws, opcode, size):
    message = (b"0123456789abcdef" * (size // 16 + 1))[:size] if opcode == TEXT else os.urandom(size)
    ws.send(frame(opcode, message))
    head = ws.take(2)
    marker = size if size < 126 else 126 if size < 65536 else 127
    assert head == bytes([0x80 | opcode, marker])  # FIN, no RSV, no mask, the shortest form
    if marker == 126:
        assert struct.unpack(">H", ws.take(2))[0] == size
    elif marker == 127:
        assert struct.unpack(">Q", ws.take(8))[0] == size
    assert (ws.take(size) if size else b"") == message
    assert lives(ws)


CONVERSATION = (
    frame(TEXT, "grüße".encode()) + frame(PING, b"1") + frame(BINARY, b"\xff" * 130) + frame(TEXT, b"") + frame(PONG, b"x")
    + frame(TEXT, b"one ", fin=False) + frame(PING, b"") + frame(CONT, b"", fin=False) + frame(PONG) + frame(CONT, b"two")
    + frame(BINARY, b"", fin=False) + frame(CONT, b"") + frame(TEXT, b"y" * 70000) + close_frame(4321, b"enough")
)
ANSWERS = [
    (1, TEXT, "grüße".encode()), (1, PONG, b"1"), (1, BINARY, b"\xff" * 130), (1, TEXT, b""), (1, PONG, b""), (1, TEXT, b"one two"),
    (1, BINARY, b""), (1, TEXT, b"y" * 70000), (1, CLOSE, struct.pack(">H", 4321) + b"enough"),
]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 13, 127, 1400, 70000, len(CONVERSATION)])
def test_chopped(ws, step):
    for i in range(0, len(CONVERSATION) if step > 1 else 700, step):
        ws.send(CONVERSATION[i:i + step])
    if step == 1:
        ws.send(CONVERSATION[700:])
    assert [ws.frame() for _ in ANSWERS] == ANSWERS
    assert ws.ended()


@pytest.mark.parametrize("cut", range(1, 15))
def test_cut_in_the_header(ws, cut):
    """A header of 14 bytes in two parts."""
    data = frame(BINARY, bytes(range(256)) * 300)
    ws.send(data[:cut])
    assert select.select([ws.s], [], [], 0.01)[0] == []
    ws.send(data[cut:])
    assert ws.frame() == (1, BINARY, bytes(range(256)) * 300)


def test_tiny_frames_by_the_thousand_in_one_segment(ws):
    ws.send(b"".join(frame(TEXT, b"%d" % i) for i in range(20000)))
    for i in range(20000):
        assert ws.frame() == (1, TEXT, b"%d" % i)


def test_empty_messages_by_the_thousand(ws):
    ws.send(frame(BINARY) * 20000)
    for _ in range(20000):
        assert ws.frame() == (1, BINARY, b"")


# ---- §5.1, §5.3: masks ----

@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01", b"\x80\0\0\0", b"abcd"])
def test_mask(ws, key):
    for size in [1, 3, 4, 7, 8, 63, 200, 70001]:
        message = os.urandom(size)
        ws.send(frame(BINARY, message, key=key))
        assert ws.frame() == (1, BINARY, message)


def test_mask_continues_over_reads(ws):
    """The key's place does not depend on where the payload is cut."""
    message = os.urandom(5003)
    data = frame(BINARY, message, key=b"\x01\x20\x03\x40")
    for i in range(0, len(data), 7):
        ws.send(data[i:i + 7])
    assert ws.frame() == (1, BINARY, message)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_unmasked(ws, opcode):
    ws.send(frame(opcode, b"", masked=False)[:2])
    assert ws.close_code() == 1002


# ---- what the first bytes of a frame give away: 1002 as soon as they came, no byte more is needed ----

FAULTS = {
    **{f"opcode {op:X} {'fin' if fin else 'not fin'}": bytes([fin | op]) for op in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] for fin in (0x80, 0)},
    **{f"RSV {rsv:03b} opcode {op:X}": bytes([0x80 | rsv << 4 | op]) for rsv in range(1, 8) for op in (TEXT, BINARY, CLOSE, PING, PONG)},
    "RSV1 in a fragment": bytes([0x40 | TEXT]),
    **{f"fragmented control {op:X}": bytes([op]) for op in (CLOSE, PING, PONG)},
    **{f"control {op:X} with 16 bits of length": bytes([0x80 | op, 0xFE]) for op in (CLOSE, PING, PONG)},
    **{f"control {op:X} with 64 bits of length": bytes([0x80 | op, 0xFF]) for op in (CLOSE, PING, PONG)},
    **{f"16 bits of length for {n}": bytes([0x82, 0xFE]) + struct.pack(">H", n) for n in (0, 1, 125)},
    **{f"64 bits of length for {n}": bytes([0x82, 0xFF]) + struct.pack(">Q", n) for n in (0, 125, 126, 65535)},
    "64 bits of length for 65535, told by six": bytes([0x82, 0xFF]) + bytes(6),
    "top bit of the length": bytes([0x82, 0xFF, 0x80]),
    "continuation of nothing": header(CONT, 5),
    "last continuation of nothing, empty": header(CONT, 0),
    "continuation of nothing, not the last": header(CONT, 5, fin=False),
    "continuation of a message that is complete": frame(TEXT, b"", fin=False) + frame(CONT, b"") + header(CONT, 1),
    "text in a fragmented text": frame(TEXT, b"a", fin=False) + header(TEXT, 1),
    "binary in a fragmented text": frame(TEXT, b"a", fin=False) + header(BINARY, 1),
    "text in a fragmented binary": frame(BINARY, b"a", fin=False) + frame(CONT, b"b", fin=False) + header(TEXT, 1),
    "a message begun in a begun one": frame(TEXT, b"a", fin=False) + header(TEXT, 1, fin=False),
    "RSV in a continuation": frame(TEXT, b"a", fin=False) + bytes([0x80 | 0x40]),
    "RSV in a ping inside a message": frame(TEXT, b"a", fin=False) + bytes([0x80 | 0x20 | PING]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(ws, name):
    good = frame(BINARY, b"good, and still answered") * 3
    ws.send(good + FAULTS[name])
    answers = [ws.frame() for _ in range(3 + ("complete" in name))]
    assert answers[:3] == [(1, BINARY, b"good, and still answered")] * 3
    code, reason = ws.closing()
    assert code == 1002 and 10 < len(reason.encode()) <= 123
    ws.s.shutdown(socket.SHUT_WR)
    assert ws.ended()


@pytest.mark.parametrize("length", [(126, struct.pack(">H", 126)), (127, struct.pack(">Q", 65536))])
def test_shortest_form(ws, length):
    size = 126 if length[0] == 126 else 65536
    message = os.urandom(size)
    ws.send(frame(BINARY, message, length=length))
    assert ws.frame() == (1, BINARY, message)


# ---- §5.4: fragments ----

@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("pieces", [2, 3, 10, 1000])
def test_fragments(ws, opcode, pieces):
    parts = [b"%d," % i * (i % 3) for i in range(pieces)]  # some of them empty
    ws.send(b"".join(frame(opcode if i == 0 else CONT, p, fin=i == pieces - 1) for i, p in enumerate(parts)))
    assert ws.frame() == (1, opcode, b"".join(parts))


def test_fragments_with_control_frames_between(ws):
    ws.send(frame(TEXT, b"a", fin=False) + frame(PING, b"1") + frame(PONG, b"-") + frame(CONT, b"b", fin=False)
            + frame(PING, b"2" * 125) + frame(PING) + frame(CONT, b"c") + frame(PING, b"3"))
    assert [ws.frame() for _ in range(5)] == [
        (1, PONG, b"1"), (1, PONG, b"2" * 125), (1, PONG, b""), (1, TEXT, b"abc"), (1, PONG, b"3")]


@pytest.mark.parametrize("step", [1, 4, 10])
def test_chopped_control_frames_inside_a_chopped_message(ws, step):
    data = (frame(BINARY, b"a" * 50, fin=False) + frame(PING, b"p" * 50) + frame(CONT, b"b" * 50, fin=False)
            + frame(PING, b"q" * 125) + frame(CONT, b"c" * 50))
    for i in range(0, len(data), step):
        ws.send(data[i:i + step])
    assert [ws.frame() for _ in range(3)] == [(1, PONG, b"p" * 50), (1, PONG, b"q" * 125), (1, BINARY, b"a" * 50 + b"b" * 50 + b"c" * 50)]


def test_close_inside_a_fragmented_message(ws):
    ws.send(frame(TEXT, b"never", fin=False) + close_frame(1000) + frame(CONT, b" finished"))
    assert ws.close_code() == 1000


# ---- §8.1: UTF-8, judged byte by byte ----

GOOD_TEXT = ["", "ascii", "κόσμε", "\u00e9\u07ff\u0800\uffff", "\ud7ff\ue000\ufffd\ufffe\uffff", "\U00010000\U0010ffff", "😀" * 20,
             "\ufeffbom", "\0", "e\u0301", "\ufdd0\U0001fffe"]


@pytest.mark.parametrize("text", GOOD_TEXT, ids=range(len(GOOD_TEXT)))
def test_text_split_anywhere(ws, text):
    data = text.encode()
    for cut in range(len(data) + 1):  # between two fragments, also inside a character
        ws.send(frame(TEXT, data[:cut], fin=False) + frame(PING) + frame(CONT, data[cut:]))
        assert [ws.frame(), ws.frame()] == [(1, PONG, b""), (1, TEXT, data)]
    ws.send(b"".join(frame(CONT if i else TEXT, data[i:i + 1], fin=False) for i in range(max(len(data), 1))) + frame(CONT))
    assert ws.frame() == (1, TEXT, data)
    whole = frame(TEXT, data)
    for i in range(len(whole)):
        ws.send(whole[i:i + 1])
    assert ws.frame() == (1, TEXT, data)


BAD_TEXT = {  # what may stand, then the first byte that may not
    "lone continuation": (b"", b"\x80"),
    "lone continuation, last": (b"abc", b"\xbf"),
    "overlong, 2 bytes": (b"", b"\xc0"),
    "overlong, 2 bytes, C1": (b"", b"\xc1"),
    "beyond all": (b"", b"\xf5"),
    "FE": (b"text", b"\xfe"),
    "FF": (b"text", b"\xff"),
    "2 bytes: ascii instead": (b"\xc3", b"("),
    "2 bytes: another start": (b"\xc3", b"\xc3"),
    "3 bytes: ascii second": (b"\xe2", b"("),
    "3 bytes: ascii third": (b"\xe2\x82", b"("),
    "3 bytes: start third": (b"\xe2\x82", b"\xe2"),
    "4 bytes: ascii second": (b"\xf0", b"("),
    "4 bytes: ascii third": (b"\xf0\x90", b"("),
    "4 bytes: ascii fourth": (b"\xf0\x90\x80", b"("),
    "5th continuation": (b"\xf0\x90\x80\x80", b"\x80"),
    "overlong, 3 bytes": (b"\xe0", b"\x9f"),
    "overlong, 4 bytes": (b"\xf0", b"\x8f"),
    "surrogate, first": (b"\xed", b"\xa0"),
    "surrogate, last": (b"\xed", b"\xbf"),
    "above U+10FFFF": (b"\xf4", b"\x90"),
    "after much text": ("žluťoučký kůň ".encode() * 500, b"\xff"),
    "after long ascii": (b"a" * 5000, b"\x80"),
}


@pytest.mark.parametrize("name", BAD_TEXT)
def test_text_fails_at_the_first_bad_byte(broker, name):
    good, bad = BAD_TEXT[name]
    # Bytes of the frame are still to come: it fails before it is complete.
    r = Raw(broker.port).open().send(header(TEXT, len(good) + 100) + good)
    assert select.select([r.s], [], [], 0.01)[0] == []
    r.send(bad)
    assert r.close_code() == 1007
    # And fragments of the message.
    r = Raw(broker.port).open().send(frame(TEXT, good, fin=False))
    assert lives(r)
    r.send(header(CONT, 50, fin=False) + bad)
    assert r.close_code() == 1007
    # In one piece.
    r = Raw(broker.port).open().send(frame(TEXT, b"fine") + frame(TEXT, good + bad + b"."))
    assert r.frame() == (1, TEXT, b"fine")
    assert r.close_code() == 1007
    # Where it is the reason of a Close.
    if len(good) < 100:
        r = Raw(broker.port).open().send(close_frame(1000, good + bad + b"."))
        assert r.close_code() == 1007
    # In a binary message it is nobody's business.
    r = Raw(broker.port).open().send(frame(BINARY, good + bad))
    assert r.frame() == (1, BINARY, good + bad)


@pytest.mark.parametrize("tail", [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"])
def test_text_that_ends_inside_a_character(broker, tail):
    for data in [frame(TEXT, b"a" + tail), frame(TEXT, b"a" + tail, fin=False) + frame(CONT),
                 frame(TEXT, b"a", fin=False) + frame(CONT, tail), close_frame(1000, b"a" + tail)]:
        assert Raw(broker.port).open().send(data).close_code() == 1007
    r = Raw(broker.port).open().send(frame(TEXT, b"a" + tail, fin=False))
    assert lives(r)  # no fault as long as more may come


# ---- §5.5.2, §5.5.3: ping, pong ----

@pytest.mark.parametrize("size", [0, 1, 2, 64, 124, 125])
def test_ping(ws, size):
    payload = os.urandom(size)
    ws.send(frame(PING, payload))
    assert ws.frame() == (1, PONG, payload)


def test_pongs_nobody_asked_for(ws):
    ws.send(frame(PONG) + frame(PONG, b"x" * 125) + frame(PONG, b"\xff"))
    assert lives(ws)


def test_many_pings(ws):
    ws.send(b"".join(frame(PING, b"%d" % i) for i in range(10000)))
    for i in range(10000):
        assert ws.frame() == (1, PONG, b"%d" % i)


# ---- §5.5.1, §7: close ----

GOOD_CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 5001, 65535]


@pytest.mark.parametrize("code", GOOD_CODES)
@pytest.mark.parametrize("reason", [b"", b"bye", "tschüß 😀".encode(), b"r" * 123], ids=len)
def test_close_is_echoed(ws, code, reason):
    ws.send(close_frame(code, reason))
    assert ws.frame() == (1, CLOSE, struct.pack(">H", code) + reason)
    assert ws.ended()


@pytest.mark.parametrize("code", BAD_CODES)
def test_close_code_that_must_not_be(ws, code):
    ws.send(close_frame(code, b"reason"))
    assert ws.close_code() == 1002


def test_empty_close(ws):
    ws.send(frame(CLOSE))
    assert ws.frame() == (1, CLOSE, b"")
    assert ws.ended()


@pytest.mark.parametrize("payload", [b"\x03", b"\xe8", b"\0"])
def test_close_of_one_byte(ws, payload):
    ws.send(frame(CLOSE, payload))
    assert ws.close_code() == 1002


@pytest.mark.parametrize("step", [1, 3])
def test_chopped_close(ws, step):
    data = close_frame(3456, b"piece by piece")
    for i in range(0, len(data), step):
        ws.send(data[i:i + step])
    assert ws.closing() == (3456, "piece by piece")
    assert ws.ended()


@pytest.mark.parametrize("more", [frame(TEXT, b"late"), frame(PING, b"late"), close_frame(1001), b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n"],
                         ids=["text", "ping", "close", "garbage", "http"])
def test_nothing_counts_behind_a_close(ws, more):
    ws.send(frame(TEXT, b"before") + close_frame(1000, b"done") + more)
    assert ws.frame() == (1, TEXT, b"before")
    assert ws.closing() == (1000, "done")
    assert ws.ended()
    ws.send(more)


# ---- §7.1.7: failing the connection: what was good is answered, the Close frame arrives, and so does a FIN ----

@pytest.mark.parametrize("more", [0, 1000, 8 * MIB])
@pytest.mark.parametrize("fault", [frame(3), frame(TEXT, b"\xff"), frame(TEXT, b"x", masked=False), header(TEXT, 1 << 40)],
                         ids=[1002, 1007, "unmasked", 1009])
def test_the_close_frame_arrives_whatever_follows(broker, fault, more):
    r = Raw(broker.port).open()
    r.send(b"".join(frame(TEXT, b"%d" % i) for i in range(100)) + fault)
    r.send(os.urandom(more))
    for i in range(100):
        assert r.frame() == (1, TEXT, b"%d" % i)
    code, _ = r.closing()
    assert code == {frame(3)[0]: 1002}.get(fault[0], code) and code in (1002, 1007, 1009)
    assert r.ended()  # the FIN, though we have not said anything back
    r.send(b"still talking" * 100)


def test_the_close_frame_arrives_though_many_small_segments_follow(broker):
    r = Raw(broker.port).open().send(frame(TEXT, b"good") + frame(3))
    for _ in range(10000):
        r.send(b"x" * 10)
    assert r.frame() == (1, TEXT, b"good")
    assert r.closing()[0] == 1002
    assert r.ended()


def test_a_large_answer_ahead_of_an_error_arrives(broker):
    """Larger than the socket takes at once."""
    message = os.urandom(16 * MIB)
    r = Raw(broker.port, rcvbuf=65536).open().send(frame(BINARY, message) + frame(3))
    assert r.frame() == (1, BINARY, message)
    assert r.close_code() == 1002


# ---- ends of the stream ----

def test_half_closed_behind_messages(ws):
    ws.send(b"".join(frame(TEXT, b"%d" % i) for i in range(1000)))
    ws.s.shutdown(socket.SHUT_WR)
    for i in range(1000):
        assert ws.frame() == (1, TEXT, b"%d" % i)
    assert ws.ended()


@pytest.mark.parametrize("last", [b"", close_frame(1000, b"thanks")], ids=["no Close", "Close"])
@pytest.mark.parametrize("number", [1, 5, 6, 7, 8, 9, 10, 11, 12])
def test_half_closed_behind_large_messages(broker, number, last):
    """Also those that the socket did not take before our FIN came: which number that is depends on the kernel's buffers."""
    message = frame(BINARY, bytes(SOCKET_MAX // 10))
    answer = frame(BINARY, bytes(SOCKET_MAX // 10), masked=False)
    r = Raw(broker.port, rcvbuf=65536).open().send(message * number + last)
    r.s.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    assert slowly(r, len(answer) * number, SOCKET_MAX // 20, 0.004) == answer * number
    if last:
        assert r.closing() == (1000, "thanks")
    assert r.ended()


@pytest.mark.parametrize("sent", [b"", frame(TEXT, b"hello")[:4], frame(TEXT, b"a", fin=False), header(BINARY, MIB) + bytes(1000)],
                         ids=["idle", "in a header", "in a message", "in a frame"])
def test_vanished(broker, sent):
    """FIN or RST at any place: one line with code 1006, a counter, no error."""
    for reset in (False, True):
        before, ended = broker.counter("closed_lost"), end_line(broker)
        r = Raw(broker.port).open().send(sent)
        address = r.s.getsockname()
        if reset:
            r.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        r.close()
        eventually(lambda: broker.counter("closed_lost") == before + 1, what="counted as lost")
        line = ended(address)
        assert " info " in line and "code=1006" in line, line


def test_reset_while_an_answer_is_written(broker):
    r = Raw(broker.port, rcvbuf=65536).open().send(frame(BINARY, os.urandom(16 * MIB)))
    r.more()
    r.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    before = broker.counter("closed_lost")
    r.close()
    eventually(lambda: broker.counter("closed_lost") == before + 1, what="counted as lost")


# ---- §7.1.1: the server closes first (an authentication timeout), and does not wait for ever ----

def closed_by_server(b):
    r = Raw(b.port).open("/ws")
    assert r.closing() == (4001, "Authentication timeout")
    return r


def test_server_close_is_answered(hasty):
    r = closed_by_server(hasty)
    begin = time.monotonic()
    r.send(close_frame(4001))
    assert r.ended()
    assert time.monotonic() - begin < 0.5

def test_server_close_with_data_on_the_way(hasty):
    """What crosses our Close is not answered, however it is cut; the Close behind it is seen."""
    r = closed_by_server(hasty)
    data = (frame(TEXT, b'{"event":"x"}') + frame(PING, b"p") + frame(TEXT, b"\xff", fin=False) + frame(PONG, b"q" * 100)
            + frame(CONT, b"y" * 300_000) + frame(BINARY, b"z" * 300_000) + close_frame(1000))
    for i in range(0, len(data), 99_991):
        r.send(data[i:i + 99_991])
    assert r.ended()


@pytest.mark.parametrize("step", [1, 5])
def test_server_close_answered_in_pieces(hasty, step):
    r = closed_by_server(hasty)
    data = frame(PING, b"abc") + close_frame(4001, b"Authentication timeout")
    for i in range(0, len(data), step):
        r.send(data[i:i + step])
    assert r.ended()


def test_server_close_unanswered(hasty):
    r = closed_by_server(hasty)
    begin = time.monotonic()
    assert r.ended()
    assert 0.4 <= time.monotonic() - begin <= 0.6 + SLACK


def test_server_close_answered_by_talk(hasty):
    """Talking gains no time either."""
    r = closed_by_server(hasty)
    begin = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - begin < 10 * SLACK:
            r.send(frame(TEXT, b"but"))
            time.sleep(0.01)
    assert time.monotonic() - begin >= 0.4


def test_server_close_answered_by_nonsense(hasty):
    ended = end_line(hasty)
    r = closed_by_server(hasty).send(frame(7))
    assert r.ended()  # no second Close frame
    assert "code=4001" in ended(r.s.getsockname())
    r.close()


def test_peer_that_never_ends_its_side(hasty):
    """After both Close frames, too, the wait is bounded: then the descriptor is free again."""
    r = Raw(hasty.port).open().send(close_frame(1000))
    assert r.closing()[0] == 1000
    assert r.ended()  # our FIN
    assert "WebSocket" not in r.data.decode()
    eventually(lambda: hasty.counter("connections") == 0, what="the connection is gone without our FIN")
    r.close()


# ---- §5.5.2: the server's pings ----

def test_silent_client_is_pinged_and_dropped(hasty):
    begin = time.monotonic()
    r = Raw(hasty.port).open()
    assert r.frame() == (1, PING, b"")
    assert time.monotonic() - begin >= 0.3
    assert r.ended()  # no Close frame: 1006
    assert time.monotonic() - begin >= 1


def test_pong_keeps_alive(hasty):
    r = Raw(hasty.port).open()
    begin = time.monotonic()
    while time.monotonic() - begin < 2.2:
        assert r.frame() == (1, PING, b"")
        r.send(frame(PONG))
    r.close()


def test_any_bytes_keep_alive(hasty):
    """Also those of one long message: a client that is sending is not silent."""
    r = Raw(hasty.port).open()
    message = os.urandom(60)
    data = frame(BINARY, message)
    for i in range(len(data)):
        r.send(data[i:i + 1])
        time.sleep(0.025)
    assert r.frame() == (1, BINARY, message)  # no ping before it
    r.close()


# ---- §10.4: the size limit ----

TOO_BIG = (1009, "Received too big message")
BIG = {
    "by the header alone": header(TEXT, SMALL + 1),
    "by a header of 2^16": header(BINARY, 1 << 16),
    "by a header of 2^63 - 1": header(BINARY, (1 << 63) - 1),
    "first fragment": header(BINARY, SMALL + 1, fin=False),
    "second fragment": frame(BINARY, b"a" * 600, fin=False) + header(CONT, SMALL - 600 + 1),
    "second fragment, not the last": frame(TEXT, b"a" * 600, fin=False) + header(CONT, SMALL - 600 + 1, fin=False),
    "one byte behind the limit": frame(BINARY, b"a" * SMALL, fin=False) + frame(CONT, b"", fin=False) + frame(PING) + header(CONT, 1),
    "fragment 1001": frame(BINARY, b"a", fin=False) + frame(CONT, b"a", fin=False) * 999 + header(CONT, 1, fin=False),
    "huge second fragment": frame(BINARY, b"a", fin=False) + header(CONT, (1 << 63) - 1),
}


@pytest.mark.parametrize("name", BIG)
def test_too_big(broker, name):
    r = Raw(broker.port).open("/small").send(frame(BINARY, b"good") + BIG[name])
    assert r.frame() == (1, BINARY, b"good")
    if "behind" in name:
        assert r.frame() == (1, PONG, b"")
    assert r.closing() == TOO_BIG
    assert r.ended()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("cut", [0, 1, 600, SMALL - 1, SMALL])
def test_just_not_too_big(broker, opcode, cut):
    r = Raw(broker.port).open("/small")
    for _ in range(3):  # the limit is a message's, not the connection's
        r.send(frame(opcode, b"m" * SMALL))
        assert r.frame() == (1, opcode, b"m" * SMALL)
        r.send(frame(opcode, b"m" * cut, fin=False) + frame(PING, b"p" * 125) + frame(CONT, b"m" * (SMALL - cut)))
        assert [r.frame(), r.frame()] == [(1, PONG, b"p" * 125), (1, opcode, b"m" * SMALL)]
    r.close()


def test_limit_of_16_mib_by_header(ws):
    ws.send(header(BINARY, 16 * MIB + 1))
    assert ws.closing() == TOO_BIG


# ---- clients that do not read ----

def push(r, data, limit, pause=0.2):
    """Sends `data` over and over until `limit` bytes are gone or nothing more is taken; returns how many were."""
    sent = 0
    view = memoryview(data)
    r.s.setblocking(False)
    while sent < limit and select.select([], [r.s], [], pause * SLACK)[1]:
        try:
            sent += r.s.send(view[sent % len(data):])
        except BlockingIOError:
            pass
    r.s.settimeout(60)
    return sent


GREEDY = {
    "messages": (frame(BINARY, b"m" * 50_000), "/echo"),
    "small messages": (frame(TEXT, b"") * 1000, "/echo"),
    "pings": (frame(PING, b"p" * 125) * 100, "/echo"),
    "pings inside a message": (frame(PING, b"p" * 125) * 100, "/echo"),
    "errors of a protocol": (frame(TEXT, b"?") * 1000, "/ws"),
}


@pytest.mark.parametrize("name", GREEDY)
def test_who_does_not_read_is_not_read(broker, name):
    data, path = GREEDY[name]
    other = Raw(broker.port).open()
    pid = worker_pid(broker)
    before = rss(pid)
    r = Raw(broker.port, rcvbuf=16384).open(path)
    if "inside" in name:
        r.send(frame(BINARY, b"", fin=False))
    limit = 96 * MIB
    sent = push(r, data, limit)
    assert sent < limit, "the server takes everything"
    assert rss(pid) - before < 24 * MIB
    begin = time.monotonic()
    for _ in range(100):
        assert lives(other)  # nobody else is delayed
    assert time.monotonic() - begin < 2 * SLACK
    # Nothing is lost: all that was taken is answered once it is read.
    if name == "messages":
        r.s.settimeout(60)
        for _ in range(sent // len(data)):
            assert r.frame() == (1, BINARY, b"m" * 50_000)
    elif name == "pings":
        for _ in range(sent // (len(data) // 100)):
            assert r.frame() == (1, PONG, b"p" * 125)
    r.close()
    other.close()


def test_who_does_not_read_answers_is_not_read(broker):
    """The same before the upgrade."""
    data = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 100
    pid = worker_pid(broker)
    before = rss(pid)
    r = Raw(broker.port, rcvbuf=16384)
    sent = push(r, data, 32 * MIB)
    assert sent < 32 * MIB
    assert rss(pid) - before < 24 * MIB
    for _ in range(sent // (len(data) // 100)):
        assert r.response()[0] == 200
    r.close()


@pytest.mark.parametrize("last", [b"", close_frame(1000)], ids=["open", "closing"])
def test_slow_but_steady(hasty, last):
    """Who takes its answer for longer than any timeout, but takes it, gets it whole."""
    r = Raw(hasty.port, rcvbuf=262_144).open()
    r.send(frame(BINARY, bytes(16 * MIB)) + last)
    begin = time.monotonic()
    slowly(r, 10 + 16 * MIB, 131_072, 0.015)
    assert time.monotonic() - begin > 1.5  # longer than idle_timeout and close_timeout
    if last:
        assert r.closing()[0] == 1000
        assert r.ended()
    else:
        r.send(frame(PING, b"here"))
        got = r.frame()
        assert got in [(1, PING, b""), (1, PONG, b"here")], got
    r.close()


def test_not_even_steady(hasty):
    """Who asks and never reads is dropped in time."""
    r = Raw(hasty.port, rcvbuf=16384).open()
    before = hasty.counter("closed_idle")
    r.send(frame(BINARY, bytes(16 * MIB)))
    eventually(lambda: hasty.counter("closed_idle") > before, 10, "dropped")
    r.close()


# ---- pushes to a slow consumer: PROTOCOL A12 ----

def enter(r):
    r.send(frame(TEXT, b'{"event":"authenticate"}'))
    assert b'"connected"' in r.frame()[2]
    r.send(frame(TEXT, b'{"event":"join","data":{"rooms":["public-a"]}}') + frame(TEXT, b"?"))
    assert b"Invalid message format" in r.frame()[2]
    return r


def test_slow_consumer(broker):
    slow, good, talker = [enter(Raw(broker.port, rcvbuf=size).open("/ws")) for size in (4096, None, None)]
    pid = worker_pid(broker)
    memory, before = rss(pid), broker.counter("closed_slow")
    filler = b"x" * 30_000
    number = 3 * SOCKET_MAX // len(filler)
    for i in range(number):
        talker.send(frame(TEXT, b'{"event":"publish","data":{"room":"public-a","event":"n","data":[%d,"%s"]}}' % (i, filler)))
        assert good.frame() == (1, TEXT, b'{"event":"n","data":[%d,"%s"]}' % (i, filler))  # the others lose nothing
    assert rss(pid) - memory < 24 * MIB
    for i in range(number):  # what it got is in order and without a gap, then comes the reason
        got = slow.frame()
        if got[1] == CLOSE:
            break
        assert got == (1, TEXT, b'{"event":"n","data":[%d,"%s"]}' % (i, filler))
    assert got == (1, CLOSE, struct.pack(">H", 1008) + b"Slow consumer")
    slow.send(close_frame(1008))
    assert slow.ended()
    assert lives(good) and lives(talker)
    assert broker.counter("closed_slow") == before + 1


# ---- a client nobody here wrote ----

@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}], ids=["plain", "deflate offered"])
async def test_python_websockets(broker, options):
    options = {"compression": None, **options}
    async with websockets.connect(broker.url + "/echo", max_size=None, ping_interval=None, **options) as c:
        assert c.extensions == [] or os.environ.get("HELIOD_COMPRESSION")
        for size in (0, 1, 125, 126, 65535, 65536, MIB, 16 * MIB):
            message = os.urandom(size)
            await c.send(message)
            assert await c.recv() == message
            text = "ž" * (size // 2)
            await c.send(text)
            assert await c.recv() == text
        pieces = [os.urandom(n) for n in (1, 100_000, 7, 3 * MIB, 1)]
        await c.send(pieces)
        assert await c.recv() == b"".join(pieces)
        await c.send(["in ", "Stücken", "", " 😀"])
        assert await c.recv() == "in Stücken 😀"
        await asyncio.wait_for(await c.ping(b"are you there?"), 10)
        await c.close(4000, "fertig ✓")
        assert (c.close_code, c.close_reason) == (4000, "fertig ✓")


async def test_python_websockets_too_big(broker):
    async with websockets.connect(broker.url + "/small", ping_interval=None) as c:
        await c.send("x" * (SMALL + 1))
        with pytest.raises(websockets.ConnectionClosed):
            await c.recv()
        assert (c.close_code, c.close_reason) == TOO_BIG


async def test_python_websockets_hundreds_at_once(broker):
    async def talk(i):
        async with websockets.connect(broker.url + "/echo", ping_interval=None) as c:
            for k in range(20):
                await c.send(f"{i} {k}" * (k * 50))
                assert await c.recv() == f"{i} {k}" * (k * 50)

    await asyncio.gather(*[talk(i) for i in range(200)])
