"""Users with an inbox: tokens, the endpoint, publishing by all ways, and clients that keep account of what they are told."""
import asyncio
import hashlib
import json
import urllib.error
import urllib.request

import hush
from client import WAIT, connect
from conftest import eventually

KEY = "an-api-key-of-the-tests"
PATH = "/ws/notifications/"
USERS = ["alice", "bob", "carol"]


def token(user):
    return f"token-of-{user}"


def tokens(users):
    return "".join(f"{u}:sha256:{hashlib.sha256(token(u).encode()).hexdigest()}\n" for u in users)


def inboxes(users=USERS, inbox=None, **endpoint):
    """Keywords for broker()."""
    at = {"path": PATH, "protocol": "notifications", "auth": {"method": "static", "tokens": tokens(users)}, **endpoint}
    return {"endpoints": [at], "api_keys": [{"name": "tests", "key": KEY}], **({"inbox": inbox} if inbox else {})}


def serving(b):
    """Every worker has its bus: /ready speaks for one of them only."""
    eventually(lambda: b.counter("bus_up") == b.keys["workers"], what="all workers have a bus")
    return b


def post(b, body, path="/api/notifications", raw=None):
    """(status, answer)"""
    hush.notified(body)
    request = urllib.request.Request(f"http://127.0.0.1:{b.port}{path}", raw if raw is not None else json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, json.loads(r.read())
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read())


async def publish(b, body):
    status, answer = await asyncio.to_thread(post, b, body)
    assert status == 200, answer
    return answer["ids"]


async def notify(b, user, **notification):
    """Publishes to one user; returns the id."""
    return (await publish(b, {"user": user, "notification": notification}))[user]


class Tab:
    """A connection of a user. said holds all that it was told."""

    def __init__(self, c, user):
        self.c, self.user, self.said, self.first = c, user, [], None

    async def get(self, seconds=WAIT):
        message = await self.c.get(seconds)
        self.said.append(message)
        return message

    async def ask(self, **message):
        await self.c.raw(json.dumps(message))
        return await self.get()

    async def expect(self, *wanted):
        """The next messages: a notification by its id, a count by its number."""
        for w in wanted:
            message = await self.get()
            if isinstance(w, int):
                assert message == {"type": "unread_count", "count": w}, (message, w)
            else:
                assert message["type"] == "notification" and message["notification"]["id"] == w, (message, w)

    async def nothing(self):
        """Nothing else has been said up to now."""
        assert await self.ask(type="ping") == {"type": "pong"}

    async def ids(self, **how):
        return [n["id"] for n in (await self.ask(type="list", **how))["notifications"]]

    async def close(self):
        await self.c.close()


async def tab(b, user="alice", path=PATH, **options):
    t = Tab(await connect(b.url, f"{path}?token={token(user)}", **options), user)
    t.first = await t.get()
    assert t.first["type"] == "connection_established" and t.first["user"] == user, t.first
    return t
