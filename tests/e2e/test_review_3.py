"""What a second reading of signaling, notifications and the bus below them found or doubted: hostile neighbours, bad moments."""
import asyncio
import json
import signal

import pytest
import websockets

from client import connect, entered
from conftest import SLACK, eventually
from inbox import KEY as KEY_OF_API, post
from rawws import Raw, frame
from test_events import static
from test_signaling import PATH, endpoint, enter, enter_on, knock, left, pair, two  # noqa: F401 (a fixture)

KEY = b"heliod:sig:" + PATH.encode() + b"/{room}/{role}:r1"


# ── signaling: a role that is wanted by many ──

async def test_a_crowd_wins_no_role_from_a_holder_that_answers(two):
    """However many ask at once whether it still lives."""
    a, b = two(takeover_probe="3s")
    raw = Raw(b.port).open(PATH + "/r1/patient")
    holder = json.loads(raw.frame()[2])
    crowd = await asyncio.gather(*(knock(node, "r1", "patient") for node in (a, b) * 7))
    eventually(lambda: a.counter("signaling_probes") + b.counter("signaling_probes") >= len(crowd), 2, "all have asked")
    answering = asyncio.create_task(asyncio.to_thread(answer_pings, raw))
    for c in crowd:
        assert (await c.closed())[0] == 4409
    doctor = await enter(a, "r1", "doctor")
    assert doctor.joined["peers"] == [{"id": holder["id"], "userType": "patient"}]
    raw.send(frame(1, b'{"type":"ping"}'))
    assert await answering < len(crowd) / 2, "asked for all together, not by each"


def answer_pings(raw):
    """As a browser does, until the answer to a ping of its own; returns how many."""
    n = 0
    while (got := raw.frame())[2] != b'{"type":"pong"}':
        if got[1] == 9:
            n += 1
            raw.send(frame(10, got[2]))
    return n


# ── signaling: the bus goes ──

async def test_who_left_while_redis_was_away_comes_back_as_no_ghost(broker, redis_server):
    """Redis remembers it and grants it its grace; who was told that it left is not told that it came."""
    r = redis_server(args=("--appendonly", "yes", "--appendfsync", "always"))
    b = broker(redis={"url": r.url, "connect_timeout": "1s"}, **endpoint(grace="2s"))
    doctor, patient = await pair(b, b)
    r.kill()
    eventually(lambda: b.http()[0] == 503, 10, "down")
    patient.ws.transport.abort()
    assert await doctor.get() == left(patient, 1006, "lost")
    r.start()
    eventually(lambda: b.http()[0] == 200, 20, "up")
    eventually(lambda: list(r.client().hgetall(KEY)) == [doctor.id.encode()], 15, "its grace is over")
    await doctor.silent()


async def test_an_entrant_whose_redis_stood_still_leaves_nothing(two):
    a, b = two()
    doctor = await enter(a, "r1", "doctor")
    a.redis.proc.send_signal(signal.SIGSTOP)
    try:
        c = await knock(b, "r1", "patient")
        await asyncio.sleep(0.2)  # it has asked by now, or will not at all
        c.ws.transport.abort()
        eventually(lambda: len([x for x in b.rows("show", "connections") if x["endpoint"].startswith(PATH)]) == 0, 10, "noticed")
    finally:
        a.redis.proc.send_signal(signal.SIGCONT)
    patient = await enter(b, "r1", "patient")
    assert patient.joined["peers"] == [doctor.me]
    seen = {}
    async def follow():
        while patient.id not in seen:
            m = await doctor.get(20 * SLACK)
            seen.setdefault(m["id"], []).append(m["type"])
    await follow()
    assert seen.pop(patient.id) == ["user-joined"]
    assert all(v == ["user-joined", "user-left"] for v in seen.values()), seen


async def test_a_redis_that_stood_still_for_longer_than_a_lease(two):
    """Whoever enters first when it goes on does not judge its own worker's members by a clock that nobody could follow."""
    a, b = two(room_size=3)
    doctor, patient = await pair(a, b)
    a.redis.proc.send_signal(signal.SIGSTOP)
    try:
        nurse = await knock(a, "r1", "nurse")
        await asyncio.sleep(7)
    finally:
        a.redis.proc.send_signal(signal.SIGCONT)
    joined = await nurse.get(20 * SLACK)
    assert joined["peers"] == [doctor.me, patient.me]
    for c in (doctor, patient):
        assert await c.get() == {"type": "user-joined", "id": joined["id"], "userType": "nurse"}
    await asyncio.sleep(3)  # everybody has been renewed
    for c in (doctor, patient, nurse):
        await c.silent()


async def test_scripts_are_forgotten(two):
    a, b = two()
    r = a.redis.client()
    doctor = await enter(a, "r1", "doctor")
    for n in range(10):
        r.script_flush()
        patient = await enter((a, b)[n % 2], "r1", "patient")
        assert await doctor.get() == {"type": "user-joined", **patient.me}
        r.script_flush()
        await patient.say("leave")
        assert await doctor.get() == left(patient, 1000, "left")
    await doctor.silent()


# ── signaling: the broker changes below its members ──

async def test_an_endpoint_goes_and_comes_back(two):
    """Its members stay together, and newcomers find them again."""
    a, b = two(room_size=4)
    doctor, patient = await pair(a, a)
    mine, echo = a.keys["endpoints"], [{"path": "/echo", "protocol": "echo"}]
    for _ in range(3):
        a.write(endpoints=echo)
        a.ctl("reload")
        with pytest.raises(websockets.InvalidStatusCode):
            await knock(a, "r1", "nurse")
        await doctor.say("offer")
        assert await patient.get() == {"type": "offer", "from": doctor.me}
        nurse = await enter(b, "r1", "nurse")
        assert nurse.joined["peers"] == [doctor.me, patient.me]
        for x in (doctor, patient):
            assert await x.get() == {"type": "user-joined", **nurse.me}
        a.write(endpoints=mine)
        a.ctl("reload")
        guest = await enter(a, "r1", "guest")
        assert guest.joined["peers"] == [doctor.me, patient.me, nurse.me]
        for x in (doctor, patient, nurse):
            assert await x.get() == {"type": "user-joined", **guest.me}
        for who, rest in ((nurse, (doctor, patient, guest)), (guest, (doctor, patient))):
            await who.say("leave")
            for x in rest:
                assert await x.get() == left(who, 1000, "left")
    a.write(endpoints=echo)
    a.ctl("reload")
    await doctor.say("leave")
    assert await patient.get() == left(doctor, 1000, "left")
    await patient.say("leave")
    eventually(lambda: not a.redis.client().keys("heliod:sig:*"), 10, "nobody is kept")
    eventually(lambda: a.redis.client().pubsub_numsub(*a.redis.client().pubsub_channels("heliod:sigw:*")) and
               len(a.redis.client().pubsub_channels("heliod:sigw:*")) == 1, 10, "the endpoint has ended")
    a.write(endpoints=mine)
    a.ctl("reload")
    await pair(a, b)


async def test_a_path_that_changes_its_protocol(broker):
    """Whoever is connected goes on as before; whoever comes finds what is configured now."""
    auth = static("ann")
    as_notifications = [{"path": "/n", "protocol": "notifications", "auth": auth}]
    as_events = [{"path": "/n", "protocol": "events", "auth": auth}]
    b = broker(endpoints=as_notifications)
    readers = []
    for n in range(3):
        readers.append(await connect(b.url, "/n?token=token-ann"))
        assert (await readers[-1].get())["type"] == "connection_established"
        for _ in range(n):
            assert (await readers[-1].get())["type"] == "notification"
        b.write(endpoints=as_events)
        b.ctl("reload")
        await entered(b.url, "/n", "token-ann")
        b.ctl("notify", "ann", json.dumps({"n": n}))
        for c in readers:
            assert (await c.get())["notification"]["n"] == n
            assert await c.get() == {"type": "unread_count", "count": n + 1}
        b.write(endpoints=as_notifications)
        b.ctl("reload")
    for c in readers:
        await c.close()
    b.write(endpoints=as_events)
    b.ctl("reload")
    await entered(b.url, "/n", "token-ann")


async def test_a_worker_that_retires_is_told_of_once(broker):
    """With a peer that answers the Close, and one that never does."""
    b = broker(workers=2, retire_timeout="500ms", shutdown_timeout="1s", **endpoint(room_size=3))
    doctor = await enter_on(b, 0, "r1", "doctor")
    patient = await enter_on(b, 1, "r1", "patient")
    while True:
        raw = Raw(b.port).open(PATH + "/r1/nurse")
        deaf = json.loads(raw.frame()[2])
        if next(r["slot"] for r in b.rows("show", "connections") if r["id"] == deaf["id"]) == 1:
            break
        raw.send(frame(1, b'{"type":"leave"}'))
    b.write(workers=1)
    b.ctl("reload")
    gone = {}
    while len(gone) < 2:
        m = await doctor.get(20 * SLACK)
        if m["type"] == "user-left" and m["id"] in (patient.id, deaf["id"]):
            assert m["id"] not in gone
            gone[m["id"]] = (m["code"], m["reason"])
    assert gone == {patient.id: (1012, "lost"), deaf["id"]: (1012, "lost")}
    eventually(lambda: [w["slot"] for w in b.workers(None)] == [0], 20, "one worker is left")
    await doctor.silent()
    again = await enter(b, "r1", "patient")
    assert again.joined["peers"] == [doctor.me]


def ticket(b, user, endpoint):
    return json.loads(b.ctl("--json", "ticket", user, "--endpoint", endpoint).stdout)["ticket"]


BELL, CALL = "/bell/", PATH + "/{room}/{role}"


@pytest.mark.parametrize("end", ["reload", "stop", "kill redis"])
async def test_everything_is_under_way_when_the_end_comes(broker, redis_server, end):
    """Tickets, entries, leases and questions are at a Redis that stands still; what answers comes to nobody."""
    r = redis_server()
    auth = {"auth": {"method": "ticket"}}
    b = broker(redis={"url": r.url}, shutdown_timeout="1s", log={"level": "debug"}, endpoints=[
        {"path": BELL, "protocol": "notifications", **auth},
        {"path": CALL, "protocol": "signaling", "room_size": 3, "grace": "1s", **auth},
        {"path": "/echo", "protocol": "echo"}])
    reader = await connect(b.url, f"{BELL}?token={ticket(b, 'ann', BELL)}")
    assert (await reader.get())["type"] == "connection_established"
    doctor = await enter(b, "r1", "doctor", token=ticket(b, "ann", CALL))
    tickets = [ticket(b, f"u{n}", where) for n, where in enumerate((BELL, CALL) * 4)]
    r.proc.send_signal(signal.SIGSTOP)
    try:
        late = [await connect(b.url, f"{BELL if n % 2 == 0 else PATH + '/r1/patient'}?token={t}") for n, t in enumerate(tickets)]
        await reader.raw('{"type":"mark_all_read"}')
        await doctor.say("offer")
        await asyncio.sleep(0.3)
        for c in late[:4]:
            c.ws.transport.abort()
        if end == "reload":
            b.write(endpoints=[{"path": "/echo", "protocol": "echo"}])
            b.ctl("reload")
            for c in (*late, reader, doctor):
                c.ws.transport.abort()
            await asyncio.sleep(0.1)
            for row in b.rows("show", "connections"):  # nobody listens to those who wait for Redis
                b.ctl("kick", "client", row["id"], check=False)
            eventually(lambda: not [x for x in b.rows("show", "connections") if x.get("endpoint")], 10, "all have gone")
            await asyncio.sleep(1.2)  # their endpoints end at the full second
        elif end == "stop":
            b.signal(signal.SIGTERM)
            assert b.proc.wait(20 * SLACK) == 0
        else:
            r.kill()
            eventually(lambda: b.http()[0] == 503, 20, "down")
            for c in late[4:]:
                assert (await c.closed())[0] == 4503
    finally:
        if r.proc.poll() is None:
            r.proc.send_signal(signal.SIGCONT)
    if end == "reload":
        b.wait_ready()
        b.write(endpoints=[{"path": CALL, "protocol": "signaling"}])
        b.ctl("reload")
        await pair(b, b, "r2")


# ── what names and tokens may be made of ──

async def test_users_of_any_name_have_inboxes_of_their_own(broker):
    b = broker(api_keys=[{"name": "tests", "key": KEY_OF_API}], endpoints=[{"path": BELL, "protocol": "notifications", "auth": {"method": "ticket"}}])
    users = ["a", "{u:a}", "a}:order", "u:a", "a\nb", "a\x00b", "a\x00", " a", "*", "../a", "all", "é" * 256, "x" * 512, '"', "a:b", "ℝ{}"]
    tabs = {}
    for u in users:
        status, answer = await asyncio.to_thread(post, b, {"user": u, "endpoint": BELL}, "/api/tickets")
        assert status == 200, (u, answer)
        tabs[u] = await connect(b.url, f"{BELL}?token={answer['ticket']}")
        first = await tabs[u].get()
        assert (first["user"], first["unread_count"]) == (u, 0)
    for n, u in enumerate(users):
        status, answer = await asyncio.to_thread(post, b, {"user": u, "notification": {"id": "same", "n": n}})
        assert (status, answer) == (200, {"ids": {u: "same"}})
    for n, u in enumerate(users):
        got = (await tabs[u].get())["notification"]
        assert (got["id"], got["n"]) == ("same", n)
        assert await tabs[u].get() == {"type": "unread_count", "count": 1}
        await tabs[u].raw('{"type":"ping"}')
        assert await tabs[u].get() == {"type": "pong"}
    for u in ("", "x" * 513):
        assert (await asyncio.to_thread(post, b, {"user": u, "endpoint": BELL}, "/api/tickets"))[0] == 400
        assert (await asyncio.to_thread(post, b, {"user": u, "notification": {}}))[0] == 400


# ── much at once ──

async def test_a_stream_full_of_large_notifications_leaves_room_for_others(broker, redis_server):
    """It once filled redis.queue: /ready said 503, nobody could enter, and the entries waited for ten seconds."""
    r = redis_server()
    b = broker(redis={"url": r.url}, endpoints=[{"path": BELL, "protocol": "notifications", "auth": {"method": "ticket"}}])
    c = r.client()
    body = {"users": [f"u{n}" for n in range(20)], "notification": {"text": "x" * 60000}}
    bulk = c.pipeline()
    for n in range(32):
        bulk.xadd("heliod:notify", {"body": json.dumps(body), "id": f"bulk-{n}"})
    bulk.execute()
    seen = set()
    eventually(lambda: seen.add(b.http()[0]) or c.xlen("heliod:notify") == 0, 3, "all are stored")
    assert seen == {200}
    assert [c.hlen("heliod:inbox:{u:u%d}:texts" % n) for n in (0, 19)] == [32, 32]


# ── brokers that share nothing but Redis ──

async def test_brokers_with_another_prefix_hear_nothing_of_each_other(broker, redis_server):
    r = redis_server()
    a, b = (broker(n, redis={"url": r.url, "prefix": p}, **endpoint()) for n, p in (("a", "x:"), ("b", "")))
    one, two_ = await pair(a, a)
    three, four = await pair(b, b)
    await one.say("offer")
    assert (await two_.get())["from"] == one.me
    await two_.say("leave")
    assert await one.get() == left(two_, 1000, "left")
    for c in (one, three, four):
        await c.silent()


# ── what a path may be made of ──

@pytest.mark.parametrize("segment", ["%FF%7B", "%7B%C3", "%7B%0D%0A%00x", "%7B%22%5C", "%7B" + "%F0%9F%98%80" * 30, "%ED%A0%80%7B", "%7B%1B%5B31m", "%7B%C2%9B"])
async def test_a_refusal_shows_what_was_wrong_as_text(broker, segment):
    b = broker(**endpoint())
    raw = Raw(b.port).open(f"{PATH}/{segment}/doctor")
    fin, opcode, payload = raw.frame()
    reason = payload[2:].decode()  # UTF-8, else the client would fail the connection with a riddle
    assert (opcode, payload[:2]) == (8, (4400).to_bytes(2, "big"))
    assert reason.startswith("The room in the path ") and len(payload) <= 125 and reason.isprintable(), reason
    status, body = b.http(f"{PATH}/{segment}/doctor")
    assert status == 400 and json.loads(body)["message"].isprintable()
