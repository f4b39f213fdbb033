"""The opening handshake against a running broker: every rule of RFC 6455 §4.1 and §4.2.1 and of RFC 9112's request head, kept and
broken, and plain HTTP on the same port."""
import base64
import hashlib
import json
import os
import re
import select
import socket
import ssl
import time
from email.utils import parsedate_to_datetime

import pytest

from conftest import SLACK
from rawws import Raw, frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3, with its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HEADER_MAX, FIELDS_MAX = 8192, 100

ECHO = {"protocol": "echo"}
CONF = {
    "log": {"level": "warn"},
    "endpoints": [
        {"path": "/echo", "allowed_origins": ["*"], **ECHO},
        {"path": "/unsaid", **ECHO},
        {"path": "/listed", "allowed_origins": ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080"], **ECHO},
        {"path": "/labels", "allowed_origins": ["https://*.example.com", "https://*.example.org:8443"], **ECHO},
        {"path": "/same", "allowed_origins": ["same"], **ECHO},
        {"path": "/strict", "allowed_origins": ["same", "https://app.example.com"], "require_origin": True, **ECHO},
        {"path": "/pages", "allowed_origins": ["*"], "require_origin": True, **ECHO},
    ],
}
HASTY = {**CONF, "client": {"handshake_timeout": "400ms"}}

FIELDS = {
    "host": "Host: localhost",
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: Upgrade",
    "key": "Sec-WebSocket-Key: " + KEY,
    "version": "Sec-WebSocket-Version: 13",
}


def ask(*more, line="GET /echo HTTP/1.1", **fields):
    """The bytes of an opening handshake: fields replaced by keyword (None: left out), more lines behind them."""
    lines = [line, *(f for f in {**FIELDS, **fields}.values() if f is not None), *more]
    return "".join(f"{text}\r\n" for text in lines).encode("latin-1") + b"\r\n"


def get(path, *more, method="GET", version="HTTP/1.1", host="Host: localhost"):
    lines = [f"{method} {path} {version}", *([host] if host else []), *more]
    return "".join(f"{text}\r\n" for text in lines).encode("latin-1") + b"\r\n"


@pytest.fixture
def broker(shared):
    return shared(**CONF)


@pytest.fixture
def raw(broker):
    r = Raw(broker.port)
    yield r
    r.close()


@pytest.fixture(scope="module", autouse=True)
def no_worker_dies(shared):
    yield
    for conf in (CONF, HASTY):
        b = shared(**conf)
        assert [w["restarts"] for w in b.rows("show", "workers")] == [0], b.log()
        assert "error" not in b.log()


def speaks_websocket(r):
    r.send(frame(1, b"after all"))
    return r.frame() == (1, 1, b"after all")


def refusal(r, status, *words, method="GET"):
    """The refusal that comes next, checked; `words` stand in its message. Returns (header fields, body as JSON)."""
    got, fields, head = r.head()
    assert got == status, head
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert fields["content-type"] == "application/json" and fields["cache-control"] == "no-store"
    assert abs(parsedate_to_datetime(fields["date"]).timestamp() - time.time()) < 60
    length = int(fields["content-length"])
    assert ("sec-websocket-version" in fields, "allow" in fields) == (status == 426, status == 405)
    if status == 426:
        assert fields["sec-websocket-version"] == "13" and fields["upgrade"] == "websocket"
        assert "upgrade" in fields["connection"].lower()
    assert "sec-websocket-accept" not in fields
    if method == "HEAD":
        return fields, None
    body = json.loads(r.take(length).decode())
    assert list(body) == ["error", "message", "hint"]
    assert re.fullmatch(r"[a-z][a-z-]+[a-z]", body["error"]), body
    assert body["message"].endswith(".") and body["hint"][-1] in ".?", body
    for word in words:
        assert word in body["message"], body
    return fields, body


def refused(r, status, *words, method="GET"):
    """As refusal(), and then the stream ends, by a FIN."""
    fields, body = refusal(r, status, *words, method=method)
    assert "close" in fields["connection"]
    assert r.ended()
    return fields, body


# ---- what is accepted ----

ACCEPTED = {
    "as in the RFC": ask(),
    "HTTP/1.2": ask(line="GET /echo HTTP/1.2"),
    "names and tokens in any case": ask(host="HOST: localhost", upgrade="uPGRADE: WebSocket", connection="CONNECTION: upGRADE",
                                        key="sec-websocket-key: " + KEY, version="SEC-WEBSOCKET-VERSION: 13"),
    "Connection with other tokens": ask(connection="Connection: keep-alive, Upgrade"),
    "Connection with empty elements": ask(connection="Connection: ,, close ,\tUpgrade,"),
    "Connection in two fields": ask("Connection: keep-alive"),
    "Upgrade among others": ask(upgrade="Upgrade: h2c, websocket"),
    "Upgrade in two fields": ask("Upgrade: websocket", upgrade="Upgrade: TLS/1.2"),
    "blanks around values": ask(host="Host:\t localhost \t", key=f"Sec-WebSocket-Key: \t{KEY}\t ", version="Sec-WebSocket-Version:13"),
    "an empty line in front": b"\r\n" + ask(),
    "unknown fields": ask("X-Empty:", "X-Any: \x80\xff\tü", "!#$%&'*+-.^_`|~0: x"),
    "cookies and an Origin": ask("Cookie: a=b; c=d", "Origin: http://anywhere.example", "User-Agent: x"),
    "Host with a port": ask(host="Host: example.com:65535"),
    "Host with an empty port": ask(host="Host: example.com:"),
    "Host IPv4": ask(host="Host: 127.0.0.1:8000"),
    "Host IPv6": ask(host="Host: [2001:db8::1]:8000"),
    "Host escaped": ask(host="Host: a%20b"),
    "a query": ask(line="GET /echo?a=b&c HTTP/1.1"),
    "an empty query": ask(line="GET /echo? HTTP/1.1"),
    "a query full of signs": ask(line="GET /echo?/?:@!$&'()*+,;=|{}[]\"<>^`\\ HTTP/1.1"),
    "absolute-form": ask(line="GET http://localhost/echo HTTP/1.1"),
    "absolute-form ws": ask(line="GET ws://other.example:81/echo?x HTTP/1.1"),
    "absolute-form WSS": ask(line="GET WSS://[::1]/echo HTTP/1.1"),
    "an empty body": ask("Content-Length: 0"),
    "key of extremes": ask(key="Sec-WebSocket-Key: ++++++++++//////////AA=="),
    "extensions offered": ask("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x; y=\"z\""),
    "extensions in two fields": ask("Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: ,b;c=d,"),
    "as many fields as may be": ask(*[f"X-{i}: {i}" for i in range(FIELDS_MAX - len(FIELDS))]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(raw, name):
    status, fields, head = raw.send(ACCEPTED[name]).head()
    assert status == 101, head
    assert head.split("\r\n")[0] == "HTTP/1.1 101 Switching Protocols"
    assert set(fields) == {"upgrade", "connection", "sec-websocket-accept"}  # no extension, no subprotocol, no body
    assert fields["upgrade"] == "websocket" and fields["connection"] == "Upgrade"
    if "extremes" not in name:
        assert fields["sec-websocket-accept"] == ACCEPT
    assert speaks_websocket(raw)


def test_accept_answers_the_key(broker):
    for _ in range(20):
        key = base64.b64encode(os.urandom(16)).decode()
        r = Raw(broker.port)
        fields = r.send(ask(key="Sec-WebSocket-Key: " + key)).head()[1]
        want = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert fields["sec-websocket-accept"] == base64.b64encode(want).decode()
        r.close()


SUBPROTOCOLS = {
    "the first of one": (["chat"], "chat"),
    "the first of several": (["superchat , chat"], "superchat"),
    "over two fields": (["a", "b"], "a"),
    "empty elements": ([", ,b"], "b"),
    "case is kept": (["V1.JSON, v1.json"], "V1.JSON"),
    "a token is passed over": (["token.abc, chat"], "chat"),
    "nothing but tokens": (["token.abc, token.def"], "token.abc"),
}


@pytest.mark.parametrize("name", SUBPROTOCOLS)
def test_subprotocol(raw, name):
    offers, selected = SUBPROTOCOLS[name]
    status, fields, _ = raw.send(ask(*[f"Sec-WebSocket-Protocol: {o}" for o in offers])).head()
    assert (status, fields["sec-websocket-protocol"]) == (101, selected)
    assert speaks_websocket(raw)


# ---- what is not a handshake ----

BROKEN = {
    # §4.1 (2), §4.2.1 (1): GET, HTTP/1.1
    **{f"{m} is not GET": (ask(line=f"{m} /echo HTTP/1.1"), 405, f"the method is {m}")
       for m in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "GETT", "X-" + "y" * 30]},
    "HTTP/1.0": (ask(line="GET /echo HTTP/1.0"), 505, "HTTP/1.0"),
    # (4) Upgrade
    "no Upgrade": (ask(upgrade=None), 426, "does not ask for an upgrade"),
    "nothing of it": (get("/echo"), 426, "does not ask for an upgrade"),
    "Upgrade empty": (ask(upgrade="Upgrade:"), 426, "does not ask"),
    "Upgrade to another": (ask(upgrade="Upgrade: h2c"), 426, "does not ask"),
    "Upgrade longer": (ask(upgrade="Upgrade: websockets"), 426, "does not ask"),
    "Upgrade with a version": (ask(upgrade="Upgrade: websocket/13"), 426, "does not ask"),
    "Upgrade quoted": (ask(upgrade='Upgrade: "websocket"'), 426, "does not ask"),
    # (3) Connection
    "no Connection": (ask(connection=None), 400, "Connection header"),
    "Connection without Upgrade": (ask(connection="Connection: keep-alive"), 400, "Connection header"),
    "Connection longer": (ask(connection="Connection: Upgrades"), 400, "Connection header"),
    "Connection not a list": (ask(connection="Connection: keep-alive Upgrade"), 400, "Connection header"),
    # (5) the key
    "no key": (ask(key=None), 400, "Key header is missing"),
    "two keys": (ask(FIELDS["key"]), 400, "more than one Sec-WebSocket-Key"),
    **{f"key {k!r}": (ask(key=f"Sec-WebSocket-Key: {k}"), 400, "not 16 bytes in base64")
       for k in ["", "x", KEY[:-1], KEY[:-2], KEY + "=", KEY[:-1] + "A", base64.b64encode(bytes(15)).decode(),
                 base64.b64encode(bytes(17)).decode(), base64.b64encode(bytes(32)).decode(), "-" * 22 + "==", "_" * 22 + "==",
                 "=" * 24, KEY[:10] + " " + KEY[11:], KEY[:10] + "\xe9" + KEY[11:], "*" + KEY[1:], KEY * 40]},
    # (6) the version
    "no version": (ask(version=None), 426, "Version header is missing"),
    "two versions": (ask("Sec-WebSocket-Version: 13"), 400, "more than one Sec-WebSocket-Version"),
    "two versions that differ": (ask("Sec-WebSocket-Version: 8"), 400, "more than one Sec-WebSocket-Version"),
    **{f"version {v!r}": (ask(version=f"Sec-WebSocket-Version: {v}"), 426, f'"{v}"')
       for v in ["", "0", "7", "8", "12", "14", "013", "+13", "13.0", "13, 8", "0xD", "999999999999999999999"]},
    # (8) subprotocols
    **{f"subprotocols {p!r}": (ask(f"Sec-WebSocket-Protocol: {p}"), 400, "Sec-WebSocket-Protocol")
       for p in ["", ",", "a, a", "a b", "a;b", '"a"', "a/b", "a,b=c", "caf\xe9"]},
    "subprotocol twice in two fields": (ask("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b, a"), 400, "twice"),
    "65 subprotocols": (ask("Sec-WebSocket-Protocol: " + ",".join(f"p{i}" for i in range(65))), 400, "more than 64"),
    # (9) extensions
    **{f"extensions {x!r}": (ask(f"Sec-WebSocket-Extensions: {x}"), 400, "Sec-WebSocket-Extensions")
       for x in ["", ",", "a;", "a;=b", "a;b=", 'a;b="', 'a;b=""', 'a;b="c d"', "a b", "=", '"a"', "a;b=c=d"]},
    # a body would be taken for frames
    "a body": (ask("Content-Length: 5") + b"hello", 400, "body"),
    "a chunked body": (ask("Transfer-Encoding: chunked") + b"0\r\n\r\n", 400, "body"),
    # (7) Origin, once
    "two Origins": (ask("Origin: http://a", "Origin: http://a"), 400, "more than one Origin"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_not_a_handshake(raw, name):
    data, status, word = BROKEN[name]
    fields, body = refused(raw.send(data), status, word)
    assert body["message"].startswith("WebSocket upgrade failed: ")
    if status == 405:
        assert fields["allow"] == "GET"


def test_head_of_an_endpoint_has_no_body(raw):
    refused(raw.send(ask(line="HEAD /echo HTTP/1.1")), 405, method="HEAD")


# ---- what is not HTTP/1.1: RFC 9112 §2 – §5 ----

LINE = "GET /echo HTTP/1.1"


def lines(*texts, end=b"\r\n"):
    return b"".join(t.encode("latin-1") + end for t in texts)


BAD_HEADS = {
    # request line
    "blank in front": (lines(" " + LINE), 400, "method"),
    "two blanks": (lines("GET  /echo HTTP/1.1"), 400, "more than one blank"),
    "a tab": (lines("GET\t/echo HTTP/1.1"), 400, "method"),
    "blank at its end": (lines(LINE + " "), 400, "line should end"),
    "blank in the target": (lines("GET /e cho HTTP/1.1"), 400, "version"),
    "no version": (lines("GET /echo"), 400, "no HTTP version"),
    "nothing but a method": (lines("GET"), 400, "method"),
    "lower case version": (lines("GET /echo http/1.1"), 400, "version"),
    "version 1": (lines("GET /echo HTTP/1"), 400, "version"),
    "version 1.10": (lines("GET /echo HTTP/1.10"), 400, "line should end"),
    "version 11": (lines("GET /echo HTTP/11"), 400, "version"),
    "method not a token": (lines("G@T /echo HTTP/1.1"), 400, "method"),
    "method with a control character": (lines("G\x01T /echo HTTP/1.1"), 400, "method"),
    "NUL in the target": (lines("GET /e\0cho HTTP/1.1"), 400, "control"),
    "DEL in the target": (lines("GET /echo\x7f HTTP/1.1"), 400, "control"),
    "raw UTF-8 in the target": (lines("GET /\xc3\xa9 HTTP/1.1"), 400, "non-ASCII"),
    "a fragment": (lines("GET /echo#x HTTP/1.1"), 400, "fragment"),
    "target without a slash": (lines("GET echo HTTP/1.1", "Host: a", ""), 400, "begin with '/'"),
    "target of another scheme": (lines("GET ftp://a/echo HTTP/1.1", "Host: a", ""), 400, "begin with '/'"),
    "absolute-form without a host": (lines("GET http:///echo HTTP/1.1", "Host: a", ""), 400, "valid host"),
    "absolute-form with a user": (lines("GET http://u@a/echo HTTP/1.1", "Host: a", ""), 400, "valid host"),
    "absolute-form without Host": (lines("GET http://a/echo HTTP/1.1", ""), 400, "no Host"),
    "GET *": (lines("GET * HTTP/1.1", "Host: a", ""), 400, "OPTIONS only"),
    "CONNECT": (lines("CONNECT a:80 HTTP/1.1", "Host: a", ""), 400, "CONNECT"),
    # versions of another kind
    "HTTP/2.0": (lines("GET /echo HTTP/2.0"), 505, "HTTP/1.1"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1"),
    "HTTP/0.9 by name": (lines("GET /echo HTTP/0.9"), 505, "HTTP/1.1"),
    "HTTP/3.0": (lines("GET /echo HTTP/3.0"), 505, "HTTP/1.1"),
    # line ends
    "bare LF everywhere": (lines(LINE, "Host: a", "", end=b"\n"), 400, "bare LF"),
    "bare LF behind a field": (lines(LINE) + b"Host: a\n\r\n", 400, "bare LF"),
    "bare CR": (lines(LINE) + b"Host: a\rX: b\r\n\r\n", 400, "CR"),
    "CR CR LF": (lines(LINE) + b"Host: a\r\r\n", 400, "CR"),
    "CR behind the request line": (b"GET /echo HTTP/1.1\rHost: a\r\n", 400, "CR"),
    "two empty lines in front": (b"\r\n\r\n" + ask(), 400, "method"),
    "LF in front": (b"\n" + ask(), 400, "method"),
    # fields
    "obs-fold": (lines(LINE, "Host: a", "X: b", " c", ""), 400, "folded"),
    "obs-fold by tab": (lines(LINE, "Host: a", "\tc", ""), 400, "folded"),
    "fold behind the request line": (lines(LINE, " Host: a", ""), 400, "folded"),
    "blank before the colon": (lines(LINE, "Host : a", ""), 400, "blank stands between"),
    "no colon": (lines(LINE, "Host", ""), 400, "colon"),
    "no name": (lines(LINE, ": a", ""), 400, "field name"),
    "name not a token": (lines(LINE, "Ho(st: a", ""), 400, "not allowed"),
    "name not ASCII": (lines(LINE, "H\xf6st: a", ""), 400, "not allowed"),
    "NUL in a value": (lines(LINE, "X: a\0b", ""), 400, "control"),
    "control character in a value": (lines(LINE, "X: a\x1bb", ""), 400, "control"),
    "DEL in a value": (lines(LINE, "X: a\x7f", ""), 400, "control"),
    # §3.2: Host
    "no Host": (ask(host=None), 400, "no Host"),
    "Host twice": (ask("Host: localhost"), 400, "more than one Host"),
    "Host twice, differing": (ask("host: other"), 400, "more than one Host"),
    **{f"Host {h!r}": (ask(host=f"Host: {h}"), 400, "Host field")
       for h in ["", "a b", "a/b", "a?b", "a#b", "u@a", "http://a", "a:b", "a:-1", "a:65536", "a:1:2", ":80", "a%2", "a%g0", "a|b",
                 "a\\b", "caf\xe9", "[::1", "[::1]x", "[::g]", "[]", "::1", "a, b"]},
    # §6.3: lengths that could be understood in two ways
    "both lengths": (ask("Content-Length: 0", "Transfer-Encoding: chunked"), 400, "both"),
    "lengths that differ": (ask("Content-Length: 0", "Content-Length: 1"), 400, "differ"),
    "length not a number": (ask("Content-Length: +0"), 400, "not a number"),
    "length too large": (ask("Content-Length: 9223372036854775808"), 400, "too large"),
    "coding not chunked": (ask("Transfer-Encoding: gzip, chunked"), 400, "Transfer-Encoding"),
    "coding chunked twice": (ask("Transfer-Encoding: chunked, chunked"), 400, "once"),
    "coding in HTTP/1.0": (ask("Transfer-Encoding: chunked", line="GET /echo HTTP/1.0"), 400, "HTTP/1.0"),
    # not HTTP at all
    "a WebSocket frame": (frame(1, b"hello"), 400, "method"),
    "zeros": (bytes(100), 400, "method"),
    # limits
    "request line too long": (b"GET /" + b"a" * HEADER_MAX, 414, "too long"),
    "too many fields": (ask(*[f"X-{i}: {i}" for i in range(FIELDS_MAX - len(FIELDS) + 1)]), 431, "too many"),
    "a field without end": (lines(LINE) + b"X: " + b"a" * HEADER_MAX, 431, "too long"),
    "fields without end": (lines(LINE) + b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 100000, 431, ""),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_not_http(raw, name):
    data, status, word = BAD_HEADS[name]
    refused(raw.send(data), status, word)


@pytest.mark.parametrize("name", [n for n, row in BAD_HEADS.items() if len(row[0]) < 300])
def test_not_http_byte_by_byte(raw, name):
    data, status, word = BAD_HEADS[name]
    for i in range(len(data)):
        raw.send(data[i:i + 1])
    refused(raw, status, word)


def test_head_of_the_exact_size(broker):
    """limits.header counts the blank line."""
    pad = HEADER_MAX - len(ask("X: "))
    r = Raw(broker.port).send(ask("X: " + "a" * pad))
    assert r.head()[0] == 101
    assert speaks_websocket(r)
    refused(Raw(broker.port).send(ask("X: " + "a" * (pad + 1))), 431, "too long")


def test_request_line_of_the_largest_size(broker):
    rest = len(ask(line="GET /echo? HTTP/1.1"))
    r = Raw(broker.port).send(ask(line=f"GET /echo?{'a' * (HEADER_MAX - rest)} HTTP/1.1"))
    assert r.head()[0] == 101


def test_more_behind_a_bad_head_is_no_reset(broker):
    """Megabytes of whatever behind it: the answer and a FIN still arrive."""
    r = Raw(broker.port).send(b"nonsense" * 1000 + os.urandom(3 << 20))
    refused(r, 400, "method")


# ---- TLS where none is spoken ----

def test_tls_is_told_so(broker, raw):
    hello, nowhere = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(nowhere, hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    refused(raw.send(hello.read()), 400, "TLS", "http:// or ws://")
    refused(Raw(broker.port).send(b"\x16"), 400, "TLS")  # the first byte says it
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", broker.port), timeout=30) as s:
        ssl.create_default_context().wrap_socket(s, server_hostname="localhost")


# ---- Origin: PROTOCOL part D ----

ORIGINS = {  # path, Origin (None: none), Host → allowed
    "*: any": ("/echo", "http://anything.example", "a", True),
    "*: null": ("/echo", "null", "a", True),
    "*: not even an origin": ("/echo", "x y", "a", True),
    "*: none": ("/echo", None, "a", True),
    "*, required: any": ("/pages", "http://anything.example", "a", True),
    "*, required: none": ("/pages", None, "a", False),
    "echo by default: its own page": ("/unsaid", "http://a:81", "a:81", True),
    "echo by default: another page": ("/unsaid", "http://b:81", "a:81", False),
    "list: the first": ("/listed", "https://app.example.com", "a", True),
    "list: the second": ("/listed", "http://localhost:3000", "a", True),
    "list: IPv6": ("/listed", "http://[::1]:8080", "a", True),
    "list: none": ("/listed", None, "a", True),
    "list: case": ("/listed", "HTTPS://App.Example.COM", "a", True),
    "list: default port spelt out": ("/listed", "https://app.example.com:443", "a", True),
    "list: another port": ("/listed", "https://app.example.com:8443", "a", False),
    "list: port left out": ("/listed", "http://localhost", "a", False),
    "list: another scheme": ("/listed", "http://app.example.com", "a", False),
    "list: label more": ("/listed", "https://x.app.example.com", "a", False),
    "list: label less": ("/listed", "https://example.com", "a", False),
    "list: longer": ("/listed", "https://app.example.com.evil.example", "a", False),
    "list: as a user": ("/listed", "https://app.example.com@evil.example", "a", False),
    "list: with a path": ("/listed", "https://app.example.com/", "a", False),
    "list: null": ("/listed", "null", "a", False),
    "list: empty": ("/listed", "", "a", False),
    "list: two in one": ("/listed", "https://app.example.com https://app.example.com", "a", False),
    "list: the page's own host": ("/listed", "http://a", "a", False),
    "labels: one": ("/labels", "https://a.example.com", "a", True),
    "labels: two": ("/labels", "https://b.a.example.com", "a", True),
    "labels: case": ("/labels", "https://B.EXAMPLE.com", "a", True),
    "labels: the apex": ("/labels", "https://example.com", "a", False),
    "labels: empty": ("/labels", "https://.example.com", "a", False),
    "labels: an empty one": ("/labels", "https://a..example.com", "a", False),
    "labels: not at a dot": ("/labels", "https://notexample.com", "a", False),
    "labels: a star": ("/labels", "https://*.example.com", "a", True),  # a legal host character; no browser sends it
    "labels: another scheme": ("/labels", "http://a.example.com", "a", False),
    "labels: another port": ("/labels", "https://a.example.com:8443", "a", False),
    "labels: its port": ("/labels", "https://a.example.org:8443", "a", True),
    "labels: without its port": ("/labels", "https://a.example.org", "a", False),
    "labels: longer": ("/labels", "https://a.example.com.evil.example", "a", False),
    "same: host and port": ("/same", "http://page.example:8000", "page.example:8000", True),
    "same: case": ("/same", "http://PAGE.example:8000", "page.EXAMPLE:8000", True),
    "same: default port of http": ("/same", "http://page.example", "page.example:80", True),
    "same: default port of https": ("/same", "https://page.example", "page.example", True),
    "same: IPv6": ("/same", "http://[::1]:8000", "[::1]:8000", True),
    "same: none": ("/same", None, "a", True),
    "same: another port": ("/same", "http://page.example:8001", "page.example:8000", False),
    "same: another host": ("/same", "http://evil.example:8000", "page.example:8000", False),
    "same: port left out": ("/same", "http://page.example", "page.example:8000", False),
    "same: null": ("/same", "null", "null", False),
    "strict: same": ("/strict", "http://page.example", "page.example", True),
    "strict: listed": ("/strict", "https://app.example.com", "page.example", True),
    "strict: another": ("/strict", "https://evil.example", "page.example", False),
    "strict: none": ("/strict", None, "page.example", False),
}


@pytest.mark.parametrize("name", ORIGINS)
def test_origin(raw, name):
    path, origin, host, allowed = ORIGINS[name]
    more = [] if origin is None else [f"Origin: {origin}"]
    raw.send(ask(*more, line=f"GET {path} HTTP/1.1", host=f"Host: {host}"))
    if allowed:
        assert raw.head()[0] == 101
        assert speaks_websocket(raw)
    else:
        body = refused(raw, 403, "Origin")[1]
        assert body["error"] == "origin-not-allowed"


def test_same_is_judged_by_the_url_in_the_request_line(raw):
    """RFC 9112 §3.2.2: with absolute-form the Host field does not count."""
    raw.send(ask("Origin: http://real.example", line="GET http://real.example/same HTTP/1.1", host="Host: other.example"))
    assert raw.head()[0] == 101


# ---- in any chopping, with company ----

@pytest.mark.parametrize("step", [1, 2, 7, 50])
def test_chopped(raw, step):
    data = b"\r\n" + ask("X: y") + frame(1, b"in") + frame(9, b"p", key=b"\r\n\r\n")
    for i in range(0, len(data), step):
        raw.send(data[i:i + step])
    assert raw.head()[0] == 101
    assert [raw.frame(), raw.frame()] == [(1, 1, b"in"), (1, 10, b"p")]


def test_first_frames_in_the_segment_of_the_handshake(raw):
    last = frame(0, b"third, in two parts")
    raw.send(ask() + frame(1, b"first") + frame(2, b"", fin=False) + frame(9, b"second") + last[:9])
    assert raw.head()[0] == 101
    assert [raw.frame(), raw.frame()] == [(1, 1, b"first"), (1, 10, b"second")]
    raw.send(last[9:])
    assert raw.frame() == (1, 2, b"third, in two parts")


def test_bad_first_frame_in_the_segment_of_the_handshake(raw):
    raw.send(ask() + frame(1, b"good") + frame(1, b"bad", masked=False))
    assert raw.head()[0] == 101
    assert raw.frame() == (1, 1, b"good")
    assert raw.close_code() == 1002


def test_a_large_frame_in_the_segment_of_the_handshake(raw):
    message = os.urandom(100_000)
    raw.send(ask() + frame(2, message))
    assert raw.head()[0] == 101
    assert raw.frame() == (1, 2, message)


def test_pipelined_requests_and_an_upgrade(raw):
    raw.send(get("/health") + get("/nowhere") + get("/ready", method="HEAD") + b"\r\n" + get("/ready")
             + get("/health", method="POST") + ask() + frame(1, b"hello"))
    assert json.loads(raw.response()[2])["status"] == "ok"
    assert refusal(raw, 404)[0]["connection"] == "keep-alive"
    status, fields, _ = raw.head()  # HEAD: no body
    assert status == 200 and int(fields["content-length"]) > 0
    assert json.loads(raw.response()[2]) == {"status": "ready"}
    assert refusal(raw, 405, "GET or HEAD")[0]["connection"] == "keep-alive"
    assert raw.head()[0] == 101
    assert raw.frame() == (1, 1, b"hello")


def test_a_thousand_pipelined_requests(raw):
    raw.send(get("/health") * 1000 + ask())
    for _ in range(1000):
        assert raw.response()[0] == 200
    assert raw.head()[0] == 101
    assert speaks_websocket(raw)


def test_nothing_is_read_behind_a_refusal(raw):
    raw.send(ask(version=None) + ask() + get("/health"))
    refused(raw, 426)


def test_half_closed_behind_the_request(raw):
    raw.send(get("/health"))
    raw.s.shutdown(socket.SHUT_WR)
    assert raw.response()[0] == 200
    assert raw.ended()


# ---- plain HTTP ----

def test_health_and_ready(raw):
    for path, want in [("/health", {"status": "ok"}), ("/ready?x=y", {"status": "ready"})]:
        status, fields, body = raw.send(get(path)).response()
        assert status == 200 and json.loads(body).items() >= want.items()
        assert fields["content-type"] == "application/json" and fields["cache-control"] == "no-store"
        assert fields["connection"] == "keep-alive"
        assert abs(parsedate_to_datetime(fields["date"]).timestamp() - time.time()) < 60


PERSISTENCE = {  # what is asked → does the connection stay?
    "HTTP/1.1": (get("/health"), True),
    "HTTP/1.1 keep-alive": (get("/health", "Connection: Keep-Alive"), True),
    "HTTP/1.1 close": (get("/health", "Connection: x, Close"), False),
    "HTTP/1.0": (get("/health", version="HTTP/1.0"), False),
    "HTTP/1.0 without Host": (get("/health", version="HTTP/1.0", host=None), False),
    "HTTP/1.0 keep-alive": (get("/health", "Connection: keep-alive", version="HTTP/1.0"), True),
    "HEAD": (get("/health", method="HEAD"), True),
    "HEAD close": (get("/health", "Connection: close", method="HEAD"), False),
    "with a body": (get("/health", "Content-Length: 3") + b"abc", False),
    "with an upgrade nobody knows": (get("/health", "Connection: Upgrade", "Upgrade: h2c"), True),
    "an upgrade of a page": (ask(line="GET /health HTTP/1.1"), True),
}


@pytest.mark.parametrize("name", PERSISTENCE)
def test_persistence(raw, name):
    data, stays = PERSISTENCE[name]
    status, fields, head = raw.send(data).head()
    assert status == 200, head
    if "HEAD" not in name:
        raw.take(int(fields["content-length"]))
    assert fields["connection"] == ("keep-alive" if stays else "close")
    if stays:
        assert raw.send(get("/ready")).response()[0] == 200
    else:
        assert raw.ended()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"])
@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_pages_are_only_read(raw, method, path):
    fields, _ = refusal(raw.send(get(path, method=method)), 405, "GET or HEAD")
    assert fields["allow"] == "GET, HEAD" and fields["connection"] == "keep-alive"
    refused(raw.send(get(path, "Content-Length: 9", method=method) + b"GET / HTT"), 405)


NOWHERE = {  # path → the hint
    "/ech": "Did you mean /echo?",
    "/ECHO": "Did you mean /echo?",
    "/echo/": "Did you mean /echo?",
    "/v1/echo": "Did you mean /echo?",
    "/echo/room": "Did you mean /echo?",
    "/lsited": "Did you mean /listed?",
    "//echo": "Did you mean /echo?",
    "/": "See the `endpoints` in heliod.yaml.",
    "/something/else": "See the `endpoints` in heliod.yaml.",
}


def test_no_endpoint_among_the_api(raw):
    """Who wants a WebSocket there has a wrong path, not a missing key."""
    assert refusal(raw.send(ask(line="GET /api/echo HTTP/1.1")), 404, "path /api/echo.")[1]["hint"] == "Did you mean /echo?"


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("upgrade", [False, True])
def test_no_such_path(raw, path, upgrade):
    raw.send(ask(line=f"GET {path}?token=s3cret HTTP/1.1") if upgrade else get(path + "?token=s3cret"))
    body = refusal(raw, 404, f"path {path}.")[1]
    assert body["error"] == "no-such-endpoint" and body["hint"] == NOWHERE[path]
    assert "s3cret" not in json.dumps(body)


ODD_PATHS = {"long": "/" + "a" * 5000, "quotes": "/" + "\"\\" * 500, "controls": "/%00%0d%0a", "markup": "/{x}|<script>'",
             "escaped": "/" + "%C3%A9" * 80}


@pytest.mark.parametrize("name", ODD_PATHS)
def test_no_such_odd_path(raw, name):
    """Whatever it is: one JSON body with a whole sentence."""
    path = ODD_PATHS[name]
    refusal(raw.send(get(path)), 404, "No endpoint")
    refusal(raw.send(get(path, method="HEAD")), 404, method="HEAD")
    assert raw.send(get("/health")).response()[0] == 200


def test_options_of_the_server(raw):
    refusal(raw.send(get("*", method="OPTIONS")), 404)


# ---- time ----

@pytest.fixture
def hasty(shared):
    return shared(**HASTY)


def test_silence_is_closed_silently(hasty):
    begin = time.monotonic()
    r = Raw(hasty.port)
    assert r.ended()
    assert time.monotonic() - begin >= 0.4


def test_an_unfinished_request_is_told(hasty):
    r = Raw(hasty.port).send(ask()[:-1])
    refused(r, 408, "not complete within 400 ms")


def test_a_trickle_gains_no_time(hasty):
    r = Raw(hasty.port)
    begin = time.monotonic()
    while not select.select([r.s], [], [], 0.02)[0]:
        r.send(b"G")
    assert 0.4 <= time.monotonic() - begin < 0.4 + 2 * SLACK
    r.s.shutdown(socket.SHUT_WR)
    refused(r, 408)


def test_each_request_has_its_own_time(hasty):
    r = Raw(hasty.port)
    for _ in range(4):
        time.sleep(0.15)
        assert r.send(get("/health")).response()[0] == 200
    assert r.ended()  # and then silence


def test_time_ends_with_the_handshake(hasty):
    idle = Raw(hasty.port).open()
    hello = frame(1, b"hello")
    busy = Raw(hasty.port).open().send(hello[:4])
    assert Raw(hasty.port).ended()  # its time was up later than theirs would have been
    assert speaks_websocket(idle)
    assert busy.send(hello[4:]).frame() == (1, 1, b"hello")
    assert hasty.counter("handshake_timeouts") >= 1
