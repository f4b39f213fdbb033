"""A1: the transport."""
import json
import socket
import struct

import redis
import websockets

from rawws import Raw, frame
from rows import row
from sides import NOT_JSON


@row("A1")
async def silent_until_spoken_to(s):
    return {"first": await (await s.open()).heard()}


@row("A1")
async def text_binary_and_fragments_mean_the_same(s):
    c = await s.enter()
    text = '{"event":"x","data":"é"}'
    data = text.encode()
    return {
        "text": await c.told(text), "binary": await c.told(data), "fragments": await c.told([text[:9], text[9:12], text[12:]]),
        "binary fragments": await c.told([data[:5], data[5:20], data[20:]]), "empty fragments": await c.told(["", text, ""]),
    }


@row("A1", binary=(['{"event":"told","data":{"userId":"u1","event":"�","data":"a��"}}'], [NOT_JSON],
                   "A1 Q, A12: binary that is no UTF-8 is no JSON"))
async def bad_utf8(s):
    c = await s.enter()
    binary = await c.told(b'{"event":"\xff","data":"a\xc3\xe2\x82"}')
    await c.ws.write_frame(True, 1, b'{"event":"\xff"}')
    end = await c.get()
    return {"binary": binary, "text": end[:11]}


@row("A1")
async def size_limit(s):
    text = '{"event":"authenticate","data":""}'
    fits = text.replace('""', '"' + "x" * (131072 - len(text)) + '"')
    c, d, e = await s.enter(), await s.enter(), await s.open()
    return {
        "fits": await c.heard(fits), "one more": await (await c.raw(fits + " ")).get(),
        "in fragments": await (await d.raw([fits[:70000], fits[70000:] + " "])).get(),
        "before authentication": await (await e.raw(fits + " ")).get(),
    }


@row("A1")
async def four_mebibytes_outwards(s):
    c = await s.enter()
    s.app.emit("toClient", clientId=c.id, event="big", data="é" * (2 << 20))
    text = await c.get()
    return {"bytes": len(text.encode()), "text": text[:40]}


@row("A1")
async def pings_are_answered_with_their_payload(s):
    c = await s.open()
    for payload in (b"", b"abc", b"\x00" * 125):
        await (await c.ws.ping(payload))
    return {"after them": await c.heard()}


@row("A1")
async def closes_are_echoed(s):
    seen = {}
    for code, reason in [(1000, "bye"), (4999, "ü" * 61), (3000, ""), (1001, "x")]:
        c = await s.enter()
        await c.ws.close(code, reason)
        seen[code] = [c.ws.close_code, c.ws.close_reason]
    _, opcode, payload = Raw(s.port()).open("/ws").send(frame(8)).frame()
    return {**seen, "empty": [opcode, payload.hex()]}


def answers(s, *frames, n=1):
    """The first frames that come back: [opcode, close code or payload]; "end" where the stream ends."""
    r = Raw(s.port()).open("/ws").send(b"".join(frames))
    seen = []
    while len(seen) < n and "end" not in seen:
        got = r.frame()
        seen.append("end" if got is None else [got[1], int.from_bytes(got[2][:2], "big") if got[1] == 8 else got[2].decode()])
    r.close()
    return seen


@row("A1")
async def protocol_errors(s):
    return {
        "reserved opcode": answers(s, frame(3, b"x")), "reserved control opcode": answers(s, frame(11)),
        "rsv bit": answers(s, frame(1, b"{}", rsv=4)), "unmasked": answers(s, frame(1, b"{}", masked=False)),
        "control frame in pieces": answers(s, frame(9, b"x", fin=False)), "control frame too long": answers(s, frame(9, b"x" * 126)),
        "nothing to continue": answers(s, frame(0, b"x")), "new message inside another": answers(s, frame(1, b"x", fin=False),
                                                                                                 frame(1, b"x")),
        "good ones before it are answered": answers(s, frame(1, b"x"), frame(9, b"p"), frame(3), n=3),
        "nothing behind it is": answers(s, frame(3), frame(1, b"x"), n=2),
    }


@row("A1")
async def pings_inside_a_message(s):
    return {"order": answers(s, frame(1, b"not", fin=False), frame(9, b"1"), frame(0, b" js", fin=False), frame(9, b"2"),
                             frame(0, b"on"), frame(9, b"3"), n=4),
            "pongs are nothing": answers(s, frame(10, b"unasked"), frame(10), frame(1, b"x"))}


SHORTEST = "RFC 6455 section 5.2: the shortest form of a length, and no top bit"
TAKEN = [[1, NOT_JSON]]


@row("A1", at={"126 for 5": (TAKEN, [[8, 1002]], SHORTEST), "127 for 5": (TAKEN, [[8, 1002]], SHORTEST),
               "127 for 200": (TAKEN, [[8, 1002]], SHORTEST), "top bit": ([[8, 1009]], [[8, 1002]], SHORTEST)})
async def long_lengths_for_short_frames(s):
    return {"126 for 5": answers(s, frame(1, b"hello", length=(126, struct.pack(">H", 5)))),
            "127 for 5": answers(s, frame(1, b"hello", length=(127, struct.pack(">Q", 5)))),
            "127 for 200": answers(s, frame(1, b"x" * 200, length=(127, struct.pack(">Q", 200)))),
            "top bit": answers(s, frame(1, b"x" * 200, length=(127, struct.pack(">Q", 200 | 1 << 63))))}


@row("A1")
async def odd_closes(s):
    def close(payload):
        return answers(s, frame(8, payload), n=2)

    codes = [0, 999, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535]
    return {**{code: close(struct.pack(">H", code)) for code in codes}, "one byte": close(b"\3"), "bad UTF-8": close(b"\3\xe8\xff"),
            "text behind it": answers(s, frame(8, b"\3\xe8"), frame(1, b"x"), n=2)}


async def status(s, path, **options):
    try:
        await s.open(path=path, **options)
    except websockets.InvalidStatusCode as e:
        return e.status_code
    return 101


@row("A1")
async def path_is_exact_and_query_ignored(s):
    return {path: await status(s, path) for path in ["/ws", "/ws?token=abc", "/ws?", "/ws/", "/WS", "/w", "/ws2", "/", "/ws%2F"]}


def request(s, head):
    with socket.create_connection(("127.0.0.1", s.port()), timeout=10) as c:
        c.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        answer = c.recv(65536).decode()
    status, _, body = answer.partition("\r\n\r\n")
    return [int(status.split()[1]), json.loads(body)["message"].split(":")[0] if body.startswith("{") else body]


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = "Host: x\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13"
WHY = "A12: impossible upgrades are explained"


@row("A1", at={
    "no key": ([500, "WebSocket upgrade failed"], [400, "WebSocket upgrade failed"], WHY),
    "POST": ([500, "WebSocket upgrade failed"], [405, "WebSocket upgrade failed"], WHY),
    "version 8": ([426, ""], [426, "WebSocket upgrade failed"], WHY),
    "no version": ([426, ""], [426, "WebSocket upgrade failed"], WHY),
})
async def impossible_upgrades(s):
    return {
        "mixed case": request(s, f"GET /ws HTTP/1.1\n{UPGRADE.replace('websocket', 'WebSocket')}\n{KEY}")[0],
        "no key": request(s, f"GET /ws HTTP/1.1\n{UPGRADE}"),
        "POST": request(s, f"POST /ws HTTP/1.1\n{UPGRADE}\n{KEY}\nContent-Length: 0"),
        "version 8": request(s, f"GET /ws HTTP/1.1\n{UPGRADE.replace('13', '8')}\n{KEY}"),
        "no version": request(s, f"GET /ws HTTP/1.1\n{UPGRADE.rpartition(chr(10))[0]}\n{KEY}"),
        "elsewhere": request(s, f"GET /elsewhere HTTP/1.1\n{UPGRADE}\n{KEY}")[0],
    }


@row("A1", token=("token.secret", "v1", "A12: a token is not selected while there is another"))
async def subprotocols_and_compression(s):
    return {
        "first": (await s.open(subprotocols=["v1", "v2"])).ws.subprotocol, "none": (await s.open()).ws.subprotocol,
        "token": (await s.open(subprotocols=["token.secret", "v1"])).ws.subprotocol,
        "only a token": (await s.open(subprotocols=["token.secret"])).ws.subprotocol,
        "extensions": str((await s.open(compression="deflate")).ws.extensions),
    }


@row("A1", at={"slow": ("24 messages", "closed 1008", "A1 Q, A12: a limit on what waits for a slow reader")})
async def a_slow_reader_delays_nobody(s):
    fast, slow = await s.enter(), await (await s.open(max_queue=1, read_limit=4096)).enter()
    r = redis.Redis(port=s.redis_port)
    for i in range(24):
        r.publish("ws:broadcast", json.dumps({"serverId": "s", "type": "broadcast", "event": "big", "data": "x" * (1 << 20)}))
        assert len(await fast.get()) > 1 << 20
    heard = []
    while len(heard) < 24 and not (heard and heard[-1].startswith("closed")):
        heard.append(await slow.get())
    return {"fast": "24 messages", "slow": f"{len(heard)} messages" if len(heard[-1]) > 1 << 20 else heard[-1][:11]}
