"""Signaling rooms while everything dies: what each client has been told is consistent at every moment, and true when it is quiet again."""
import asyncio
import contextlib
import json
import os
import random
import signal
import time

import pytest
import websockets

import client
from conftest import SLACK, eventually
from test_signaling import PATH, endpoint, knock

ROOMS = ["r1", "r2", "r3"]
ROLES = ["a", "b", "c"]


class Watcher:
    """Somebody in a room who believes what it is told."""

    def __init__(self, c, joined):
        self.c, self.id, self.room, self.role = c, joined["id"], joined["room"], joined["userType"]
        self.peers = {p["id"]: p["userType"] for p in joined["peers"]}
        assert len(self.peers) == len(joined["peers"]) and self.id not in self.peers
        self.heard = []
        self.wrong = None
        self.alive = True
        self.task = asyncio.ensure_future(self.read())

    async def read(self):
        try:
            while True:
                self.take(json.loads(await self.c.ws.recv()))
        except websockets.ConnectionClosed:
            pass
        except AssertionError as e:
            self.wrong = e
        self.alive = False

    def take(self, m):
        kind = m["type"]
        if kind == "user-joined":
            assert m["id"] not in self.peers and m["id"] != self.id, f"joined twice {m}"
            self.peers[m["id"]] = m["userType"]
        elif kind == "user-left":
            assert self.peers.pop(m["id"], None) == m["userType"], f"left without being there {m}"
        elif kind == "user-returned":
            assert self.peers.pop(m["was"], None) == m["userType"] and m["id"] not in self.peers, f"returned from nowhere {m}"
            self.peers[m["id"]] = m["userType"]
        else:
            assert kind == "mark" and m["from"]["id"] in self.peers, f"from a stranger {m}"
            self.heard.append(m["n"])


async def attempt(node, room, role, session):
    try:
        c = await knock(node, room, role, session=session)
        m = await asyncio.wait_for(c.ws.recv(), 30)
    except (OSError, websockets.WebSocketException, asyncio.TimeoutError):
        return None
    return Watcher(c, json.loads(m))


async def quiet(watchers, nodes):
    """Nobody is in a room but those who live, and each of them knows the others."""
    def problem():
        live = [w for w in watchers if w.alive]
        for w in live:
            assert not w.wrong, w.wrong
            want = {o.id: o.role for o in live if o.room == w.room and o is not w}
            if w.peers != want:
                return f"{w.room}: {w.id} {w.role} thinks {w.peers} instead of {want}"
        for room in ROOMS:
            roles = [w.role for w in live if w.room == room]
            assert len(roles) == len(set(roles)), f"{room}: a role twice {roles}"

    end = time.monotonic() + 25 * SLACK
    while why := problem():
        assert time.monotonic() < end, why + "\n" + "\n".join(n.log()[-3000:] for n in nodes)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("grace", ["0s", "700ms"])
async def test_chaos(broker, redis_server, grace):
    rng = random.Random(time.time())
    r = redis_server()
    keys = dict(workers=2, redis={"url": r.url, "connect_timeout": "1s"}, **endpoint(room_size=3, grace=grace))
    nodes = [broker(name, **keys) for name in "ab"]
    watchers = []

    async def some(n):
        found = await asyncio.gather(*(attempt(rng.choice(nodes), rng.choice(ROOMS), rng.choice(ROLES), rng.choice([None, f"session-{rng.randrange(4)}"]))
                                       for _ in range(n)))
        watchers.extend(w for w in found if w)

    async def leave():
        for w in rng.sample(live := [w for w in watchers if w.alive], min(2, len(live))):
            how = rng.randrange(3)
            with contextlib.suppress(websockets.ConnectionClosed):
                if how == 0:
                    await w.c.ws.send('{"type":"leave"}')
                elif how == 1:
                    await w.c.ws.close(4000)
                else:
                    w.c.ws.transport.abort()
                await asyncio.wait_for(asyncio.shield(w.task), 20)

    def kill_worker():
        os.kill(rng.choice(rng.choice(nodes).workers())["pid"], signal.SIGKILL)

    def cut_bus():
        for kind in ("pubsub", "normal"):
            r.client().client_kill_filter(_type=kind)

    deeds = [lambda: some(3)] * 5 + [leave] * 3
    end = time.monotonic() + 6
    while time.monotonic() < end:
        await rng.choice(deeds)()
    await quiet(watchers, nodes)
    for disaster in (kill_worker, cut_bus, kill_worker, cut_bus):
        disaster()
        for _ in range(4):
            await rng.choice(deeds)()
    for n in nodes:
        eventually(lambda: len(n.workers()) == 2 and n.http()[0] == 200, 20, "all is up")
    await quiet(watchers, nodes)
    r.kill()
    await leave()
    await leave()
    r.start()
    for n in nodes:
        eventually(lambda: n.http()[0] == 200, 20, "all is up")
    await some(3)
    await quiet(watchers, nodes)
    for pid in [w["pid"] for w in nodes[1].workers()] + [nodes[1].proc.pid]:
        os.kill(pid, signal.SIGKILL)
    nodes[1].proc.wait()
    await quiet(watchers, nodes[:1])
    nodes.pop()
    await some(3)
    await quiet(watchers, nodes)
    live = [w for w in watchers if w.alive]
    for n, w in enumerate(live):
        await w.c.ws.send(json.dumps({"type": "mark", "n": n}))
    for w in live:
        want = sorted(n for n, o in enumerate(live) if o.room == w.room and o is not w)
        while sorted(w.heard) != want:
            assert len(w.heard) < len(want) and not w.wrong, (w.heard, want, w.wrong)
            await asyncio.sleep(0.02)
    for w in watchers:
        assert not w.wrong, w.wrong
        w.task.cancel()
