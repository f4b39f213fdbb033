"""Signaling rooms (seed 000, PROTOCOL part B): one worker, several, and two brokers on one Redis; what may go wrong with each of them."""
import asyncio
import base64
import hmac
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import uuid

import pytest
import websockets

import client
import test_jwt
from client import connect
from conftest import SLACK, eventually
from rawws import Raw, frame
from test_events import static

PATH = "/ws/signaling"
SHORT = 0.3  # seconds: takeover_probe where nobody has to answer in time


def endpoint(**more):
    return {"endpoints": [{"path": PATH + "/{room}/{role}", "protocol": "signaling", "takeover_probe": "10s", **more}]}


class Peer(client.Client):
    async def until(self, check, seconds=client.WAIT):
        """The first message that fits; those before it are returned, too."""
        got = []
        while not got or not check(got[-1]):
            got.append(await self.get(seconds))
        return got

    async def say(self, type_, **more):
        await self.ws.send(json.dumps({"type": type_, **more}))

    async def silent(self):
        """Nothing has come but the answer to a ping."""
        await self.say("ping")
        assert await self.get() == {"type": "pong"}

    @property
    def me(self):
        return {"id": self.id, "userType": self.role}


async def knock(b, room, role, session=None, token=None, **options):
    """Connected, not yet entered."""
    query = "&".join(f"{k}={v}" for k, v in (("session", session), ("token", token)) if v)
    c = await connect(b.url, f"{PATH}/{room}/{role}" + ("?" + query if query else ""), **options)
    c.__class__ = Peer
    c.room, c.role = room, role
    return c


async def enter(b, room, role, **more):
    c = await knock(b, room, role, **more)
    c.joined = await c.get()
    assert c.joined["type"] == "joined", c.joined
    assert (c.joined["room"], c.joined["userType"]) == (room, role)
    c.id = c.joined["id"]
    return c


async def pair(a, b, room="r1", first="doctor", second="patient", **more):
    """Two in a room, who have seen each other."""
    one = await enter(a, room, first, **more)
    two = await enter(b, room, second)
    assert one.joined["peers"] == [] and two.joined["peers"] == [one.me]
    assert await one.get() == {"type": "user-joined", **two.me}
    return one, two


def left(peer, code, reason):
    return {"type": "user-left", **peer.me, "code": code, "reason": reason}


async def vanish(c, b):
    """Without a Close; its worker has noticed."""
    c.ws.transport.abort()
    await asyncio.sleep(0.01)
    eventually(lambda: not any(r["id"] == c.id for r in b.rows("show", "connections")), 10, "noticed")


@pytest.fixture
def two(broker, redis_server):
    """two(**keys): two brokers with one worker each on one Redis."""
    def start(workers=1, **more):
        r = redis_server()
        a, b = (broker(name, workers=workers, redis={"url": r.url, "connect_timeout": "1s"}, **endpoint(**more)) for name in "ab")
        a.redis = b.redis = r
        return a, b
    return start


# ── entering, relaying, leaving ──

async def test_a_call_within_a_worker(broker):
    b = broker(**endpoint())
    doctor, patient = await pair(b, b)
    assert doctor.id != patient.id and uuid.UUID(doctor.id).version == 4
    assert list(doctor.joined) == ["type", "id", "room", "userType", "peers"]
    await doctor.say("offer", sdp="v=0\r\n")
    assert await patient.get() == {"type": "offer", "sdp": "v=0\r\n", "from": doctor.me}
    await patient.say("answer", sdp={"a": [1]})
    assert await doctor.get() == {"type": "answer", "sdp": {"a": [1]}, "from": patient.me}
    await doctor.silent()
    await patient.say("leave")
    assert await patient.closed() == (1000, "Left")
    assert await doctor.get() == left(patient, 1000, "left")


async def test_the_same_between_brokers(two):
    a, b = two()
    doctor, patient = await pair(a, b)
    for n in range(200):
        await doctor.say("candidate", n=n)
    for n in range(200):
        assert await patient.get() == {"type": "candidate", "n": n, "from": doctor.me}
    await patient.say("answer", text="é\u2028😀")
    assert await doctor.get() == {"type": "answer", "text": "é\u2028😀", "from": patient.me}
    await patient.silent()
    await doctor.ws.close(4242, "bye")
    assert await patient.get() == left(doctor, 4242, "left")
    again = await enter(a, "r1", "doctor")
    assert again.joined["peers"] == [patient.me]
    assert await patient.get() == {"type": "user-joined", **again.me}


async def test_two_workers_of_one_broker(broker):
    b = broker(workers=2, **endpoint())
    for n in range(8):  # all ways in which two can be spread
        doctor, patient = await pair(b, b, f"room-{n}")
        await doctor.say("offer")
        assert await patient.get() == {"type": "offer", "from": doctor.me}
        await patient.say("answer")
        assert await doctor.get() == {"type": "answer", "from": patient.me}
    rows = b.rows("show", "connections")
    assert {r["slot"] for r in rows} == {0, 1}
    assert {(r["room"], r["role"], r["entered"]) for r in rows} == {(f"room-{n}", role, True) for n in range(8) for role in ("doctor", "patient")}


async def test_many_in_a_room_and_to_one(two):
    a, b = two(room_size=6)
    peers = []
    for n, node in enumerate([a, b, a, b, a]):
        c = await enter(node, "r1", f"p{n}")
        assert c.joined["peers"] == [p.me for p in peers]
        for p in peers:
            assert await p.get() == {"type": "user-joined", **c.me}
        peers.append(c)
    await peers[0].say("all", n=1)
    for p in peers[1:]:
        assert await p.get() == {"type": "all", "n": 1, "from": peers[0].me}
    for target in (1, 2):  # there, here
        await peers[0].say("one", to=peers[target].id)
        assert await peers[target].get() == {"type": "one", "to": peers[target].id, "from": peers[0].me}
    nobody = "00000000-0000-4000-8000-000000000000"
    for to in (nobody, peers[0].id, "", "x", peers[1].id.upper(), None, 5, {"a": 1}, [peers[1].id], True):
        await peers[0].say("one", to=to)
        assert await peers[0].get() == {"type": "error", "code": "no-such-peer", "message": "`to` names nobody else in this room", "to": to}
    await peers[1].ws.close()
    for p in peers[:1] + peers[2:]:
        assert await p.get() == left(peers[1], 1000, "left")
    await peers[0].say("one", to=peers[1].id)
    assert (await peers[0].get())["code"] == "no-such-peer"
    for p in peers[:1] + peers[2:]:
        await p.silent()


async def test_rooms_are_apart(broker):
    ends = endpoint()["endpoints"]
    b = broker(endpoints=ends + [{**ends[0], "path": "/other/{room}/{role}"}])
    one = await enter(b, "r1", "doctor")
    await enter(b, "r2", "doctor")
    other = await connect(b.url, "/other/r1/doctor")
    assert (await other.get())["peers"] == []
    await other.ws.send('{"type":"x"}')
    await one.silent()


@pytest.mark.parametrize("how, code, reason", [
    ("close", 1000, "left"), ("empty", 1005, "left"), ("4321", 4321, "left"), ("drop", 1006, "lost"), ("fin", 1006, "lost"),
    ("protocol", 1002, "lost"), ("big", 1009, "lost")])
async def test_how_a_peer_may_end(two, how, code, reason):
    a, b = two(max_message="1KiB")
    doctor = await enter(a, "r1", "doctor")
    raw = Raw(b.port).open(PATH + "/r1/patient")
    joined = json.loads(raw.frame()[2])
    assert await doctor.get() == {"type": "user-joined", "id": joined["id"], "userType": "patient"}
    {
        "close": lambda: raw.send(frame(8, b"\x03\xe8bye")),
        "empty": lambda: raw.send(frame(8)),
        "4321": lambda: raw.send(frame(8, (4321).to_bytes(2, "big"))),
        "drop": lambda: raw.reset() if hasattr(raw, "reset") else raw.s.close(),
        "fin": lambda: raw.s.shutdown(1),
        "protocol": lambda: raw.send(frame(3)),
        "big": lambda: raw.send(frame(1, b"x" * 1025)),
    }[how]()
    assert await doctor.get() == {"type": "user-left", "id": joined["id"], "userType": "patient", "code": code, "reason": reason}


async def test_what_is_said_before_joined_waits(broker):
    b = broker(**endpoint())
    doctor = await enter(b, "r1", "doctor")
    raw = Raw(b.port)
    text = b"".join(frame(1, json.dumps({"type": "early", "n": n}).encode()) for n in range(50))
    request = (f"GET {PATH}/r1/patient HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()
    raw.send(request + text)
    assert raw.head()[0] == 101
    assert json.loads(raw.frame()[2])["type"] == "joined"
    assert (await doctor.get())["type"] == "user-joined"
    for n in range(50):
        m = await doctor.get()
        assert (m["type"], m["n"]) == ("early", n)


async def test_nothing_is_replayed(two):
    a, b = two()
    doctor = await enter(a, "r1", "doctor")
    for n in range(20):
        await doctor.say("before", n=n)
    await doctor.silent()
    patient = await enter(b, "r1", "patient")
    assert (await doctor.get())["type"] == "user-joined"
    await doctor.say("after")
    assert await patient.get() == {"type": "after", "from": doctor.me}


# ── what messages may be ──

SENTENCES = {
    "json": "This is not JSON; a message is a JSON object with a `type`",
    "object": "This is no JSON object; a message is an object with a `type`",
    "type": "`type` is missing, or is not a text",
    "twice": "`type` stands there more than once",
    "server": "Messages of this type come from the server only",
}
DEEP = '{"type":"x","a":' + "[" * 70 + "]" * 70 + "}"
WRONG = [("json", t) for t in ("", " ", "x", "{", '{"type":"x"} y', '{"type":"x",}', '{"type":"x","a":NaN}', '{"type":"x","a":01}',
                               '{"type":"a\tb"}', "\ufeff{}", "{'type':'x'}", DEEP, b'{"type":"\xff"}', b"\x00")]
WRONG += [("object", t) for t in ("null", "5", "true", '"ping"', "[]", '[{"type":"ping"}]')]
WRONG += [("type", t) for t in ("{}", '{"Type":"x"}', '{"type":null}', '{"type":5}', '{"type":["ping"]}', '{"type":{}}', '{"event":"x"}')]
WRONG += [("twice", t) for t in ('{"type":"a","type":"a"}', '{"type":"a","t\\u0079pe":"joined"}', '{"\\u0074ype":5,"type":"ping"}')]
WRONG += [("server", '{"type":"%s"}' % t) for t in ("joined", "user-joined", "user-left", "user-returned", "error", "pong", "p\\u006fng")]


async def test_wrong_messages(two):
    a, b = two()
    doctor, patient = await pair(a, b)
    for kind, text in WRONG:
        await doctor.ws.send(text)
        assert await doctor.get() == {"type": "error", "code": "invalid-message", "message": SENTENCES[kind]}, text
    assert a.counter("signaling_invalid") == len(WRONG)
    await patient.silent()
    await doctor.say("still here")
    assert await patient.get() == {"type": "still here", "from": doctor.me}
    assert "still here" not in a.log() + b.log()


async def test_odd_but_good_messages(two):
    a, b = two()
    doctor, patient = await pair(a, b)
    me = json.dumps(doctor.me, separators=(",", ":"))
    for sent, got in [
        ('{"type":""}', '{"type":"","from":%s}'),
        (' {\n"type" : "x" , "n" : 9007199254740993 , "n":1.50e+1 } ', '{"type":"x","n":9007199254740993,"n":1.50e+1,"from":%s}'),
        ('{"type":"Ping"}', '{"type":"Ping","from":%s}'),
        ('{"type":"x","a\\u0062":"\\ud800","é":"é\\/"}', '{"type":"x","a\\u0062":"\\ud800","é":"é\\/","from":%s}'),
        ('{"from":1,"type":"x"}', '{"type":"x","from":%s}'),
        ('{"from":{"id":"me"},"type":"x","fr\\u006fm":2,"\\u0066\\u0072\\u006F\\u006D":[3],"from":null}', '{"type":"x","from":%s}'),
        ('{"type":"x","data":{"from":"inner"},"From":1,"from ":2}', '{"type":"x","data":{"from":"inner"},"From":1,"from ":2,"from":%s}'),
        ('{"type":"x","to":"%s"}' % patient.id, '{"type":"x","to":"%s","from":%%s}' % patient.id),
        (b'{"type":"binary"}', '{"type":"binary","from":%s}'),
    ]:
        await doctor.ws.send(sent)
        assert await asyncio.wait_for(patient.ws.recv(), 10) == got % me, sent
    raw = '{"type":"\\u0070ing","x":1}'
    await doctor.ws.send(raw)
    assert await doctor.get() == {"type": "pong"}
    await patient.silent()


async def test_large_messages_and_slow_readers(two):
    a, b = two(max_message="64KiB", backpressure="128KiB")
    doctor, patient = await pair(a, b)
    whole = json.dumps({"type": "big", "x": ""})
    text = whole.replace('""', '"' + "x" * (65536 - len(whole)) + '"')
    await doctor.ws.send(text)
    assert len((await patient.get())["x"]) == 65536 - len(whole)
    await doctor.ws.send(text + " ")
    assert await doctor.closed() == (1009, "Received too big message")
    assert await patient.get() == left(doctor, 1009, "lost")
    raw = Raw(a.port, rcvbuf=4096).open(PATH + "/r1/doctor")  # reads no more
    joined = json.loads(raw.frame()[2])
    assert (await patient.get())["id"] == joined["id"]
    for _ in range(200):
        await patient.ws.send(text[:60000] + '"}')
    assert await patient.get() == {"type": "user-left", "id": joined["id"], "userType": "doctor", "code": 1008, "reason": "lost"}


# ── who may enter ──

async def test_places(two):
    a, b = two(roles=["doctor", "patient", "nurse"], room_size=3, role_size=2)
    for role in ("Doctor", "x"):
        assert (await (await knock(a, "r1", role)).closed())[0] == 4400
    doctor, patient = await pair(a, b)
    second = await enter(b, "r1", "patient")
    full = await knock(a, "r1", "nurse")
    assert await full.closed() == (4409, "Room full: it has all the connections it may have")
    taken = await knock(a, "r1", "patient")  # both answer
    assert await taken.closed() == (4409, "Role taken: a connection in this room has it and answers")
    assert (await doctor.get(), await patient.get()) == ({"type": "user-joined", **second.me},) * 2
    await patient.ws.close()
    assert await doctor.get() == left(patient, 1000, "left")
    third = await enter(a, "r1", "nurse")
    assert third.joined["peers"] == [doctor.me, second.me]
    assert a.counter("signaling_refused_full") == 1 and a.counter("signaling_refused_taken") == 1
    for c in (second, third):
        await c.silent() if c is third else await c.until(lambda m: m["type"] == "user-joined" and m["id"] == third.id)


async def test_a_taken_role_is_refused_at_once(two):
    """The holder answers its ping: nobody waits for takeover_probe."""
    a, b = two(takeover_probe="60s")
    doctor, patient = await pair(a, b)
    for node in (a, b):
        for session in (None, "somebody-else"):
            c = await knock(node, "r1", "patient", session=session)
            assert await c.closed() == (4409, "Role taken: a connection in this room has it and answers")
    await doctor.silent()
    await patient.silent()


async def test_a_silent_holder_is_replaced(two):
    a, b = two(takeover_probe=f"{int(SHORT * 1000)}ms")
    doctor = await enter(a, "r1", "doctor")
    raw = Raw(b.port).open(PATH + "/r1/patient")  # never reads, never answers
    silent = json.loads(raw.frame()[2])
    assert (await doctor.get())["id"] == silent["id"]
    begun = time.monotonic()
    patient = await enter(a, "r1", "patient")
    assert SHORT * 0.9 < time.monotonic() - begun < SHORT + 2 * SLACK
    assert await doctor.get() == {"type": "user-left", "id": silent["id"], "userType": "patient", "code": 4410, "reason": "replaced"}
    assert await doctor.get() == {"type": "user-joined", **patient.me}
    got = raw.frame()
    while got[1] == 9:
        got = raw.frame()
    assert got[1] == 8 and got[2] == b"\x11\x3aReplaced by a newer connection of the same role"
    assert patient.joined["peers"] == [doctor.me]


CLIENT = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], ping_interval=None, compression=None) as ws:
        try:
            while True: print(await ws.recv(), flush=True)
        except websockets.ConnectionClosed:
            print("closed", ws.close_code, flush=True)
asyncio.run(main())
"""


async def test_a_frozen_tab_is_replaced_and_told(two):
    """SIGSTOP: its kernel still acknowledges everything."""
    a, b = two(takeover_probe="2s")
    doctor = await enter(a, "r1", "doctor")
    p = subprocess.Popen([sys.executable, "-c", CLIENT, f"{b.url}{PATH}/r1/patient"], stdout=subprocess.PIPE, text=True)
    try:
        frozen = json.loads(p.stdout.readline())
        assert (await doctor.get())["id"] == frozen["id"]
        taken = await knock(a, "r1", "patient")  # it lives
        assert (await taken.closed())[0] == 4409
        p.send_signal(signal.SIGSTOP)
        patient = await enter(a, "r1", "patient")
        assert [m["type"] for m in (await doctor.get(), await doctor.get())] == ["user-left", "user-joined"]
        p.send_signal(signal.SIGCONT)
        assert p.stdout.readline() == "closed 4410\n"
        await patient.silent()
    finally:
        p.kill()
        p.wait()


@pytest.mark.parametrize("where", ["same", "other"])
async def test_the_same_session_takes_over_at_once(two, where):
    a, b = two(takeover_probe="60s")
    doctor, patient = await pair(a, b)
    node = b if where == "same" else a
    await patient.ws.close()
    assert await doctor.get() == left(patient, 1000, "left")
    old = await enter(b, "r1", "patient", session="abcdefgh")
    assert (await doctor.get())["type"] == "user-joined"
    new = await enter(node, "r1", "patient", session="abcdefgh")
    assert await doctor.get() == left(old, 4410, "replaced")
    assert await doctor.get() == {"type": "user-joined", **new.me}
    assert new.joined["peers"] == [doctor.me]
    assert await old.closed() == (4410, "Replaced by a newer connection of the same role")
    for wrong in ("abcdefgx", None):
        c = await knock(a, "r1", "patient", session=wrong)
        assert (await c.closed())[0] == 4409
    assert "abcdefgh" not in a.log() + b.log()
    keys = a.redis.client().keys("*")
    assert keys and not any(b"abcdefgh" in k for k in keys)
    assert b"abcdefgh" not in b"".join(a.redis.client().hgetall(b"heliod:sig:/ws/signaling/{room}/{role}:r1").values())


async def test_the_same_user_takes_over_at_once(two):
    a, b = two(takeover_probe="60s", auth=static("ann", "bob"))
    ann = await enter(a, "r1", "doctor", token="token-ann")
    bob = await enter(b, "r1", "patient", token="token-bob")
    assert (await ann.get())["type"] == "user-joined"
    new = await enter(b, "r1", "doctor", token="token-ann")
    assert await bob.get() == left(ann, 4410, "replaced")
    assert await bob.get() == {"type": "user-joined", **new.me}
    assert (await ann.closed())[0] == 4410
    other = await knock(b, "r1", "doctor", token="token-bob")
    assert (await other.closed())[0] == 4409
    assert await (await knock(a, "r1", "doctor", token="wrong")).closed() == (4001, "Unauthorized")
    assert await (await knock(a, "r1", "doctor")).closed() == (4001, "Unauthorized")
    await new.silent()
    await bob.silent()
    rows = [r for n in (a, b) for r in n.rows("show", "connections") if r["state"] == "open"]
    assert {(r["user"], r["role"]) for r in rows} == {("ann", "doctor"), ("bob", "patient")}
    assert "token-" not in a.log() + b.log()


@pytest.mark.parametrize("enforced", [True, False])
async def test_a_token_expires(two, enforced):
    auth = {"method": "jwt", "key": test_jwt.SECRET, "algorithms": ["HS256"], "leeway": "0s", "enforce_expiry": enforced}
    a, b = two(auth=auth)
    now = time.time()
    doctor = await enter(a, "r1", "doctor", token=test_jwt.token(sub="ann", exp=int(now) + 3600))
    patient = await enter(b, "r1", "patient", token=test_jwt.token(sub="bob", exp=int(now) + 2))
    assert (await doctor.get())["id"] == patient.id
    if enforced:
        assert await patient.closed() == (4001, "Token expired")
        assert time.time() >= int(now) + 2
        assert await doctor.get() == left(patient, 4001, "lost")
        late = await knock(b, "r1", "patient", token=test_jwt.token(sub="bob", exp=int(now) + 2))
        assert await late.closed() == (4001, "Unauthorized")
    else:
        await asyncio.sleep(int(now) + 3 - time.time())  # what does not happen has to be waited for
        await patient.silent()
    await doctor.silent()


async def test_two_who_replace_the_same_holder(two):
    """Both find it silent at the same time; one enters, the other meets a holder that answers."""
    a, b = two(takeover_probe="700ms")
    doctor = await enter(a, "r1", "doctor")
    raw = Raw(b.port).open(PATH + "/r1/patient")
    silent = json.loads(raw.frame()[2])
    assert (await doctor.get())["id"] == silent["id"]
    ends = await asyncio.gather(*(attempt(node, "r1", "patient") for node in (a, b, a, b)))
    assert sorted(e[0] for e in ends) == ["joined", "refused", "refused", "refused"]
    winner = next(e[1] for e in ends if e[0] == "joined")
    assert [(m["type"], m["id"]) for m in (await doctor.get(), await doctor.get())] == [("user-left", silent["id"]), ("user-joined", winner.id)]
    await doctor.silent()


async def test_the_holder_leaves_during_the_probe(two):
    a, b = two(takeover_probe="30s")
    raw = Raw(b.port).open(PATH + "/r1/patient")
    raw.frame()
    entering = asyncio.ensure_future(enter(a, "r1", "patient"))
    assert await asyncio.to_thread(raw.frame) == (1, 9, b"")  # asked
    raw.send(frame(8))
    c = await asyncio.wait_for(asyncio.shield(entering), 32 * SLACK)
    assert c.joined["peers"] == []


async def test_an_impatient_entrant_leaves_nothing(two):
    a, b = two(takeover_probe="5s")
    raw = Raw(b.port).open(PATH + "/r1/patient")
    raw.frame()
    c = await knock(a, "r1", "patient")
    assert await asyncio.to_thread(raw.frame) == (1, 9, b"")
    c.ws.transport.abort()
    raw.send(frame(10))  # it lives: nothing has changed
    doctor = await enter(a, "r1", "doctor")
    assert [p["userType"] for p in doctor.joined["peers"]] == ["patient"]
    await doctor.silent()


# ── races ──

async def attempt(node, room, role, **more):
    c = await knock(node, room, role, **more)
    try:
        m = await c.get()
    except websockets.ConnectionClosed:
        assert c.ws.close_code == 4409, (c.ws.close_code, c.ws.close_reason)
        return "refused", c
    assert m["type"] == "joined", m
    c.id, c.joined = m["id"], m
    return "joined", c


async def test_one_winner_of_a_thousand_races(two):
    a, b = two(takeover_probe="20s")

    async def race(n):
        ends = await asyncio.gather(*(attempt(node, f"race-{n}", "doctor") for node in random.sample((a, b), 2)))
        assert sorted(e[0] for e in ends) == ["joined", "refused"], (n, [(e[0], e[1].ws.close_reason) for e in ends])
        for _, c in ends:
            await c.close()
            client.left_open.remove(c)

    for batch in range(0, 1000, 20):
        await asyncio.gather(*(race(n) for n in range(batch, batch + 20)))
    r = a.redis.client()
    eventually(lambda: not r.keys("heliod:sig:*"), 10, "all rooms are empty")
    assert a.counter("signaling_entered") + b.counter("signaling_entered") == 1000
    assert a.counter("signaling_refused_taken") + b.counter("signaling_refused_taken") == 1000
    assert a.counter("signaling_replaced") + b.counter("signaling_replaced") == 0


async def test_two_places_for_a_crowd(two):
    """Fifty at once for a room of two with any role: two enter and see each other."""
    a, b = two(room_size=2, role_size=100)
    ends = await asyncio.gather(*(attempt(random.choice((a, b)), "r1", "any") for _ in range(50)))
    ins = [c for how, c in ends if how == "joined"]
    assert len(ins) == 2
    first, second = sorted(ins, key=lambda c: len(c.joined["peers"]))
    assert first.joined["peers"] == [] and second.joined["peers"] == [first.me | {"userType": "any"}]
    assert await first.get() == {"type": "user-joined", "id": second.id, "userType": "any"}


# ── processes die ──

def pid_of_worker(b, slot=0):
    return next(w["pid"] for w in b.workers() if w["slot"] == slot)


async def on_slot(b, slot, room, role):
    """Somebody on a certain worker."""
    for n in range(100):
        c = await knock(b, f"{room}-{n}", role)
        m = await c.get()
        c.id = m["id"]
        if next(r["slot"] for r in b.rows("show", "connections") if r["id"] == c.id) == slot:
            return c
        await c.close()
    raise AssertionError("never on that worker")


async def enter_on(b, slot, room, role):
    for n in range(100):
        c = await enter(b, room, role)
        if next(r["slot"] for r in b.rows("show", "connections") if r["id"] == c.id) == slot:
            return c
        await c.close()
    raise AssertionError("never on that worker")


async def test_a_worker_is_killed(broker):
    b = broker(workers=2, **endpoint())
    patient = await enter_on(b, 0, "r1", "patient")
    doctor = await enter_on(b, 1, "r1", "doctor")
    await patient.until(lambda m: m.get("id") == doctor.id)
    begun = time.monotonic()
    os.kill(pid_of_worker(b, 1), signal.SIGKILL)
    assert await patient.get() == left(doctor, 1006, "lost")
    assert time.monotonic() - begun < 4, "the supervisor says it at once; the lease would take six seconds"
    again = await enter(b, "r1", "doctor")
    assert again.joined["peers"] == [patient.me]
    assert await patient.get() == {"type": "user-joined", **again.me}


async def test_a_node_is_killed(two):
    a, b = two(workers=2)
    doctor, patient = await pair(a, b)
    alone = await enter(b, "r2", "patient")
    pids = [w["pid"] for w in b.workers()]
    for pid in pids + [b.proc.pid]:
        os.kill(pid, signal.SIGKILL)
    b.proc.wait()
    # nobody waits for the lease: its workers listen no more
    eventually(lambda: len(a.redis.client().pubsub_channels("heliod:sigw:*")) == 2, 10, "Redis has noticed")
    begun = time.monotonic()
    again = await enter(a, "r1", "patient")
    assert await doctor.get() == left(patient, 1006, "lost")
    assert await doctor.get() == {"type": "user-joined", **again.me}
    other = await enter(a, "r2", "patient")
    assert other.joined["peers"] == [] and time.monotonic() - begun < 2 * SLACK
    assert alone.id


async def test_a_lease_runs_out(two):
    a, b = two()
    doctor, patient = await pair(a, b)
    pids = [w["pid"] for w in b.workers()]
    for pid in pids + [b.proc.pid]:
        os.kill(pid, signal.SIGKILL)
    b.proc.wait()
    begun = time.monotonic()
    assert await doctor.get(12 * SLACK) == left(patient, 1006, "lost")
    assert 3 < time.monotonic() - begun < 9 * SLACK
    assert a.counter("signaling_lost") == 1


async def test_a_worker_that_stood_still_is_put_back(two):
    """Eight seconds in SIGSTOP: the others were told it was lost; its members were there all the time."""
    a, b = two()
    b.write(watchdog="60s")
    b.ctl("reload")
    doctor, patient = await pair(a, b)
    pid = pid_of_worker(b)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert await doctor.get(12 * SLACK) == left(patient, 1006, "lost")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await doctor.get() == {"type": "user-joined", **patient.me}
    await doctor.say("offer")
    assert await patient.get() == {"type": "offer", "from": doctor.me}


@pytest.mark.parametrize("how", ["stop", "drop"])
async def test_a_broker_stops(two, how):
    a, b = two()
    b.write(shutdown_timeout="1s")
    b.ctl("reload")
    doctor = await enter(a, "r1", "doctor")
    if how == "stop":
        patient = await enter(b, "r1", "patient")
        ident = patient.id
    else:  # one that does not answer the Close
        raw = Raw(b.port).open(PATH + "/r1/patient")
        ident = json.loads(raw.frame()[2])["id"]
    assert (await doctor.get())["id"] == ident
    begun = time.monotonic()
    b.signal(signal.SIGTERM)
    if how == "stop":
        assert await patient.closed() == (1001, "Server shutting down")
    assert await doctor.get() == {"type": "user-left", "id": ident, "userType": "patient", "code": 1001, "reason": "lost"}
    assert time.monotonic() - begun < 5, "not by the lease"
    assert b.proc.wait(20 * SLACK) == 0


def test_a_full_broker_stops(two):
    """Thousands who do not answer the Close: all have left in Redis when it ends, not six seconds later."""
    _, b = two()
    b.write(shutdown_timeout="1s")
    b.ctl("reload")
    n, hard = 2500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    crowd = [Raw(b.port).open(f"{PATH}/room-{i}/doctor") for i in range(n)]
    for raw in crowd:
        assert json.loads(raw.frame()[2])["type"] == "joined"
    r = b.redis.client()
    assert len(r.keys("heliod:sig:/*")) == n
    b.signal(signal.SIGTERM)
    assert b.proc.wait(20 * SLACK) == 0
    assert r.keys("heliod:sig:/*") == []


async def test_an_operator_disconnects(two):
    a, b = two()
    doctor, patient = await pair(a, b)
    b.ctl("kick", "client", patient.id)
    assert await patient.closed() == (4411, "Disconnected by an operator")
    assert await doctor.get() == left(patient, 4411, "kicked")


# ── Redis goes ──

async def test_redis_restarts_empty(two):
    """It forgets everybody: the rosters survive, and nobody hears of it."""
    a, b = two(room_size=3)
    doctor, patient = await pair(a, b)
    nurse = await enter(a, "r1", "nurse")
    for c in (doctor, patient):
        assert await c.get() == {"type": "user-joined", **nurse.me}
    a.redis.kill()
    for n in (a, b):
        eventually(lambda: n.http()[0] == 503, 10, "down")
    assert await (await knock(a, "r1", "guest")).closed() == (4503, "Bus unavailable: nobody can enter now, try again later")
    await doctor.say("local")  # who is on the same worker still hears
    assert await nurse.get() == {"type": "local", "from": doctor.me}
    a.redis.start()
    for n in (a, b):
        eventually(lambda: n.http()[0] == 200, 20, "up")
    thief = await knock(a, "r1", "patient")  # whose worker may not have come back yet
    assert await thief.closed(30) == (4409, "Role taken: a connection in this room has it and answers")
    r = a.redis.client()
    key = "heliod:sig:/ws/signaling/{room}/{role}:r1"
    eventually(lambda: len(r.hgetall(key)) == 3 and not any(b" ? " in v for v in r.hgetall(key).values()), 10, "all are put back by their workers")
    taken = await knock(b, "r1", "doctor")
    assert (await taken.closed())[0] == 4409
    for c in (doctor, patient, nurse):
        await c.silent()
    await doctor.say("offer")
    for c in (patient, nurse):
        assert await c.get() == {"type": "offer", "from": doctor.me}


async def test_one_leaves_while_redis_is_away(two):
    a, b = two(room_size=3)
    doctor, patient = await pair(a, b)
    nurse = await enter(a, "r1", "nurse")
    for c in (doctor, patient):
        assert (await c.get())["type"] == "user-joined"
    a.redis.kill()
    for n in (a, b):
        eventually(lambda: n.http()[0] == 503, 10, "down")
    await nurse.close()
    assert await doctor.get() == left(nurse, 1000, "left")  # by its worker
    a.redis.start()
    for n in (a, b):
        eventually(lambda: n.http()[0] == 200, 20, "up")
    assert await patient.get(30 * SLACK) == left(nurse, 1006, "lost")
    await doctor.silent()
    nurse = await enter(b, "r1", "nurse")
    assert sorted(p["id"] for p in nurse.joined["peers"]) == sorted([doctor.id, patient.id])


async def test_redis_does_not_answer(two):
    """It hangs: whoever enters is refused after ten seconds, whoever is in a room relays on its worker."""
    a, b = two(room_size=3)
    doctor, patient = await pair(a, b)
    nurse = await enter(a, "r1", "nurse")
    for c in (doctor, patient):
        assert (await c.get())["type"] == "user-joined"
    a.redis.proc.send_signal(signal.SIGSTOP)
    try:
        late = await knock(a, "r2", "doctor")
        gone = await knock(b, "r2", "patient")
        gone.ws.transport.abort()
        await doctor.say("hello")
        assert await nurse.get() == {"type": "hello", "from": doctor.me}
        assert await late.closed(15 * SLACK) == (4503, "Bus unavailable: nobody can enter now, try again later")
    finally:
        a.redis.proc.send_signal(signal.SIGCONT)
    assert await patient.get() == {"type": "hello", "from": doctor.me}
    c = await enter(b, "r2", "doctor")  # what Redis did with them in the end has been undone
    assert [m for m in c.joined["peers"] if m["userType"] == "doctor"] == []
    for c in (doctor, patient, nurse):
        await c.silent()


async def test_redis_refuses_the_script(two):
    a, b = two()
    a.redis.client().set("heliod:sig:/ws/signaling/{room}/{role}:r1", "something else")
    c = await knock(a, "r1", "doctor")
    assert await c.closed() == (4503, "Bus unavailable: nobody can enter now, try again later")
    await enter(a, "r2", "doctor")
    assert "WRONGTYPE" in eventually(lambda: [line for line in a.log().splitlines() if "Redis refuses the script" in line], 10)[0]


async def test_the_bus_of_one_worker_breaks(two):
    """Its links are cut and come back: Redis remembers, nobody hears of it."""
    a, b = two()
    doctor, patient = await pair(a, b)
    r = a.redis.client()
    for n in range(3):
        r.client_kill_filter(_type="normal", skipme=True)
        r.client_kill_filter(_type="pubsub")
        for node in (a, b):
            eventually(lambda: node.counter("bus_reconnects") > n and node.http()[0] == 200, 20, "up again")
    async def reaches(x, y):
        while True:  # messages on the way are lost until both are back
            await x.say("hello")
            try:
                return await y.get(1)
            except asyncio.TimeoutError:
                pass
    assert (await reaches(doctor, patient))["type"] == "hello"
    assert (await reaches(patient, doctor))["type"] == "hello"


async def test_strange_messages_on_the_bus(two):
    a, b = two()
    doctor, patient = await pair(a, b)
    r = a.redis.client()
    room = "heliod:sig:/ws/signaling/{room}/{role}:r1"
    own = next(c for c in r.pubsub_channels("heliod:sigw:*") if r.pubsub_numsub(c)[0][1])
    other = str(uuid.uuid4())
    strange = ["", " ", "x", "in", "in x", f"in {other}", f"in {other} -", f"in {other} - x", f"out {doctor.id} 4410", f"out {doctor.id} x left",
               f"out {doctor.id} 1000 bored", f"all {doctor.id}/doctor/{other}", f"all {doctor.id}/doc tor/{other}/0", "away", f"away {doctor.id} -1",
               f"say {other} {doctor.id} -", f"say {other} {doctor.id} -\nx", f"say {other} {doctor.id} -\n[]", f"say {other} {doctor.id} - -\n{{}}",
               "probe r1", f"alive r1 {other} {other}", "\x00" * 100, "all " + " ".join([f"{other}/x/{other}/0"] * 300)]
    before = a.counter("bus_malformed")
    for text in strange:
        r.publish(room, text)
    assert eventually(lambda: a.counter("bus_malformed") - before >= len(strange), 10)
    for text in ["", "x", "probe", f"probe r1 {other} {other}", f"say {other} {doctor.id} -\n{{}}"]:
        r.publish(own, text)
    r.publish(room, f"say {other} {other} -\n" + '{"type":"user-left"}')   # of nobody
    r.publish(room, f"say {other} {doctor.id} -\n" + '{"type":"user-left"}')  # of another worker's
    r.publish(room, f"out {other} 1000 left")
    r.publish(room, f"away {other} 1000")
    await doctor.say("offer")
    assert await patient.get() == {"type": "offer", "from": doctor.me}
    await doctor.silent()
    await patient.silent()
    # a lie is set right: both are still there
    r.publish(room, f"out {patient.id} 1006 lost")
    assert await doctor.get() == left(patient, 1006, "lost")
    assert await doctor.get() == {"type": "user-joined", **patient.me}
    assert a.log().count("no worker says that of a room") == 1


# ── grace ──

async def test_a_short_loss_is_not_told(two):
    a, b = two(grace="60s")
    doctor, patient = await pair(a, b, first="doctor")
    await vanish(patient, b)
    again = await enter(a, "r1", "patient")  # neither has a session: the role is enough
    assert await doctor.get() == {"type": "user-returned", **again.me, "was": patient.id}
    assert again.joined["peers"] == [doctor.me]
    await vanish(again, a)
    mine = await enter(b, "r1", "patient", session="session-1")  # somebody else: the place is free
    assert await doctor.get() == left(again, 1006, "lost")
    assert await doctor.get() == {"type": "user-joined", **mine.me}
    new = await enter(a, "r1", "patient", session="session-1")  # still connected: replaced, but it is the same
    assert await doctor.get() == {"type": "user-returned", **new.me, "was": mine.id}
    assert (await mine.closed())[0] == 4410
    await new.say("leave")  # orderly: told at once
    assert await doctor.get() == left(new, 1000, "left")


async def test_grace_runs_out(two):
    a, b = two(grace="2s")
    doctor, patient = await pair(a, b)
    begun = time.monotonic()
    patient.ws.transport.abort()
    assert await doctor.get() == left(patient, 1006, "lost")
    assert 1.9 < time.monotonic() - begun < 2.2 + SLACK
    await doctor.close()
    r = a.redis.client()
    eventually(lambda: not r.keys("heliod:sig:*"), 10, "nothing is kept")


async def test_grace_outlives_the_worker(broker):
    b = broker(workers=2, **endpoint(grace="30s"))
    patient = await enter_on(b, 0, "r1", "patient")
    doctor = await enter_on(b, 1, "r1", "doctor")
    await patient.until(lambda m: m.get("id") == doctor.id)
    os.kill(pid_of_worker(b, 1), signal.SIGKILL)
    eventually(lambda: len(b.workers()) == 2, 20, "back")
    again = await enter(b, "r1", "doctor")
    assert await patient.get() == {"type": "user-returned", **again.me, "was": doctor.id}
    assert again.joined["peers"] == [patient.me]


# ── ICE ──

async def test_ice_servers(broker):
    secret = "north wind"
    servers = [{"urls": ["stun:stun.example.org"]},
               {"urls": ["turn:turn.example.org?transport=udp", "turns:turn.example.org:443"], "secret": secret, "ttl": "2h"},
               {"urls": ["turn:fixed.example.org"], "username": "u\"ser", "credential": "pass"}]
    b = broker(**endpoint(ice_servers=servers, auth=static("ann")))
    c = await enter(b, "r1", "doctor", token="token-ann")
    stun, minted, fixed = c.joined["iceServers"]
    assert stun == {"urls": ["stun:stun.example.org"]}
    assert fixed == {"urls": ["turn:fixed.example.org"], "username": "u\"ser", "credential": "pass"}
    expiry, _, user = minted["username"].partition(":")
    assert user == "ann" and abs(int(expiry) - time.time() - 7200) < 60
    assert minted["credential"] == base64.b64encode(hmac.digest(secret.encode(), minted["username"].encode(), "sha1")).decode()
    assert minted["urls"] == servers[1]["urls"]
    assert secret not in b.log()
    b.write(**endpoint(ice_servers=[{"urls": ["turn:t.example.org"], "secret": secret}]))
    b.ctl("reload")
    d = await enter(b, "r1", "patient")
    [only] = d.joined["iceServers"]
    assert only["username"].isdigit()
    assert only["credential"] == base64.b64encode(hmac.digest(secret.encode(), only["username"].encode(), "sha1")).decode()
