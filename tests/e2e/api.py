"""Requests to the HTTP API as bytes, and their answers checked for form."""
import json

import hush
from rawws import Raw

KEY = "k3y-of-the-backend"
KEYS = [{"name": "backend", "key": KEY}]
NEWS = {"to": {"room": "ws-default"}, "event": "news", "data": {"n": 1}}


def head(path="/api/events", method="POST", key=KEY, type_="application/json", length=None, version="HTTP/1.1", more=()):
    lines = [f"{method} {path} {version}", "Host: localhost",
             *([f"Authorization: Bearer {key}"] if key is not None else []),
             *([f"Content-Type: {type_}"] if type_ else []),
             *([f"Content-Length: {length}"] if length is not None else []), *more]
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n"


def post(body=NEWS, **how):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    if isinstance(body, dict):
        hush.keep("payload", *hush.strings(body.get("data")))
        hush.notified(body)
    return head(length=len(data), **how) + data


def chunked(data, size, extension=b"", trailer=b""):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in parts) + b"0\r\n" + trailer + b"\r\n"


def answer(r, method="GET"):
    """(status, fields, body as JSON), checked for form."""
    status, fields, _ = r.head()
    assert status, "no answer"
    body = None
    if method != "HEAD" and status != 204:
        body = json.loads(r.take(int(fields["content-length"])))
    if status >= 400 and body is not None:
        assert list(body) == ["error", "message", "hint"]
        assert body["message"].endswith(".") and body["hint"].endswith(".")
    if status == 204:
        assert "content-length" not in fields and "content-type" not in fields
    assert ("www-authenticate" in fields) == (status == 401)
    assert ("allow" in fields) == (status == 405 or (status == 204 and "access-control-allow-methods" not in fields))
    return status, fields, body


def refused(r, status, error, *words, closes=None, method="GET"):
    got, fields, body = answer(r, method)
    assert (got, body and body["error"]) == (status, error if body else None), body
    for word in words:
        assert word in body["message"], body
    if closes is not None:
        assert fields["connection"] == ("close" if closes else "keep-alive")
    if closes:
        assert r.ended()
    return fields, body


class Api:
    """One kept connection; blocking."""

    def __init__(self, broker):
        self.port = broker.port
        self.raw = Raw(broker.port)

    def ask(self, method, path, key=KEY, **how):
        """(status, body)"""
        self.raw.send(head(path=path, method=method, key=key, type_=None, **how))
        status, _, body = answer(self.raw, method)
        return status, body

    def get(self, path):
        status, body = self.ask("GET", path)
        assert status == 200, body
        return body

    def delete(self, path):
        status, body = self.ask("DELETE", path)
        assert status == 200, body
        return body

    def post(self, path, body):
        self.raw.send(post(body, path=path))
        status, _, got = answer(self.raw)
        hush.keep("ticket", got.get("ticket"))
        return status, got

    def close(self):
        self.raw.close()
