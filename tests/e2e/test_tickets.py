"""One-time tickets: made by the HTTP API and helioctl, good for one connection at one endpoint of any broker, and nowhere to be read."""
import asyncio
import contextlib
import json
import re
import time

import pytest

from api import KEYS, Api
from client import connect
from conftest import SLACK, eventually
from inbox import serving, token, tokens
from test_api_cluster import settled

BELL, CALL = "/bell/", "/call/{room}/{role}"
TICKET = re.compile(r"tk_[A-Za-z0-9_-]{43}")
CONF = {
    "api_keys": KEYS, "log": {"level": "debug"},
    "endpoints": [
        {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}},
        {"path": BELL, "protocol": "notifications", "auth": {"method": "static", "tokens": tokens(["alice"])}},
        {"path": CALL, "protocol": "signaling", "auth": {"method": "ticket"}, "room_size": 100, "role_size": 100},
        {"path": "/echo", "protocol": "echo"},
    ],
}
REFUSED = (4001, "Unauthorized")
FIRST = {BELL: "connection_established", "/call/r/x": "joined"}


def ask(b, body):
    with contextlib.closing(Api(b)) as a:
        return a.post("/api/tickets", body)


def mint(b, user="zoë", endpoint=BELL, **more):
    status, body = ask(b, {"user": user, "endpoint": endpoint, **more})
    assert status == 200 and list(body) == ["ticket"] and TICKET.fullmatch(body["ticket"]), body
    return body["ticket"]


async def come(b, ticket, path=BELL, where="query"):
    """The first message, or the end."""
    if where == "query":
        c = await connect(b.url, f"{path}?token={ticket}")
    elif where == "header":
        c = await connect(b.url, path, extra_headers={"Authorization": f"Bearer {ticket}"})
    else:
        c = await connect(b.url, path, subprotocols=[f"token.{ticket}"])
    try:
        return await c.get()
    except Exception:
        return c.ws.close_code, c.ws.close_reason


@pytest.fixture
def b(shared):
    return serving(shared(**CONF))


# ---- what they are good for ----

@pytest.mark.parametrize("where", ["query", "header", "subprotocol"])
async def test_once(b, where):
    ticket = mint(b, "zoë/%")
    first = await come(b, ticket, where=where)
    assert (first["type"], first["user"]) == ("connection_established", "zoë/%")
    for again in ("query", "header", "subprotocol"):
        assert await come(b, ticket, where=again) == REFUSED


async def test_at_both_protocols(b):
    for path, endpoint in ((BELL, BELL), ("/bell", BELL), ("/bell/", "/bell"), ("/call/r/x", CALL)):
        first = await come(b, mint(b, endpoint=endpoint), path)
        assert first["type"] == FIRST[path if path in FIRST else BELL]


async def test_at_no_other_endpoint(b):
    """And whoever tries has used it up."""
    for made_for, tried, right in ((BELL, "/call/r/x", BELL), (CALL, BELL, "/call/r/x")):
        ticket = mint(b, endpoint=made_for)
        assert await come(b, ticket, tried) == REFUSED
        assert await come(b, ticket, right) == REFUSED


async def test_beside_the_endpoints_own_method(b):
    assert (await come(b, token("alice")))["user"] == "alice"
    assert (await come(b, mint(b, "alice")))["user"] == "alice"
    assert await come(b, "", "/call/r/x") == REFUSED
    assert await come(b, token("alice"), "/call/r/x") == REFUSED


async def test_for_its_time_only(b):
    ticket, other = mint(b, ttl=1), mint(b, ttl=60)
    await asyncio.sleep(1.1)  # there is nothing to wait for: Redis forgets
    assert await come(b, ticket) == REFUSED
    assert (await come(b, other))["type"] == "connection_established"


async def test_what_is_none(b):
    good = mint(b)
    for ticket in ("tk_", "tk_x", good[:-1], good + "A", "tk_" + "A" * 43, good.upper(), good.replace("tk_", "TK_")):
        assert await come(b, ticket) == REFUSED
    assert (await come(b, good))["type"] == "connection_established"


async def test_a_race_has_one_winner(broker, redis_server):
    s = redis_server()
    a, b = (serving(broker(n, redis={"url": s.url}, workers=2, **CONF)) for n in "ab")
    settled(a, 4)
    for i in range(25):
        ticket = mint((a, b)[i % 2])
        ends = await asyncio.gather(*(come(x, ticket) for x in (a, b) * 4))
        winners = [e for e in ends if isinstance(e, dict)]
        assert len(winners) == 1 and winners[0]["user"] == "zoë"
        assert [e for e in ends if not isinstance(e, dict)] == [REFUSED] * 7
    assert not s.client().keys("heliod:ticket:*")


async def test_from_helioctl(b):
    ticket = b.ctl("ticket", "al ice", "--endpoint", BELL).stdout.strip()
    assert TICKET.fullmatch(ticket)
    assert (await come(b, ticket))["user"] == "al ice"
    got = json.loads(b.ctl("--json", "ticket", "bob", "--ttl", "5m", "--endpoint", CALL).stdout)
    assert got["ok"] is True
    assert (await come(b, got["ticket"], "/call/r/x"))["type"] == "joined"


# ---- orders that are none ----

BAD = {
    "no user": ({"endpoint": BELL}, "`user`"),
    "user no text": ({"user": 5, "endpoint": BELL}, "`user`"),
    "empty user": ({"user": "", "endpoint": BELL}, "`user`"),
    "long user": ({"user": "é" * 300, "endpoint": BELL}, "`user` is longer"),
    "no endpoint": ({"user": "u"}, "`endpoint`"),
    "endpoint no text": ({"user": "u", "endpoint": [BELL]}, "`endpoint`"),
    "endpoint not there": ({"user": "u", "endpoint": "/nothing"}, "no endpoint is configured at /nothing"),
    "a filled path": ({"user": "u", "endpoint": "/call/r/x"}, "no endpoint is configured at /call/r/x"),
    "events": ({"user": "u", "endpoint": "/ws"}, "takes no token in its handshake"),
    "echo": ({"user": "u", "endpoint": "/echo"}, "takes no token in its handshake"),
    "ttl 0": ({"user": "u", "endpoint": BELL, "ttl": 0}, "`ttl`"),
    "ttl too long": ({"user": "u", "endpoint": BELL, "ttl": 3601}, "`ttl`"),
    "ttl a text": ({"user": "u", "endpoint": BELL, "ttl": "30s"}, "`ttl`"),
    "ttl a fraction": ({"user": "u", "endpoint": BELL, "ttl": 1.5}, "`ttl`"),
    "unknown": ({"user": "u", "endpoint": BELL, "TTL": 5, "room": 1}, "`TTL`, `room`"),
    "no object": (["u", BELL], "not a JSON object"),
    "no JSON": (b"{user:u}", "not JSON"),
}


@pytest.mark.parametrize("body,word", BAD.values(), ids=BAD)
def test_bad_orders(b, body, word):
    before = b.counter("tickets_minted")
    with contextlib.closing(Api(b)) as a:
        status, got = a.post("/api/tickets", body)
        assert (status, got["error"]) == (400, "bad-body") and word in got["message"], got
        assert a.post("/api/tickets", {"user": "u", "endpoint": BELL})[0] == 200  # the connection is kept
    assert b.counter("tickets_minted") == before + 1


BAD_COMMANDS = {
    "no endpoint": (["u"], "--endpoint"),
    "only a time": (["u", "--ttl", "5s"], "--endpoint"),
    "events": (["u", "--endpoint", "/ws"], "takes no token"),
    "not there": (["u", "--endpoint", "/x"], "no endpoint is configured at /x"),
    "time without unit": (["u", "--endpoint", BELL, "--ttl", "5"], "5m"),
    "no time": (["u", "--endpoint", BELL, "--ttl", "0s"], "30s"),
    "too long": (["u", "--endpoint", BELL, "--ttl", "2h"], "3600"),
    "much too long": (["u", "--endpoint", BELL, "--ttl", "99999999999999999999s"], "--ttl"),
    "long user": (["u" * 600, "--endpoint", BELL], "longer than 512"),
}


@pytest.mark.parametrize("words,word", BAD_COMMANDS.values(), ids=BAD_COMMANDS)
def test_bad_commands(b, words, word):
    done = b.ctl("ticket", *words, check=False)
    assert done.returncode == 2 and word in done.stderr and not done.stdout, done


async def test_redis_away(broker, redis_server):
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, **CONF))
    ticket = mint(b)
    s.kill()
    await asyncio.to_thread(eventually, lambda: b.http()[0] == 503)
    status, body = ask(b, {"user": "u", "endpoint": BELL})
    assert (status, body["error"]) == (503, "bus-down")
    done = b.ctl("ticket", "u", "--endpoint", BELL, check=False)
    assert done.returncode == 3 and not done.stdout
    code, reason = await come(b, ticket)
    assert code == 4503 and "later" in reason


# ---- where they stand ----

async def test_nowhere_to_be_read(broker, redis_server):
    """Neither in a log nor in what is shown, nor in Redis, where a digest of it is."""
    s = redis_server()
    b = serving(broker(redis={"url": s.url}, workers=2, **CONF))
    settled(b, 2)
    monitor = s.client().monitor()
    seen = []
    with monitor as m:
        tickets = [mint(b), mint(b, endpoint=CALL), mint(b, ttl=3600), b.ctl("ticket", "u", "--endpoint", BELL).stdout.strip()]
        tickets += [mint(b), mint(b)]
        keys = s.client().keys("*")
        values = [s.client().get(k) for k in keys if k.startswith(b"heliod:ticket:")]
        clients = [await connect(b.url, f"{BELL}?token={tickets[0]}"), await connect(b.url, f"/call/r/x?token={tickets[1]}")]
        for c in clients:
            await c.get()
        assert await come(b, tickets[0]) == REFUSED and await come(b, tickets[2], "/call/r/x") == REFUSED
        assert (await come(b, tickets[3], where="header"))["type"] == "connection_established"
        assert (await come(b, tickets[4], where="subprotocol"))["type"] == "connection_established"
        # where a token does not belong
        for path in (f"/docs?token={tickets[5]}", f"/api/rooms?token={tickets[5]}", f"/nothing?token={tickets[5]}"):
            await asyncio.to_thread(b.http, path)
        s.client().set("the-end", 1)
        while not seen or "the-end" not in seen[-1]:
            seen.append(m.next_command()["command"])
    assert len(values) == 6 and all(json.loads(v)["endpoint"] in (BELL, CALL) for v in values)
    shown = "".join(b.ctl(*words).stdout for words in (
        ["status"], ["show", "workers"], ["show", "connections"], ["show", "rooms"], ["show", "users"], ["show", "config"],
        ["show", "counters"], ["--json", "show", "connections"], ["--json", "show", "config"]))
    redis = b"\n".join(keys + values).decode() + "\n".join(seen)
    for ticket in tickets:
        bare = ticket.removeprefix("tk_")
        assert bare not in shown and bare not in redis and bare not in b.log()
    assert "wants a ticket" in b.log() and "a ticket asked by helioctl" in b.log()  # the log is one that says much


def test_many_are_all_different_and_quick(b):
    began = time.monotonic()
    with contextlib.closing(Api(b)) as a:
        tickets = {a.post("/api/tickets", {"user": "u", "endpoint": BELL, "ttl": 1})[1]["ticket"] for _ in range(500)}
    assert len(tickets) == 500 and time.monotonic() - began < 10 * SLACK
