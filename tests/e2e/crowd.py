"""Clients that talk without end and account for every message, a loop that connects without end, and looks at processes."""
import asyncio
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import websockets

from client import connect, entered
from conftest import BUILD, SLACK, eventually


# ── processes ──

def heliod(*args, **options):
    options.setdefault("timeout", 60 * SLACK)
    return subprocess.run([BUILD / "heliod", *map(str, args)], capture_output=True, text=True, **options)


def with_bus(redis_server):
    return {"redis": {"url": redis_server().url}}


def pid_of(b, slot):
    found = [w for w in b.workers(None) if w["slot"] == slot and w["state"] in ("running", "starting")]
    return found[0]["pid"] if found else 0


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    """{pid: command} of its living children."""
    found = {}
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (p / "stat").read_text().rpartition(")")
        except OSError:
            continue
        if rest.split()[1] == str(pid) and rest.split()[0] != "Z":
            found[int(p.name)] = name.partition("(")[2]
    return found


async def until(check, seconds=10, what="condition"):
    """eventually(), with the event loop running on: clients of the test answer meanwhile."""
    return await asyncio.to_thread(eventually, check, seconds, what)


async def ctl(b, *args, check=True):
    return await asyncio.to_thread(lambda: b.ctl(*args, check=check))


# ── being served ──

def echo_works(port, path="/echo", host="127.0.0.1"):
    async def once():
        c = await connect(f"ws://{host}:{port}", path, open_timeout=20)
        await c.raw("hello")
        assert await asyncio.wait_for(c.ws.recv(), 20) == "hello"
        await c.close()

    asyncio.run(once())


REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Connecting(threading.Thread):
    """Connects, asks /health and hangs up, again and again; nobody may be refused or cut off. Only a worker that is killed by
    kill() may take one with it: the one it has accepted already, and that is cut off, not refused."""

    def __init__(self, b):
        super().__init__(daemon=True)
        self.b, self.done, self.served, self.failed, self.kills = b, False, 0, [], []

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        self.kills.append(time.monotonic())

    def once(self):
        with socket.create_connection(("127.0.0.1", self.b.port), timeout=20) as s:
            s.sendall(REQUEST)
            data = s.recv(65536)
        if not data:
            raise ConnectionResetError("cut off")
        assert data.startswith(b"HTTP/1.1 200"), data

    def run(self):
        while not self.done:
            began = time.monotonic()
            try:
                self.once()
                self.served += 1
            except Exception as e:
                self.failed.append((began, time.monotonic(), e))

    def refused(self):
        kills, found = list(self.kills), []
        for began, ended, e in self.failed:
            its = [t for t in kills if began <= t <= ended + 1 and isinstance(e, (ConnectionResetError, BrokenPipeError))]
            if its:
                kills.remove(its[0])
            else:
                found.append(repr(e))
        return found

    def __enter__(self):
        self.start()
        eventually(lambda: self.served > 0, 10, "the loop is served")
        return self

    def __exit__(self, *_):
        before = self.served
        eventually(lambda: self.served > before + 10, 10, "the loop is still served")
        self.done = True
        self.join()
        assert not self.refused(), self.refused()[:3]


# ── talking ──

class Echoing:
    """Sends numbered texts of many sizes, a few ahead, and expects each back, in order."""

    def __init__(self, c):
        self.c, self.sent, self.got, self.end = c, 0, 0, None

    def text(self, n):
        return f"{n}:" + "x" * (n * 37 % 3000)

    async def run(self, crowd):
        try:
            while not crowd.stopping or self.got < self.sent:
                while self.sent < self.got + 4 and not crowd.stopping:
                    await self.c.raw(self.text(self.sent))
                    self.sent += 1
                assert await asyncio.wait_for(self.c.ws.recv(), 60) == self.text(self.got)
                self.got += 1
                await asyncio.sleep(0.002)
        except websockets.ConnectionClosed:
            self.end = self.c.ws.close_code, self.c.ws.close_reason


class Member:
    """Publishes numbers to the room that all members share, and expects those of each other member in order, none twice."""

    def __init__(self, c, number):
        self.c, self.number, self.sent, self.seen, self.end = c, number, 0, {}, None

    async def publish(self, crowd):
        try:
            while not crowd.stopping:
                await self.c.say("publish", {"room": "public-crowd", "event": "n", "data": [self.number, self.sent]})
                self.sent += 1
                await asyncio.sleep(0.01)
        except websockets.ConnectionClosed:
            pass

    async def listen(self):
        try:
            while True:
                message = json.loads(await self.c.ws.recv())
                assert message["event"] == "n", message
                who, n = message["data"]
                assert n == self.seen.get(who, 0), f"member {self.number}: {n} of {who} instead of {self.seen.get(who, 0)}"
                self.seen[who] = n + 1
        except websockets.ConnectionClosed:
            self.end = self.c.ws.close_code, self.c.ws.close_reason


class Crowd:
    """Echo clients and members of a room, on every worker, talking until finish()."""

    ENDPOINTS = {"endpoints": [
        {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"},
         "rooms": {"join": ["public-*"], "publish": ["public-*"]}},
        {"path": "/echo", "protocol": "echo", "max_message": "16MiB"},
    ]}

    def __init__(self, b):
        self.b, self.stopping, self.talkers, self.slot = b, False, [], {}
        self.echoing, self.members, self.tasks = [], [], []

    async def enter(self, n=6, each=2):
        """n of each kind, and at least `each` of each kind on every worker."""
        while len(self.members) < n or not await self.is_spread(each):
            assert len(self.members) < 100
            self.echoing.append(Echoing(await connect(self.b.url, "/echo")))
            self.members.append(Member(await entered(self.b.url), len(self.members)))
            await self.members[-1].c.join("public-crowd")
        run = [e.run(self) for e in self.echoing] + [m.listen() for m in self.members] + [m.publish(self) for m in self.members]
        self.tasks = [asyncio.create_task(r) for r in run]
        self.talkers = self.echoing + self.members
        await self.progress()
        return self

    async def is_spread(self, each):
        rows = await asyncio.to_thread(self.b.rows, "show", "connections")
        slots = {r["address"]: r["slot"] for r in rows}
        self.slot = {t: slots.get("%s:%d" % t.c.ws.local_address[:2]) for t in self.echoing + self.members}
        return all([self.slot[t] for t in kind].count(w["slot"]) >= each
                   for kind in (self.echoing, self.members) for w in self.b.workers())

    def of(self, slot):
        return [t for t in self.talkers if self.slot[t] == slot]

    def living(self):
        return [t for t in self.talkers if t.end is None]

    def check(self):
        for t in self.tasks:
            if t.done() and not t.cancelled() and t.exception():
                raise t.exception()

    async def wait(self, condition, what):
        end = time.monotonic() + 20 * SLACK
        while not condition():
            self.check()
            assert time.monotonic() < end, what
            await asyncio.sleep(0.01)

    async def progress(self):
        """Everybody alive has said and heard more since."""
        before = {t: (t.got if isinstance(t, Echoing) else t.sent) for t in self.living()}
        await self.wait(lambda: all((t.got if isinstance(t, Echoing) else t.sent) > n + 5 for t, n in before.items() if not t.end),
                        "the crowd talks on")

    def is_settled(self):
        members = [m for m in self.members if m.end is None]
        return all(e.got == e.sent for e in self.echoing if e.end is None) and \
            all(m.seen.get(o.number, 0) == o.sent for m in members for o in members if o is not m)

    async def finish(self, staying=None):
        """Those who were to stay (everybody) are still there, and all that they said has arrived at each of them."""
        self.stopping = True
        await self.wait(self.is_settled, "every message arrives")
        lost = [(type(t).__name__, t.end) for t in staying or self.talkers if t.end]
        assert not lost, lost
        for t in self.living():
            await t.c.close()
        await asyncio.gather(*self.tasks)
