"""/docs: what is configured, as a page that runs nothing but its own script and shows what came from outside as text."""
import base64
import hashlib
import html.parser
import json
import re

import pytest

from conftest import ROOT, eventually
from rawws import Raw

HOSTILE = '/a"b</script><script>alert(1)</script><!--\'&lt;'
EVENTS = {"path": "/ws", "auth": {"method": "jwt", "key": "very-secret-key-of-32-characters!", "algorithms": ["HS256"]},
          "auth_timeout": "7s", "max_message": "64KiB", "hooks": {"connected": "http://127.0.0.1:9/secret-hook"}}
CONF = {"endpoints": [EVENTS, {"path": "/echo", "protocol": "echo", "compression": "off"}, {"path": HOSTILE, "protocol": "echo"}],
        "api_keys": [{"name": "backend", "key": "very-secret-api-key"}]}


class Page(html.parser.HTMLParser):
    """The document as a browser takes it apart: elements in order, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.rows, self.open = [], [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.texts.append("")
            self.open = "raw"
        elif tag == "tr" and "data-code" in dict(attributes):
            self.rows.append([])
        elif tag in ("th", "td") and self.rows:
            self.rows[-1].append("")
            self.open = "cell"

    def handle_endtag(self, tag):
        if tag in ("script", "style", "th", "td"):
            self.open = None

    def handle_data(self, data):
        if self.open == "raw":
            self.texts[-1] += data
        elif self.open == "cell":
            self.rows[-1][-1] += data

    @property
    def broker(self):
        return json.loads(self.texts[1])


def ask(b, method="GET", path="/docs", host="localhost"):
    raw = Raw(b.port).send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
    status, fields, head = raw.head()
    while raw.more():
        pass
    raw.close()
    return status, fields, raw.data.decode()


def policy(fields):
    return dict((d.strip().split(" ", 1)) for d in fields["content-security-policy"].split(";"))


def sha256(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.fixture
def b(shared):
    return shared(**CONF)


def test_it_is_one_document_that_runs_nothing_else(b):
    status, fields, text = ask(b)
    page = Page(text)
    assert (status, fields["content-type"], fields["cache-control"]) == (200, "text/html; charset=utf-8", "no-store")
    assert int(fields["content-length"]) == len(text.encode())
    assert fields["x-content-type-options"] == "nosniff" and fields["referrer-policy"] == "no-referrer"
    css, _, js = page.texts
    assert policy(fields) == {
        "default-src": "'none'", "style-src": sha256(css), "script-src": sha256(js),
        "connect-src": "'self' ws://localhost wss://localhost",
        "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
    for tag, attributes in page.elements:
        assert not {"src", "style", "srcdoc", "data"} & set(attributes), (tag, attributes)
        assert not [a for a in attributes if a.startswith("on")], (tag, attributes)
        assert attributes.get("href", "#")[:1] in "/#"
        assert tag not in ("link", "iframe", "object", "embed", "base")


@pytest.mark.parametrize("path", ["/demos", "/demos/call", "/demos/bell"])
def test_a_demo_runs_its_own_script_and_heliod_js(shared, path):
    b = shared(**CONF, demos=True)
    status, fields, text = ask(b, path=path)
    page = Page(text)
    css, _, js = page.texts
    assert status == 200 and fields["content-type"] == "text/html; charset=utf-8"
    assert policy(fields) == {
        "default-src": "'none'", "style-src": sha256(css), "script-src": sha256(js) + " 'self'",
        "connect-src": "'self' ws://localhost wss://localhost",
        "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
    assert page.broker["endpoints"][2]["path"] == HOSTILE
    assert set(re.findall(r'from "(.*)"', js)) <= {"/heliod.js"}
    for tag, attributes in page.elements:
        assert not {"src", "style", "srcdoc", "data"} & set(attributes), (tag, attributes)
        assert attributes.get("href", "/demos")[:1] in "/#" and tag not in ("link", "iframe", "object", "embed", "base")
    assert ask(b, "POST", path)[0] == 405


def test_the_demos_are_off_unless_switched_on(b):
    for path in ("/demos", "/demos/call", "/demos/bell"):
        assert ask(b, path=path)[0] == 404


def test_head_is_get_without_the_document(b):
    _, got, _ = ask(b)
    status, fields, text = ask(b, "HEAD")
    assert status == 200 and text == ""
    assert {k: v for k, v in fields.items() if k != "date"} == {k: v for k, v in got.items() if k != "date"}


def test_it_is_only_read(b):
    status, fields, text = ask(b, "DELETE")
    assert status == 405 and fields["allow"] == "GET, HEAD"
    assert json.loads(text)["error"] == "method-not-allowed"


def test_requests_behind_it_are_answered(b):
    """Keep-alive and pipelining: three documents and a page behind one another."""
    raw = Raw(b.port).send(b"GET /docs HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [raw.response()[0] for _ in range(3)] == [200] * 3
    assert '"ok"' in raw.response()[2]
    raw.close()


def test_it_lists_what_is_configured_and_no_secret(b):
    _, _, text = ask(b)
    broker = Page(text).broker
    events, echo, hostile = broker["endpoints"]
    assert (events["path"], events["protocol"], events["auth"]) == ("/ws", "events", "jwt")
    assert (events["auth_timeout"], events["max_message"], events["heartbeat_interval"]) == (7000, 65536, 30000)
    assert echo == {"path": "/echo", "protocol": "echo", "max_message": 131072, "backpressure": 1048576, "refusals": "http",
                    "compression": "off"}
    assert (broker["ping_after"], broker["idle_timeout"]) == (44000, 60000)
    assert "secret" not in text


def test_a_hostile_path_is_text(b, shared):
    _, _, text = ask(b)
    plain = ask(shared(endpoints=[{"path": "/x", "protocol": "echo"}]))[2]
    assert Page(text).broker["endpoints"][2]["path"] == HOSTILE
    assert [e[0] for e in Page(text).elements] == [e[0] for e in Page(plain).elements]
    assert "alert(1)</script>" not in text


@pytest.mark.parametrize("host", ["a;script-src'*'", "a,default-src", "a'unsafe-inline'", "*", "*.example", "[::1]:1", "a%22b", "$&!()"])
def test_a_hostile_host_is_let_in_nowhere(b, host):
    status, fields, text = ask(b, host=host)
    assert status == 200
    assert policy(fields)["connect-src"] == "'self'" and len(policy(fields)) == 7
    assert text == ask(b)[2]


def test_a_reload_changes_it(broker):
    b = broker()
    assert [e["path"] for e in Page(ask(b)[2]).broker["endpoints"]] == ["/ws", "/echo"]
    b.write(endpoints=[{"path": "/other", "protocol": "echo", "refusals": "close"}])
    b.ctl("reload")
    eventually(lambda: [(e["path"], e["refusals"]) for e in Page(ask(b)[2]).broker["endpoints"]] == [("/other", "close")],
               what="the page shows the new endpoint")


def test_it_can_be_switched_off_and_on(broker):
    b = broker(docs=False)
    status, _, text = ask(b)
    assert status == 404 and json.loads(text)["error"] == "no-such-endpoint"
    b.write(docs=True, demos=True)
    b.ctl("reload")
    eventually(lambda: ask(b)[0] == 200, what="the page is served")
    assert ask(b, path="/demos/call")[0] == 200
    b.write(demos=False)
    b.ctl("reload")
    eventually(lambda: ask(b, path="/demos/call")[0] == 404, what="the demos are gone")


# ---- the page against the manual ----

def manual():
    """{code: [reasons]} of heliod-errors(7)."""
    text = (ROOT / "man/heliod-errors.7").read_text()
    section = text.split(".Sh CLOSE CODES")[1].split("\n.Sh ")[0]
    codes = {}
    for code, reason in re.findall(r'^\.It (\d{4})(?: Ql "(.*)")?$', section, flags=re.M):
        codes.setdefault(code, []).append(reason)
    return codes


def test_its_close_codes_are_those_of_the_manual(b):
    page = Page(ask(b)[2])
    codes = manual()
    assert len(codes) > 15
    assert list(dict.fromkeys(r[0] for r in page.rows)) == sorted(codes)
    assert [e[1]["data-code"] for e in page.elements if "data-code" in e[1]] == [r[0] for r in page.rows]
    for code, reason, cause, remedy, again in page.rows:
        assert cause and remedy and again in ("yes", "no"), code
        rows = sum(r[0] == code for r in page.rows)
        if rows > 1 or len(codes[code]) == 1 and "u2026" not in codes[code][0]:
            assert reason in codes[code], code


def test_its_clients_give_up_where_the_table_says_so(b):
    text = ask(b)[2]
    again = {r[0] for r in Page(text).rows if r[4] == "yes"}
    final = [r[0] for r in Page(text).rows if r[0] not in again]
    lists = re.findall(r"FINAL = (?:new Set\(\[|\{)([0-9, ]+)", text)
    assert [x.split(", ") for x in lists] == [final, final]
