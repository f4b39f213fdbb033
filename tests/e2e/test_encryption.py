"""Per-client encryption (PROTOCOL A7): a client written with another crypto library decrypts."""
import asyncio
import base64
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backend import Backend
from client import connect
from test_events import error, static

INFO = b"ignis-ecdh-p256-aes-256-gcm-v1"


class Sealed:
    """An encrypted client: agrees on a key, opens what comes."""

    def __init__(self, client):
        self.c = client
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ivs = set()

    @property
    def public(self):
        return base64.b64encode(self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)).decode()

    async def enter(self, token):
        await self.c.say("authenticate", {"type": "Bearer", "token": token, "publicKey": self.public})
        m = await self.c.get()
        assert m["event"] == "connected", m  # in clear
        assert list(m["data"]) == ["id", "userId", "time", "serverPublicKey", "salt"]
        self.c.id = m["data"]["id"]
        server = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.b64decode(m["data"]["serverPublicKey"]))
        salt = base64.b64decode(m["data"]["salt"])
        assert len(salt) == 32
        secret = self.key.exchange(ec.ECDH(), server)
        self.aes = AESGCM(HKDF(hashes.SHA256(), 32, salt, INFO).derive(secret))
        return m["data"]

    async def get(self):
        m = await self.c.get()
        assert m["event"] == "encrypted" and list(m["data"]) == ["iv", "ct"], m
        iv = base64.b64decode(m["data"]["iv"])
        assert len(iv) == 12 and iv not in self.ivs
        self.ivs.add(iv)
        return json.loads(self.aes.decrypt(iv, base64.b64decode(m["data"]["ct"]), None))


def encrypted(**more):
    return {"endpoints": [{"path": "/ws", "protocol": "events", "auth": static("u1", "u2"), "require_encryption": True,
                           "encryption": "builtin", "rooms": {"join": ["public-*"], "publish": ["public-*"]}, **more},
                          {"path": "/clear", "protocol": "events", "auth": static("u1", "u2"),
                           "rooms": {"join": ["public-*"], "publish": ["public-*"]}}]}


async def test_everything_after_connected_is_sealed(broker):
    b = broker(**encrypted(acknowledge=True))
    s, other = Sealed(await connect(b.url)), Sealed(await connect(b.url))
    first, second = await s.enter("token-u1"), await other.enter("token-u2")
    assert first["serverPublicKey"] != second["serverPublicKey"] and first["salt"] != second["salt"]
    plain = await connect(b.url, "/clear")
    await plain.authenticate("token-u2")
    await s.c.say("join", {"rooms": ["public-a"]}, id=1)
    assert (await s.get())["event"] == "ack"
    await plain.join("public-a")
    b.ctl("send", "client", s.c.id, "direct", '{"n": 1.0}')
    assert await s.get() == {"event": "direct", "data": {"n": 1.0}}
    b.ctl("send", "user", "u1", "user", "null")
    assert await s.get() == {"event": "user", "data": None}
    b.ctl("send", "room", "public-a", "room", '"é"')
    assert await s.get() == {"event": "room", "data": "é"}
    assert await plain.get() == {"event": "room", "data": "é"}  # clear clients beside it are served in clear
    b.ctl("send", "all", "all")
    assert await s.get() == {"event": "all"}
    await s.c.raw("nonsense")
    assert await s.get() == error("Invalid message format")
    await s.c.say("authenticate")
    assert await s.get() == error("Already authenticated")


async def test_order_of_a_thousand(broker):
    b = broker(**encrypted())
    s = Sealed(await connect(b.url))
    await s.enter("token-u1")
    await s.c.say("join", {"rooms": ["public-a"]})
    plain = await connect(b.url, "/clear")
    await plain.authenticate("token-u2")
    await s.c.raw("{")
    await s.get()
    for i in range(1000):
        await plain.say("publish", {"room": "public-a", "event": "n", "data": i})
    assert [(await s.get())["data"] for _ in range(1000)] == list(range(1000))


async def refused(b, data, message, code, reason, path="/ws"):
    c = await connect(b.url, path)
    await c.say("authenticate", {"token": "token-u1", **data})
    if message:
        assert await c.get() == error(message), data
    assert await c.closed() == (code, reason), data


async def test_bad_keys(broker):
    b = broker(**encrypted())
    good = base64.b64decode(Sealed(None).public)
    for key in [None, "", 0, False]:
        await refused(b, {"publicKey": key}, "Encryption handshake failed", 4004, "Encryption required")
    await refused(b, {}, "Encryption handshake failed", 4004, "Encryption required")
    off_curve = good[:-1] + bytes([good[-1] ^ 1])
    for key in ["x", "AAAA", base64.b64encode(good).decode()[:-1], base64.b64encode(good).decode() + "\n",
                base64.b64encode(off_curve).decode(), base64.b64encode(b"\2" + good[1:33]).decode(),
                base64.b64encode(b"\0").decode(), base64.b64encode(good + b"x").decode(), 5, {"k": 1}]:
        await refused(b, {"publicKey": key}, "Authentication error", 4003, "Authentication failed")
    assert b.counter("encryption_refused") == 5


async def test_required_but_not_configured(broker):
    b = broker(**encrypted(encryption="none"))
    await refused(b, {"publicKey": Sealed(None).public}, None, 4004, "Encryption required")
    await refused(b, {"token": "wrong"}, "Authentication failed", 4003, "Authentication failed")  # credentials first


async def test_not_required_ignores_the_offer(broker):
    b = broker(**encrypted(require_encryption=False))
    c = await connect(b.url)
    await c.say("authenticate", {"token": "token-u1", "publicKey": Sealed(None).public})
    m = await c.get()
    assert list(m["data"]) == ["id", "userId", "time"]
    b.ctl("send", "all", "clear")
    assert await c.get() == {"event": "clear"}


async def test_handshake_hook(broker):
    key = b"k" * 32
    answer = {"serverPublicKey": "spk", "salt": "salt", "sessionKey": base64.b64encode(key).decode()}
    h = Backend(handshake=lambda q: q["data"].get("answer") and (200, answer) or (200, None if "none" in q["data"] else b"null"))
    try:
        b = broker(**encrypted(encryption="hook", hooks={"handshake": h.url}))
        c = await connect(b.url)
        await c.say("authenticate", {"token": "token-u1", "answer": 1})
        m = await c.get()
        assert (m["data"]["serverPublicKey"], m["data"]["salt"]) == ("spk", "salt")
        assert "sessionKey" not in json.dumps(m) and answer["sessionKey"] not in b.log()
        assert h.seen("handshake")[0]["userId"] == "u1" and h.seen("handshake")[0]["data"]["answer"] == 1
        b.ctl("send", "all", "x")
        m = await c.get()
        iv, ct = (base64.b64decode(m["data"][k]) for k in ("iv", "ct"))
        assert json.loads(AESGCM(key).decrypt(iv, ct, None)) == {"event": "x"}
        await refused(b, {}, "Encryption handshake failed", 4004, "Encryption required")
        await refused(b, {"none": 1}, "Authentication error", 4003, "Authentication failed")  # 200 and nothing: threw
        for status, message, code, reason in [(403, "Encryption handshake failed", 4004, "Encryption required"),
                                              (500, "Authentication error", 4003, "Authentication failed")]:
            h.answers["handshake"] = (status, None)
            await refused(b, {}, message, code, reason)
        h.answers["handshake"] = (200, {**answer, "sessionKey": "short"})
        await refused(b, {}, "Authentication error", 4003, "Authentication failed")
    finally:
        h.close()


async def test_slow_handshake_times_out(broker):
    import time
    h = Backend(handshake=lambda q: time.sleep(3) or (204, None))
    try:
        b = broker(**encrypted(encryption="hook", auth_timeout="300ms", hooks={"handshake": h.url}))
        c = await connect(b.url)
        await c.say("authenticate", {"token": "token-u1"})
        await c.say("custom")
        assert await c.get() == error("Not authenticated")
        assert await c.closed() == (4001, "Authentication timeout")
        await asyncio.sleep(0)
    finally:
        h.close()
