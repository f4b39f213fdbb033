"""Small words around Debian's python3-websockets, so that tests read as the protocol does."""
import asyncio
import json
import os

import websockets

import hush

WAIT = 10
left_open = []  # by the test under way


def abandon():
    """What a test leaves open vanishes at its end, without a handshake."""
    while left_open:
        left_open.pop().ws.transport.abort()


class Overheard(websockets.WebSocketClientProtocol):
    async def send(self, message):
        hush.said(message)
        await super().send(message)

    async def recv(self):
        message = await super().recv()
        hush.told(message)
        return message


class Client:
    """A client of the event protocol."""

    def __init__(self, ws):
        self.ws = ws
        self.id = None
        self.connected = None

    async def say(self, event, data=None, **more):
        message = {"event": event, **more}
        if data is not None:
            message["data"] = data
        await self.ws.send(json.dumps(message))

    async def raw(self, text):
        await self.ws.send(text)

    async def get(self, seconds=WAIT):
        return json.loads(await asyncio.wait_for(self.ws.recv(), seconds))

    async def authenticate(self, token=None, **data):
        await self.say("authenticate", {"type": "Bearer", **({"token": token} if token else {}), **data})
        message = await self.get()
        assert message["event"] == "connected", message
        self.connected = message["data"]
        self.id = message["data"]["id"]
        return self

    async def join(self, *rooms):
        """Waits for the effect: joins have no answer, but messages behind them are handled after them."""
        await self.say("join", {"rooms": list(rooms)})
        await self.flush()

    async def flush(self):
        """All that was sent has been handled when this error comes back."""
        await self.raw("flush?")
        message = await self.get()
        assert message == {"event": "error", "data": {"message": "Invalid message format"}}, message

    async def closed(self, seconds=WAIT):
        """(code, reason) of the end; messages on the way are an error."""
        try:
            while True:
                message = await asyncio.wait_for(self.ws.recv(), seconds)
                raise AssertionError(f"a message instead of the end: {message}")
        except websockets.ConnectionClosed:
            return self.ws.close_code, self.ws.close_reason

    async def close(self):
        await self.ws.close()


async def connect(url, path="/ws", **options):
    options.setdefault("ping_interval", None)
    options.setdefault("compression", "deflate" if os.environ.get("HELIOD_COMPRESSION") else None)
    options.setdefault("max_size", None)
    hush.opened(path, options.get("extra_headers"), options.get("subprotocols"))
    client = Client(await websockets.connect(url + path, create_protocol=Overheard, **options))
    left_open.append(client)
    return client


async def entered(url, path="/ws", token=None, **data):
    """Connected and authenticated."""
    return await (await connect(url, path)).authenticate(token, **data)
