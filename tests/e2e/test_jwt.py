"""JWT authentication over a real socket: tokens are made here with another crypto library, keys come as they do in practice."""
import base64
import hmac
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

from client import connect, entered
from conftest import eventually, free_port
from test_events import error
from test_supervisor import heliod

SECRET = "a shared secret that is long enough for every hash that HS can use: 64+"
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value):
    return value if isinstance(value, str) else b64(json.dumps(value, separators=(",", ":")).encode())


class Hmac:
    def __init__(self, secret=SECRET):
        self.secret = secret
        self.public = secret

    def sign(self, alg, data):
        return hmac.new(self.secret.encode(), data, "sha" + alg[2:]).digest()


class Key:
    """A private key that signs, and its public half as PEM."""

    def __init__(self, private):
        self.private = private
        self.public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, alg, data):
        if isinstance(self.private, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
            return self.private.sign(data)
        digest = HASHES[alg[2:]]()
        if isinstance(self.private, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return self.private.sign(data, pss if alg.startswith("PS") else padding.PKCS1v15(), digest)
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
        n = (self.private.curve.key_size + 7) // 8
        return r.to_bytes(n, "big") + s.to_bytes(n, "big")


def ecdsa(curve):
    return Key(ec.generate_private_key(curve()))


RSA, OTHER_RSA = (Key(rsa.generate_private_key(65537, 2048)) for _ in range(2))
ED = Key(ed25519.Ed25519PrivateKey.generate())
SIGNERS = {
    **{a: Hmac() for a in ("HS256", "HS384", "HS512")},
    **{a: RSA for a in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": ecdsa(ec.SECP256R1), "ES384": ecdsa(ec.SECP384R1), "ES512": ecdsa(ec.SECP521R1), "EdDSA": ED,
}


def claims(**more):
    """Good for five minutes; a claim that is given as None is left out."""
    all_ = {"sub": "u1", "exp": int(time.time()) + 300, **more}
    return {k: v for k, v in all_.items() if v is not None}


def token(signer=None, alg="HS256", payload=None, header=None, **more):
    head = {"alg": alg, "typ": "JWT", **(header or {})} if not isinstance(header, str) else header
    signed = part(head) + "." + part(payload if payload is not None else claims(**more))
    return signed + "." + b64((signer or SIGNERS[alg]).sign(alg, signed.encode()))


def jwt(path="/ws", **auth):
    auth.setdefault("algorithms", ["HS256"])
    if not any(k.startswith("key") for k in auth):
        auth["key"] = SECRET
    return {"path": path, "protocol": "events", "auth": {"method": "jwt", **auth}}


def endpoints(*rows):
    return {"endpoints": list(rows), "log": {"level": "debug", "target": "stderr"}}


async def refused(b, text, path="/ws", what=""):
    c = await connect(b.url, path)
    await c.say("authenticate", {"type": "Bearer", "token": text})
    assert await c.get() == error("Authentication failed"), what
    assert await c.closed() == (4003, "Authentication failed"), what


def assert_unseen(b, *texts):
    """No token, no part of one, no secret in what heliod says about itself."""
    told = b.log() + b.ctl("show", "config").stdout + b.ctl("--json", "show", "connections").stdout
    for text in texts:
        for piece in [text, *text.split(".")]:
            assert len(piece) < 8 or piece not in told, f"{piece} shown"


# ---- algorithms ----


async def test_every_algorithm(broker):
    rows = [jwt("/" + alg, algorithms=[alg], key=signer.public) for alg, signer in SIGNERS.items()]
    b = broker(**endpoints(*rows))
    for alg in SIGNERS:
        c = await entered(b.url, "/" + alg, token=token(alg=alg, sub="user of " + alg))
        assert c.connected["userId"] == "user of " + alg
    seen = []
    for alg in SIGNERS:  # a good token for another endpoint, and a good one with one bit turned
        good = token(alg=alg)
        for path in SIGNERS:
            if path != alg:
                await refused(b, good, "/" + path, f"{alg} at {path}")
        head, body, signature = good.split(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        await refused(b, f"{head}.{body}.{b64(raw[:-1] + bytes([raw[-1] ^ 1]))}", "/" + alg, "bit turned")
        await refused(b, f"{head}.{part(claims(sub='admin'))}.{signature}", "/" + alg, "other claims")
        seen.append(good)
    n = len(SIGNERS)
    assert (b.counter("auth_accepted"), b.counter("auth_refused")) == (n, n * (n + 1))
    assert_unseen(b, SECRET, *seen)


async def test_one_key_serves_what_it_is_made_for(broker):
    """One list of algorithms, keys of several kinds: the token's alg may not bend a key (RFC 8725 section 2.1)."""
    keys = [{"kid": "rsa", "key": RSA.public}, {"kid": "ed", "key": ED.public}, {"kid": "hs", "key": SECRET}]
    b = broker(**endpoints(jwt(algorithms=["RS256", "EdDSA", "HS256"], keys=keys)))
    for kid, alg in [("rsa", "RS256"), ("ed", "EdDSA"), ("hs", "HS256"), (None, "RS256"), (None, "EdDSA"), (None, "HS256")]:
        header = {"kid": kid} if kid else {}
        assert (await entered(b.url, token=token(alg=alg, header=header))).connected["userId"] == "u1"
    confused = Hmac(RSA.public)  # the public key as a secret
    for kid in ["rsa", "ed", "hs", None]:
        await refused(b, token(confused, header={"kid": kid} if kid else {}), what=kid)
    await refused(b, token(alg="PS256"), what="an algorithm that is not listed")


# ---- refusals ----

GOOD = {"iss": "https://id.example", "aud": "chat"}


def raw_claims(text):
    return b64(text.encode())


def bad_claims(now):
    """Why → claims that differ from good ones, or all of them as they stand in the token."""
    rest = f'"exp":{now + 300},"iss":"https://id.example","aud":"chat"}}'
    return {
        "the token has expired": [{"exp": now - 31}, {"exp": 1}, {"exp": -5e300}],
        "exp is not a time in seconds": [{"exp": str(now + 300)}, {"exp": True}, raw_claims('{"sub":"u1","exp":null,"aud":"chat"}'),
                                         raw_claims('{"sub":"u1","exp":1e999}')],
        "the token has no exp": [{"exp": None}],
        "the token's nbf is in the future": [{"nbf": now + 120}],
        "the token's iat is in the future": [{"iat": now + 86400}],
        "nbf is not a time in seconds": [{"nbf": "soon"}],
        "iss is not auth.issuer": [{"iss": "https://evil.example"}, {"iss": "https://id.example/"}, {"iss": ["https://id.example"]},
                                   {"iss": "https://id.example\0"}, {"iss": None}],
        "aud does not hold auth.audience": [{"aud": "mail"}, {"aud": ["mail", "Chat", "chat "]}, {"aud": []}, {"aud": {"chat": 1}},
                                            {"aud": [["chat"]]}, {"aud": None}],
        "the claim sub (auth.user_claim) is no text and no integer": [
            {"sub": None}, {"sub": ""}, {"sub": {"id": 1}}, {"sub": 1.5}, {"sub": ["u1"]}, {"sub": True}, raw_claims('{"sub":null,' + rest)],
        "a claim stands there twice": [raw_claims('{"sub":"u1","sub":"u2",' + rest), raw_claims('{"aud":"chat","sub":"u1",' + rest)],
        "the claims are not a JSON object": ["", raw_claims("[]"), raw_claims("sub=u1"), raw_claims('{"sub":"u1","x":NaN,' + rest)],
    }


BAD_HEADERS = {
    "the token's alg is not one of auth.algorithms": [{"alg": "none"}, {"alg": "None"}, {"alg": "hs256"}, {"alg": "HS512"}, {"alg": ""}],
    "the header has no single alg": [{"alg": None}, {"alg": ["HS256"]}, {"alg": 256}],
    "the header has crit": [{"crit": ["exp"]}],
    "the token's kid is unknown": [{"kid": "green"}, {"kid": ""}, {"kid": "../../../dev/null"}],
    "the header's kid is not a single string": [{"kid": 1}, {"kid": ["blue"]}],
    "the signature is wrong": [{"kid": "other"}],
}


def bad_tokens():
    """(why, token)"""
    for why, all_ in bad_claims(int(time.time())).items():
        for bad in all_:
            yield why, token(payload=claims(**{**GOOD, **bad}) if isinstance(bad, dict) else bad)
    for why, all_ in BAD_HEADERS.items():
        for bad in all_:
            header = {k: v for k, v in {"alg": "HS256", "typ": "JWT", **bad}.items() if v is not None}
            yield why, token(header=part(header), **GOOD)
    head, body, signature = token(**GOOD).split(".")
    yield "the header has no single alg", token(header=b64(b'{"alg":"HS256","alg":"HS256"}'), **GOOD)
    yield "the token's alg is not one of auth.algorithms", f"{part({'alg': 'none'})}.{body}."
    for text in [f"{head}.{body}.", f"{head}.{body}.{signature[:-3]}", token(Hmac("wrong secret, " * 4), **GOOD),
                 f"{head}.{part(claims(sub='admin', **GOOD))}.{signature}"]:
        yield "the signature is wrong", text
    for text in [f"{head}.{body}.{signature}=", f"{head}.{body}.{signature[:-1]}+", f"{head}.{body}.{signature} "]:
        yield "the signature is not base64url", text
    yield "the header is not base64url", f"Bearer {head}.{body}.{signature}"
    yield "the header is not a JSON object", ".."
    for text in [f"{head}.{body}", f"{head}.{body}.{signature}.x", "x", "."]:
        yield "the token is not made of three parts", text
    yield "the token is longer than 8 KiB", token(pad="x" * 9000, **GOOD)
    yield "no token", ""


def strict():
    keys = [{"kid": "blue", "key": SECRET}, {"kid": "other", "key": "another secret, of no less than 32 bytes"}]
    return endpoints(jwt(keys=keys, issuer=GOOD["iss"], audience=GOOD["aud"]))


async def test_refusals(broker):
    """The client hears one and the same; why, the debug log tells."""
    b = broker(**strict())
    assert (await entered(b.url, token=token(header={"kid": "blue"}, **GOOD))).connected["userId"] == "u1"
    sent = list(bad_tokens())
    for why, text in sent:
        await refused(b, text, what=why)
    no_token = [None, 5, "text", [], {}, {"token": None}, {"token": 5}, {"token": [token(**GOOD)]}, {"Token": token(**GOOD)}]
    for data in no_token:
        c = await connect(b.url)
        await c.say("authenticate", data)
        assert await c.get() == error("Authentication failed"), data
        assert await c.closed() == (4003, "Authentication failed"), data

    def reasons():
        return [line.rpartition(": ")[2] for line in b.log().splitlines() if " refused " in line]

    logged = eventually(lambda: len(reasons()) >= len(sent) + len(no_token) and reasons(), 10, "all refusals logged")
    assert logged == [why for why, _ in sent] + ["no token"] * len(no_token)
    assert b.counter("auth_refused") == len(logged) and b.counter("auth_accepted") == 1
    assert_unseen(b, SECRET, *[text for _, text in sent])


async def test_what_is_accepted(broker):
    b = broker(**strict())
    now = int(time.time())
    for more in [{"exp": now + 86400 * 36500}, {"exp": now + 300.75}, {"exp": now - 1}, {"nbf": now - 5}, {"nbf": now + 10},
                 {"iat": now + 10}, {"aud": ["mail", "chat"]}, {"extra": {"sub": "not me"}}]:
        c = await entered(b.url, token=token(**{**GOOD, **more}))
        assert c.connected["userId"] == "u1", more


async def test_leeway_and_require_exp(broker):
    b = broker(**endpoints(jwt(leeway="0s"), jwt("/loose", leeway="10m", require_exp=False)))
    now = int(time.time())
    await refused(b, token(exp=now - 1))
    await refused(b, token(nbf=now + 60))
    for more in [{"exp": now - 500}, {"nbf": now + 500}, {"exp": None}]:
        await entered(b.url, "/loose", token=token(**more))
    await refused(b, token(exp=now - 700), "/loose")


async def test_expiry_is_judged_at_entry_unless_it_is_enforced(broker):
    b = broker(**endpoints(jwt(leeway="0s"), jwt("/strict", leeway="0s", enforce_expiry=True)))
    soon = int(time.time()) + 3
    loose = await entered(b.url, token=token(exp=soon))
    strict_ = await entered(b.url, "/strict", token=token(exp=soon))
    later = await entered(b.url, "/strict", token=token(exp=soon + 600))
    assert await strict_.closed() == (4001, "Token expired")
    assert time.time() >= soon
    for c in (loose, later):
        await c.flush()


@pytest.mark.parametrize("claim, value, user", [
    ("sub", "ü \"x\"\n*", "ü \"x\"\n*"), ("sub", 12345678901234567, "12345678901234567"), ("sub", -5, "-5"), ("sub", 0, "0"),
    ("email", "a@example.com", "a@example.com"), ("https://id.example/uid", "x", "x"),
])
async def test_user_claim(broker, claim, value, user):
    b = broker(**endpoints(jwt(user_claim=claim)))
    c = await entered(b.url, token=token(**{"sub": "nobody", claim: value}))
    assert c.connected["userId"] == user
    b.ctl("send", "user", user, "yours")
    assert await c.get() == {"event": "yours"}
    if claim != "sub":
        await refused(b, token(sub="u1"))


# ---- where keys come from ----


async def test_key_in_a_file_inline_and_in_the_environment(broker, workdir):
    pem = workdir / "rsa.pem"
    pem.write_text(RSA.public)
    secret = workdir / "secret"
    secret.write_text(SECRET + "\n")  # as an editor leaves it
    keys = [{"kid": "file", "key_file": str(pem)}, {"kid": "env", "key_env": "HELIOD_TEST_PEM"}, {"kid": "inline", "key": ED.public}]
    b = broker(env={"HELIOD_TEST_SECRET": SECRET, "HELIOD_TEST_PEM": OTHER_RSA.public}, **endpoints(
        jwt("/file", key_file=str(secret)), jwt("/inline", key=SECRET), jwt("/env", key_env="HELIOD_TEST_SECRET"),
        jwt("/keys", algorithms=["RS256", "EdDSA"], keys=keys)))
    for path in ["/file", "/inline", "/env"]:
        await entered(b.url, path, token=token())
        await refused(b, token(Hmac(SECRET + "x")), path)
    for kid, signer, alg in [("file", RSA, "RS256"), ("env", OTHER_RSA, "RS256"), ("inline", ED, "EdDSA")]:
        await entered(b.url, "/keys", token=token(signer, alg, header={"kid": kid}))
        await entered(b.url, "/keys", token=token(signer, alg))
    await refused(b, token(RSA, "RS256", header={"kid": "env"}), "/keys")
    assert_unseen(b, SECRET, *RSA.public.split("\n"), *ED.public.split("\n")[1:2])


BAD_KEYS = [
    ({"key_file": "/nowhere/jwt.pem"}, ["/nowhere/jwt.pem", "No such file"]), ({"key_env": "HELIOD_TEST_UNSET"}, ["HELIOD_TEST_UNSET"]),
    ({"key": SECRET, "key_env": "HOME"}, ["key"]), ({"key": RSA.public}, ["auth.key", "shared secret"]),
    ({"key": SECRET, "algorithms": ["RS256"]}, ["auth.key", "PEM"]), ({"key": SECRET, "algorithms": ["none"]}, ["unsigned"]),
    ({"key": SECRET, "algorithms": ["HS999"]}, ["HS999"]), ({"key": SECRET, "algorithms": []}, ["algorithms"]),
    ({"key": SECRET, "algorithms": ["HS256", "ES256"]}, ["algorithms", "PEM"]),
    ({"keys": [{"kid": "a", "key": SECRET}, {"kid": "a", "key": SECRET + "2"}]}, ["kid"]),
]
UNFIT_KEYS = [  # only who knows the key's inside can tell
    ({"key": "short"}, "auth.key: this is a shared secret of 5 bytes; at least 16 are needed"),
    ({"key": RSA.public, "algorithms": ["ES256"]}, "auth.key: an RSA key fits none of auth.algorithms (ES256)"),
    ({"key": RSA.public, "algorithms": ["RS256", "EdDSA"]}, "auth.algorithms: no key fits EdDSA"),
    ({"key": RSA.public.replace("A", "B"), "algorithms": ["RS256"]}, "auth.key: "),
]


def write(workdir, auth):
    conf = workdir / "heliod.yaml"
    conf.write_text(json.dumps({"run_dir": str(workdir / "run"), "listeners": [{"address": f"127.0.0.1:{free_port()}"}],
                                "endpoints": [jwt(**auth)]}, indent=1))
    return conf


@pytest.mark.parametrize("auth, words", BAD_KEYS)
def test_a_key_that_cannot_be_had_is_a_mistake_in_the_file(workdir, auth, words):
    done = heliod("-t", "-c", write(workdir, auth))
    assert done.returncode != 0
    assert "heliod.yaml:" in done.stderr and all(w in done.stderr for w in words), done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("auth, words", UNFIT_KEYS)
def test_an_unfit_key_stops_the_start(workdir, auth, words):
    done = heliod("-n", "-c", write(workdir, auth))
    assert done.returncode != 0 and "endpoint /ws: auth: " + words in done.stderr, done.stderr


# ---- rotation ----


async def test_rotation_by_reload(broker, workdir):
    """The file changes, the YAML does not: new tokens enter, old ones do not, those inside stay. Two workers."""
    key = workdir / "jwt.key"
    old, new = Hmac("the old secret, the old secret, the old secret"), Hmac("the new secret, the new secret, the new secret")
    key.write_text(old.secret)
    b = broker(workers=2, **endpoints(jwt(key_file=str(key))))
    inside = [await entered(b.url, token=token(old, sub=f"u{i}")) for i in range(8)]
    pids = {w["pid"] for w in b.workers()}
    text = b.conf.read_text()
    for _ in range(8):
        await refused(b, token(new))
    key.write_text(new.secret)
    await entered(b.url, token=token(old))  # nothing happens before the reload
    b.ctl("reload")
    assert b.conf.read_text() == text and {w["pid"] for w in b.workers()} == pids
    for i in range(8):  # both workers
        await refused(b, token(old))
        inside.append(await entered(b.url, token=token(new, sub="new")))
    b.ctl("send", "all", "still here")
    for c in inside:
        assert await c.get() == {"event": "still here"}
    assert_unseen(b, old.secret, new.secret, token(old), token(new))


async def test_a_bad_key_file_changes_nothing(broker, workdir):
    key = workdir / "jwt.pem"
    key.write_text(RSA.public)
    b = broker(**endpoints(jwt(algorithms=["RS256"], key_file=str(key))))
    inside = await entered(b.url, token=token(RSA, "RS256"))
    for bad in ["", "garbage", RSA.public.replace("\n", "", 2), ED.public, SECRET, None]:
        if bad is None:
            key.unlink()
        else:
            key.write_text(bad)
        done = b.ctl("reload", check=False)
        assert done.returncode != 0 and "key" in done.stdout + done.stderr, bad
        await entered(b.url, token=token(RSA, "RS256"))
    key.write_text(OTHER_RSA.public)
    b.ctl("reload")
    await refused(b, token(RSA, "RS256"))
    await entered(b.url, token=token(OTHER_RSA, "RS256"))
    await inside.flush()


async def test_rotation_with_two_kids(broker):
    """The way without a gap: both keys are known for a while."""
    old, new = Hmac("the old secret, the old secret, the old secret"), Hmac("the new secret, the new secret, the new secret")
    rows = [{"kid": "2025", "key": old.secret}, {"kid": "2026", "key": new.secret}]
    b = broker(**endpoints(jwt(keys=rows[:1])))
    await refused(b, token(new, header={"kid": "2026"}))
    for known, unknown in [(rows, None), (rows[1:], old)]:
        b.write(**endpoints(jwt(keys=known)))
        b.ctl("reload")
        await entered(b.url, token=token(new, header={"kid": "2026"}))
        if unknown:
            await refused(b, token(unknown, header={"kid": "2025"}))
            await refused(b, token(unknown))
        else:
            await entered(b.url, token=token(old, header={"kid": "2025"}))
            await entered(b.url, token=token(old))
            await refused(b, token(old, header={"kid": "2026"}))
