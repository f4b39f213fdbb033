"""Two servers that are spoken to in the same words. What a client hears is written down as text, exactly as it came, with
connection ids, times and other things that have to differ replaced by names."""
import asyncio
import json
import re
import urllib.request

import websockets

from client import connect

TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"')
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PROFILES = ("plain", "timers", "patient", "lobby", "bare", "sealed", "shaken", "unsealed")  # of server.ts and conftest.py
NOT_JSON = '{"event":"error","data":{"message":"Invalid message format"}}'


class App:
    """The Bun process: the genuine servers, the application behind both, the genuine emitter."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def control(self, op, **q):
        request = urllib.request.Request(self.url + "/control", json.dumps({"op": op, **q}).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def emit(self, to, **q):
        return self.control("emit", to=to, **q)


class Conn:
    """A client of one of the servers; `name` stands for its id in what is written down."""

    def __init__(self, side, name, ws):
        self.side, self.name, self.c, self.ws, self.id = side, name, ws, ws.ws, None
        self.connected = None

    async def say(self, event, data=None, **more):
        await self.c.say(event, data, **more)
        return self

    async def raw(self, *texts):
        for text in texts:
            await self.ws.send(text)
        return self

    async def get(self, seconds=20):
        """One message as text, or how the connection ended."""
        try:
            text = await asyncio.wait_for(self.ws.recv(), seconds)
        except websockets.ConnectionClosed:
            return f"closed {self.ws.close_code} {self.ws.close_reason}".strip()
        return self.side.rename(text)

    async def enter(self, token="user u1", **data):
        await self.say("authenticate", {"token": token, **data})
        text = await asyncio.wait_for(self.ws.recv(), 20)
        self.connected = json.loads(text)["data"]
        self.learn(self.connected["id"])
        return self

    def learn(self, id_):
        self.id = id_
        self.side.names[id_] = self.name

    async def until(self, last):
        """What comes before `last`, or up to the end of the connection."""
        heard = []
        while True:
            text = await self.get()
            if text == last:
                return heard
            heard.append(text)
            if text.startswith("closed "):
                return heard

    async def heard(self, *texts):
        """Sends them; what comes until all have been handled: the answer to a text that is not JSON, which none of them may be, ends it."""
        await self.raw(*texts, "all handled?")
        return await self.until(NOT_JSON)

    async def flush(self):
        assert await self.heard() == []
        return self

    async def told(self, *texts):
        """The same through the application: what comes until it has handled a last event."""
        await self.raw(*texts, '{"event":"order","data":[{"client":"%s","event":"last","data":0}]}' % self.id)
        return await self.until('{"event":"last","data":0}')

    async def join(self, *rooms):
        await self.say("join", {"rooms": list(rooms)})
        return await self.flush()

    async def leave(self, *rooms):
        await self.say("leave", {"rooms": list(rooms)})
        return await self.flush()

    async def order(self, *orders):
        """The application sends."""
        await self.say("order", list(orders))


class Side:
    def __init__(self, app, redis_port, name):
        self.app, self.redis_port, self.name = app, redis_port, name
        self.names, self.count = {}, 0

    def rename(self, text):
        for id_, name in self.names.items():
            text = text.replace(id_, f"<{name}>")
        return TIME.sub('"<time>"', text)

    def begin(self):
        self.names, self.count = {}, 0
        self.app.control("permit", rooms=[])
        for profile in PROFILES:
            self.calls(profile)
        return self

    async def open(self, profile="plain", path=None, **options):
        url, default = self.address(profile)
        self.count += 1
        return Conn(self, f"c{self.count}", await connect(url, path or default, **options))

    async def enter(self, token="user u1", profile="plain", **data):
        return await (await self.open(profile)).enter(token, **data)

    async def drain(self, *clients):
        """What each has heard before a broadcast of the genuine emitter; all that Redis carried earlier stands before it."""
        self.app.emit("broadcast", event="fence", data=None)
        heard = [await c.until('{"event":"fence","data":null}') for c in clients]
        return heard[0] if len(clients) == 1 else heard

    def calls(self, profile="plain"):
        """What the application was told since; ids by name."""
        return json.loads(self.rename(json.dumps(self.app.control("calls", server=self.calls_of(profile)))))

    async def calls_like(self, profile, *hooks):
        """Waits until as many calls of these hooks came; heliod's come over HTTP, behind the answer to the client."""
        seen = []
        for _ in range(500):
            seen += [c for c in self.calls(profile) if c["hook"] in hooks]
            if len(seen) >= len(hooks):
                break
            await asyncio.sleep(0.02)
        return seen


class Genuine(Side):
    def __init__(self, app, redis_port):
        super().__init__(app, redis_port, "genuine")
        self.ports = {}

    def address(self, profile):
        if profile not in self.ports:
            self.ports[profile] = self.app.control("start", server=profile, profile=profile)
        return f"ws://127.0.0.1:{self.ports[profile]}", "/ws"

    def port(self, profile="plain"):
        self.address(profile)
        return self.ports[profile]

    def calls_of(self, profile):
        return profile

    def send(self, destination, event, data=None, profile="plain"):
        """As its application does: no destination is everyone, otherwise the id of a client or a room's name."""
        self.app.control("send", server=profile, destination=destination, topic=event, data=data)

    def ids(self, profile="plain"):
        return self.app.control("clients", server=profile)


class Heliod(Side):
    def __init__(self, app, redis_port, broker):
        super().__init__(app, redis_port, "heliod")
        self.broker = broker

    def address(self, profile):
        return self.broker.url, "/ws" if profile == "plain" else "/" + profile

    def port(self, profile="plain"):
        return self.broker.port

    def calls_of(self, profile):
        return "heliod " + profile

    def send(self, destination, event, data=None, profile="plain"):
        """As an operator does with helioctl."""
        is_id = destination and UUID.fullmatch(destination)
        where = ["all"] if not destination else ["client" if is_id else "room", destination]
        self.broker.ctl("send", *where, event, json.dumps(data, separators=(",", ":"), ensure_ascii=False))

    def ids(self, profile="plain"):
        return [c["id"] for c in self.broker.rows("show", "connections")]
