"""Ten thousand random deeds on two nodes of two workers, while workers and a node are killed: nothing published is lost, every
tab hears what is published while it is there, and in the end all counts are what a recount gives."""
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import time

import redis
import websockets

from client import connect
from conftest import SLACK
from crowd import until
from inbox import KEY, PATH, inboxes, serving, token

DEEDS, RUNNERS, SEED = 10000, 12, int(os.environ.get("HELIOD_SEED", time.time()))
PEOPLE = ["ada", "bela", "cleo", "dov"]
EVERYBODY = "*"


class Api:
    """A kept connection to one node."""

    def __init__(self, node):
        self.node, self.streams = node, None

    async def post(self, body):
        """status"""
        if not self.streams:
            self.streams = await asyncio.open_connection("127.0.0.1", self.node.port)
        reader, writer = self.streams
        text = json.dumps(body)
        writer.write((f"POST /api/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
                      f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
        if "connection: close" in head:
            self.drop()
        return int(head.split()[1])

    def drop(self):
        if self.streams:
            self.streams[1].transport.abort()
        self.streams = None


class Tab:
    """Is connected to some node, and comes back when it is cut off. Knows what it heard in this session."""

    def __init__(self, world, person):
        self.world, self.person, self.c = world, person, None
        self.heard, self.count, self.since, self.answers = set(), None, None, asyncio.Queue()
        self.offline_until, self.asking = 0, asyncio.Lock()

    async def run(self):
        while not self.world.over:
            await asyncio.sleep(max(0.02, self.offline_until - time.monotonic()))
            try:
                await self.session()
            except (OSError, websockets.WebSocketException, asyncio.TimeoutError):
                pass
            self.since = None

    async def session(self):
        node = self.world.random.choice(self.world.nodes)
        self.c = await connect(node.url, f"{PATH}?token={token(self.person)}", open_timeout=10)
        first = await self.c.get()
        assert first["type"] == "connection_established" and first["user"] == self.person, first
        self.heard, self.count, self.answers = set(), first["unread_count"], asyncio.Queue()
        self.since = self.world.now()
        try:
            async for text in self.c.ws:
                self.hear(json.loads(text))
        finally:
            self.since = None
            self.answers.put_nowait(None)

    def hear(self, message):
        kind = message["type"]
        if kind == "notification":
            n = message["notification"]
            assert n["for"] in (self.person, EVERYBODY) and n["read"] is False, n
            self.heard.add(n["id"])
        elif kind == "unread_count":
            self.count = message["count"]
        else:
            self.answers.put_nowait(message)

    async def ask(self, message, answer):
        """The answer of that type; None when the connection was lost before, or the bus is away."""
        async with self.asking:
            answers = self.answers
            await self.c.raw(json.dumps(message))
            got = await asyncio.wait_for(answers.get(), 10 * SLACK)
        assert got is None or got["type"] == answer or got["code"] == "unavailable", got
        return got if got and got["type"] == answer else None

    async def done(self, message):
        """It has been carried out: what is asked behind it was answered, and no error before."""
        failed = False
        async with self.asking:
            answers = self.answers
            await self.c.raw(json.dumps(message))
            await self.c.raw('{"type":"ping"}')
            while (got := await asyncio.wait_for(answers.get(), 10 * SLACK)) and got["type"] != "pong":
                failed |= got["type"] == "error"
        return bool(got) and not failed


def kill(pid):
    if pid:  # a seat without a worker has none
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class World:
    def __init__(self, nodes, redis):
        self.nodes, self.redis, self.random, self.over = nodes, redis, random.Random(SEED), False
        self.clock, self.deeds = itertools.count(1), 0
        self.published = {p: {} for p in [*PEOPLE, EVERYBODY]}  # id → when the publishing began
        self.read = {p: set() for p in PEOPLE}                  # what was marked for certain
        self.tabs = [Tab(self, p) for p in PEOPLE for _ in range(3)]
        self.log, self.uncertain = [], 0

    def now(self):
        return next(self.clock)

    def ids_of(self, person):
        return {**self.published[person], **self.published[EVERYBODY]}

    def tab(self):
        here = [t for t in self.tabs if t.since]
        return self.random.choice(here) if here else None

    # ── deeds ──

    async def publish(self, api):
        whom = EVERYBODY if self.random.random() < 0.1 else self.random.choice(PEOPLE)
        began = self.now()
        note = {"id": f"{whom}-{began}", "for": whom, "n": began}
        body = {"broadcast": True} if whom == EVERYBODY else {"users": [whom, whom]}
        body["notification"] = note
        if self.random.random() < 0.15:
            await asyncio.to_thread(self.add, {"body": json.dumps(body)})
        else:
            await self.post(api, body)
        self.published[whom][note["id"]] = began

    def add(self, fields):
        while True:
            try:
                return self.redis.xadd("heliod:notify", fields)
            except redis.exceptions.ConnectionError:
                pass  # our own links are cut with the others

    async def post(self, api, body):
        """Again and again, at any node: the id makes it one."""
        end = time.monotonic() + 60 * SLACK
        while True:
            one = self.random.choice(api)
            try:
                status = await asyncio.wait_for(one.post(body), 20 * SLACK)
                if status == 200:
                    return
                assert status == 503, status
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                one.drop()
            self.uncertain += 1
            assert time.monotonic() < end, "nobody takes it"
            await asyncio.sleep(0.05)

    async def mark(self, _):
        if not (tab := self.tab()) or not tab.heard:
            return
        one = self.random.choice(sorted(tab.heard))
        if await tab.done({"type": "mark_read", "id": one}):
            self.read[tab.person].add(one)

    async def mark_all(self, _):
        if not (tab := self.tab()):
            return
        before = set(self.stored(tab.person))
        if await tab.done({"type": "mark_all_read"}):
            self.read[tab.person] |= before

    def stored(self, person):
        """Published for certain: not those that still are in the stream."""
        return [i for i in self.published[person]] if not self.redis_has() else []

    def redis_has(self):
        try:
            return self.redis.xlen("heliod:notify")
        except redis.exceptions.ConnectionError:
            return 1

    async def list(self, _):
        if not (tab := self.tab()):
            return
        got = await tab.ask({"type": "list", "limit": self.random.randint(1, 100)}, "list")
        assert not got or all(n["for"] in (tab.person, EVERYBODY) for n in got["notifications"])

    async def ping(self, _):
        if tab := self.tab():
            await tab.ask({"type": "ping"}, "pong")

    async def vanish(self, _):
        if tab := self.tab():
            tab.offline_until = time.monotonic() + self.random.random()
            if self.random.random() < 0.5:
                tab.c.ws.transport.abort()
            else:
                await tab.c.close()

    async def runner(self):
        api = [Api(n) for n in self.nodes]
        deeds = [self.publish] * 45 + [self.mark] * 30 + [self.list] * 10 + [self.ping] * 10 + [self.mark_all] + [self.vanish] * 4
        while self.deeds < DEEDS:
            self.deeds += 1
            try:
                await self.random.choice(deeds)(api)
            except (websockets.WebSocketException, OSError):
                pass  # of a tab: it was cut off meanwhile
        for one in api:
            one.drop()

    # ── killing ──

    async def kill_worker(self, node):
        workers = await asyncio.to_thread(node.workers)
        if workers:
            kill(self.random.choice(workers)["pid"])
            self.log.append((self.deeds, "a worker"))

    async def cut(self, _):
        """Every worker loses its bus, for a moment."""
        for kind in "pubsub", "normal":
            with contextlib.suppress(redis.exceptions.ConnectionError):
                await asyncio.to_thread(self.redis.client_kill_filter, _type=kind)
        self.log.append((self.deeds, "the bus"))

    async def kill_node(self, node):
        pids = [w["pid"] for w in await asyncio.to_thread(node.workers, None)]
        node.proc.kill()
        for pid in pids:
            kill(pid)
        await asyncio.to_thread(node.proc.wait)
        self.log.append((self.deeds, "a node"))
        await asyncio.sleep(1)
        await asyncio.to_thread(node.start, False)
        await until(lambda: node.http()[0] == 200, 30, "the node is back")

    async def killer(self):
        plan = [(DEEDS * k // 10, {3: self.cut, 5: self.kill_node, 7: self.cut}.get(k, self.kill_worker)) for k in range(1, 10)]
        for when, deed in plan:
            while self.deeds < when:
                await asyncio.sleep(0.01)
            await deed(self.random.choice(self.nodes))


async def whole_list(tab):
    got, before = [], {}
    while True:
        answer = await tab.ask({"type": "list", "limit": 100, **before}, "list")
        assert answer, "the tab was cut off at the end"
        got += answer["notifications"]
        if not answer["more"]:
            return got
        before = {"before": got[-1]["id"]}


async def check_person(w, person):
    tabs = [t for t in w.tabs if t.person == person]
    expected = w.ids_of(person)
    inbox = await whole_list(tabs[0])
    ids = [n["id"] for n in inbox]
    assert len(ids) == len(set(ids)) and set(ids) == set(expected), set(ids) ^ set(expected)
    read = {n["id"] for n in inbox if n["read"]}
    assert w.read[person] <= read, w.read[person] - read
    unread = len(ids) - len(read)
    await until(lambda: all(t.count == unread for t in tabs), 10, f"{[t.count for t in tabs]} are {unread}")
    for t in tabs:
        missed = {i for i, began in expected.items() if began > t.since} - t.heard - w.read[person]
        assert not missed, f"{person} was not told of {sorted(missed)[:5]} and {len(missed)} in all"


async def test_ten_thousand_deeds(broker, redis_server):
    server = redis_server()
    keys = {"redis": {"url": server.url}, "workers": 2, **inboxes(PEOPLE, inbox={"capacity": 10000})}
    nodes = await asyncio.to_thread(lambda: [serving(broker(name, **keys)) for name in "ab"])
    w = World(nodes, server.client())
    running = [asyncio.create_task(t.run()) for t in w.tabs]
    await until(lambda: all(t.since for t in w.tabs), 20, "all tabs are there")
    began = time.monotonic()
    try:
        await asyncio.gather(w.killer(), *[w.runner() for _ in range(RUNNERS)])
        print(f"seed {SEED}: {w.deeds} deeds in {time.monotonic() - began:.1f} s, killed {w.log}, {w.uncertain} posts repeated, "
              f"{ {p: len(i) for p, i in w.published.items()} } published")
        await until(lambda: all(t.since for t in w.tabs), 20, "all tabs are back")
        await until(lambda: w.redis_has() == 0, 30, "the stream is empty")
        for person in PEOPLE:
            await check_person(w, person)
    finally:
        w.over = True
        for task in running:
            if task.done() and not task.cancelled() and task.exception():
                raise task.exception()
            task.cancel()
