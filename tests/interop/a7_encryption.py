"""A7: encryption. The clients use the package's own class, so that it is the judge of heliod's messages too."""
import asyncio
import base64
import json

from rows import row
from a3_states import ending


class Sealed:
    """An encrypted client: its key pair and its reading of what comes live in the Bun process."""

    def __init__(self, conn):
        self.conn, self.app = conn, conn.side.app
        self.pair = self.app.control("key")
        self.ivs = set()

    async def enter(self, token="user u1", **data):
        await self.conn.enter(token, publicKey=self.pair["publicKey"], **data)
        self.members = list(self.conn.connected)
        return self

    async def sealed(self):
        """One message as it stands on the wire, which has to be encrypted: {"iv", "ct"}."""
        m = json.loads(await asyncio.wait_for(self.conn.ws.recv(), 20))
        assert list(m) == ["event", "data"] and m["event"] == "encrypted" and list(m["data"]) == ["iv", "ct"], m
        assert len(base64.b64decode(m["data"]["iv"], validate=True)) == 12 and m["data"]["iv"] not in self.ivs
        self.ivs.add(m["data"]["iv"])
        return m["data"]

    async def get(self, n=1):
        """n messages, opened."""
        messages = [await self.sealed() for _ in range(n)]
        texts = self.app.control("open", index=self.pair["index"], serverPublicKey=self.conn.connected["serverPublicKey"],
                                 salt=self.conn.connected["salt"], messages=messages)
        return [self.conn.side.rename(t) for t in texts]


async def sealed(s, profile="sealed", token="user u1", **data):
    return await Sealed(await s.open(profile)).enter(token, **data)


@row("A7")
async def connected_carries_the_keys_in_clear(s):
    seen = {}
    first, second = [await sealed(s) for _ in range(2)]
    for name, c in [("first", first), ("second", second), ("hook", await sealed(s, "shaken")),
                    ("anonymous", await sealed(s, token="anonymous"))]:
        key, salt = (base64.b64decode(c.conn.connected[k], validate=True) for k in ("serverPublicKey", "salt"))
        seen[name] = [c.members, len(key), key[0], len(salt)]
    a, b = first.conn.connected, second.conn.connected
    return {**seen, "fresh": a["serverPublicKey"] != b["serverPublicKey"] and a["salt"] != b["salt"]}


async def every_kind(s, profile):
    c = await sealed(s, profile)
    seen = {}
    await c.conn.say("join", {"rooms": ["public-a"]})
    await c.conn.raw("x")
    seen["error"] = await c.get()
    s.app.emit("toClient", clientId=c.conn.id, event="client", data={"é": [1, None]})
    seen["client"] = await c.get()
    s.app.emit("toUser", userId="u1", event="user", data="é")
    seen["user"] = await c.get()
    s.app.emit("toRoom", room="public-a", event="room", data=None)
    seen["room"] = await c.get()
    s.app.emit("toRoom", room=c.conn.id, event="own room", exclude=["x"])
    seen["own room"] = await c.get()
    s.app.emit("broadcast", event="broadcast", data=False)
    seen["broadcast"] = await c.get()
    s.send("public-a", "room again", {"n": 1}, profile=profile)
    seen["sent to the room"] = await c.get()
    s.send(None, "to all", {"n": 1}, profile=profile)
    seen["sent to all"] = await c.get()
    await c.conn.raw('{"event":"encrypted","data":{"iv":"AAAA","ct":"AAAA"}}')
    seen["inbound encrypted is an ordinary event"] = await c.get()
    await c.conn.say("authenticate")
    seen["another error"] = await c.get()
    await c.conn.say("heartbeat")
    await c.conn.raw('{"event":"x","data":"%s"}' % ("é" * 60000))
    seen["large"] = await c.get()
    return seen


@row("A7")
async def everything_after_it_is_encrypted(s):
    return await every_kind(s, "sealed")


@row("A7")
async def also_with_a_session_key_of_the_application(s):
    return await every_kind(s, "shaken")


@row("A7")
async def many_messages(s):
    """All come, once. In order from heliod only: the original encrypts concurrently (A7 Q)."""
    c = await sealed(s)
    for i in range(300):
        await c.conn.raw('{"event":"n","data":%d}' % i)
    got = [json.loads(t)["data"]["data"] for t in await c.get(300)]
    assert s.name == "genuine" or got == list(range(300))
    return {"all": sorted(got)}


async def turned_away(s, profile, **data):
    c = await s.open(profile)
    await c.say("authenticate", {"token": "user u1", **data})
    return await ending(c)


@row("A6")
async def bad_public_keys(s):
    good = base64.b64decode(s.app.control("key")["publicKey"])
    text = base64.b64encode(good).decode()
    bad = {"no base64": "x", "too short": "AAAA", "cut": text[:-1], "newline": text + "\n", "blank": " " + text[1:],
           "url alphabet": "B_-/" + text[4:],
           "off the curve": base64.b64encode(good[:-1] + bytes([good[-1] ^ 1])).decode(), "at infinity": "AA==",
           "one byte more": base64.b64encode(good + b"x").decode(), "zeros": base64.b64encode(b"\4" + bytes(64)).decode(),
           "no padding": text.rstrip("="), "a number": 5, "an object": {"k": 1}, "true": True, "a list": [text]}
    seen = {}
    for profile in ["sealed", "shaken"]:
        for name, key in bad.items():
            seen[f"{profile}: {name}"] = await turned_away(s, profile, publicKey=key)
        for key in ["", None, 0, False]:
            seen[f"{profile}: {key!r}"] = await turned_away(s, profile, publicKey=key)
        seen[f"{profile}: none"] = await turned_away(s, profile)
    return seen


@row("A7", at={"compressed": ("connected", "error", "A7: 65 bytes, uncompressed"),
               "bits behind the last byte": ("connected", "error", "A7: base64 is read strictly (RFC 4648 section 3.5)")})
async def odd_public_keys(s):
    """What base64 decoders and key readers disagree about."""
    pair = s.app.control("key")["publicKey"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    point = base64.b64decode(pair)
    odd = {"bits behind the last byte": pair[:-2] + alphabet[alphabet.index(pair[-2]) + 1] + "=",
           "compressed": base64.b64encode(bytes([2 + point[-1] % 2]) + point[1:33]).decode(),
           "hybrid": base64.b64encode(bytes([6 + point[-1] % 2]) + point[1:]).decode(),
           "good": pair}
    seen = {}
    for name, key in odd.items():
        c = await s.open("sealed")
        await c.say("authenticate", {"token": "user u1", "publicKey": key})
        seen[name] = json.loads(await c.get())["event"]
    return seen


@row("A6")
async def handshakes_of_the_application(s):
    key = s.app.control("key")["publicKey"]
    seen = {verb: await turned_away(s, "shaken", publicKey=key, handshake=verb) for verb in ["null", "false", "throw"]}
    return {**seen, "refused first": await turned_away(s, "shaken", token="null", publicKey=key, handshake="throw")}


@row("A6")
async def required_but_not_configured(s):
    key = s.app.control("key")["publicKey"]
    return {"with a key": await turned_away(s, "unsealed", publicKey=key), "without": await turned_away(s, "unsealed"),
            "credentials first": await turned_away(s, "unsealed", token="null"),
            "thrown": await turned_away(s, "unsealed", token="throw")}


@row("A7")
async def not_required_ignores_the_offer(s):
    c = await s.enter(publicKey=s.app.control("key")["publicKey"])
    return {"members": list(c.connected), "clear": await c.told('{"event":"x"}')}


SLOW = "A9 row 1: a slow handshake is ended by the timer"


@row("A9", end=(["connected"], ["closed 4001 Authentication timeout"], SLOW), meanwhile=(
    "delivered in clear", '{"event":"error","data":{"message":"Not authenticated"}}',
    "A9 row 1: nothing is delivered before the handshake"))
async def a_slow_handshake(s):
    c = Sealed(await s.open("shaken"))
    await c.conn.say("authenticate", {"token": "user u1", "publicKey": c.pair["publicKey"], "handshake": "sleep 2000"})
    await asyncio.sleep(0.1)
    await c.conn.say("x")
    meanwhile = await c.conn.get()
    heard = await ending(c.conn) if s.name == "heliod" else [json.loads(await c.conn.get())["event"]]
    return {"meanwhile": "delivered in clear" if '"told"' in meanwhile else meanwhile, "end": heard}


@row("A7")
async def clear_clients_beside_encrypted_ones(s):
    c, d = await sealed(s), await s.enter()
    s.app.emit("toRoom", room="ws-default", event="x", data=1)
    s.app.emit("toUser", userId="u1", event="y", data=2)
    return {"encrypted": await c.get(2), "clear": await s.drain(d)}
