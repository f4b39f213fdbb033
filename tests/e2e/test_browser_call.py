"""The demo of a video call in Chromium, as an application would serve it: from two origins of its own, over one broker. Camera and
microphone are Chromium's fake ones; the video that arrives is counted frame by frame."""
import base64
import hmac
import json
import os
import signal
import time

import pytest

from chromium import Browser, Site
from conftest import ROOT, eventually

pytestmark = pytest.mark.xdist_group("chromium")  # one after the other: browsers are big

ASSETS = ROOT / "worker/http/assets"
PATH = "/ws/signaling/{room}/{role}"
EAVESDROP = """
globalThis.heard = [];
globalThis.WebSocket = class extends WebSocket {
    constructor(...how) {
        super(...how);
        globalThis.socket = this;
        this.addEventListener("message", e => heard.push(JSON.parse(e.data)));
        this.addEventListener("close", e => heard.push({type: "(closed)", code: e.code, reason: e.reason}));
    }
};
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...how) {
        super(...how);
        globalThis.pc = this;
    }
};"""
FRAMES = """(async () => {
    let frames = 0;
    for (const s of (await globalThis.pc?.getStats())?.values() ?? [])
        if (s.type === "inbound-rtp" && s.kind === "video") frames += s.framesDecoded ?? 0;
    return frames;
})()"""


@pytest.fixture(scope="module")
def browsers():
    """browsers(n): n running ones, the same for all tests; those that were killed are started anew."""
    running = []

    def get(n):
        for i, b in enumerate(running):
            if b.proc.poll() is not None:
                b.close()
                running[i] = Browser()
        while len(running) < n:
            running.append(Browser())
        return running[:n]

    yield get
    for b in running:
        b.close()


class Front:
    """The application's web pages: the demo, with the broker elsewhere."""

    def __init__(self):
        self.pages = {}
        self.sites = [Site(self.pages), Site(self.pages)]
        self.origins = [s.origin for s in self.sites]

    def show(self, b):
        about = {"endpoints": [{"protocol": "signaling", "path": b.url + PATH, "auth": "anonymous", "roles": []}]}
        text = {kind: (ASSETS / name).read_text() for kind, name in (("html", "call.html"), ("css", "demos.css"), ("js", "call.js"))}
        page = text["html"].replace("{{css}}", text["css"]).replace("{{broker}}", json.dumps(about))
        self.pages["/"] = page.replace("{{js}}", text["js"].replace('"/heliod.js"', f'"http://127.0.0.1:{b.port}/heliod.js"'))

    def close(self):
        for s in self.sites:
            s.close()


@pytest.fixture(scope="module")
def front():
    f = Front()
    yield f
    f.close()


class Person:
    """Somebody in front of a browser."""

    def __init__(self, call, browser, role, origin, room="consultation-42"):
        self.call, self.role = call, role
        self.page = browser.page(f"{origin}/#room={room}&role={role}", apart=True, first=EAVESDROP)
        self.enter()

    def enter(self):
        self.page.js("document.querySelector('#lobby').requestSubmit()")
        return self.there()

    def there(self):
        self.page.until("heard.some(m => m.type === 'joined')", f"{self.role} is in the room")
        return self

    @property
    def state(self):
        return self.page.js("document.querySelector('#state').textContent")

    @property
    def id(self):
        return self.page.js("heard.findLast(m => m.type === 'joined').id")

    @property
    def worker(self):
        return self.call.worker_of(self.id)

    def heard(self, prefix="user-"):
        return [m for m in self.page.js("heard") if m["type"].startswith(prefix)]

    def forget(self):
        self.page.js("heard = heard.filter(m => m.type === 'joined'); 0")

    def move_away_from(self, other):
        """Enters again until another worker holds the connection: the kernel deals them out by port."""
        end = time.monotonic() + 120
        while self.worker == other.worker:
            assert time.monotonic() < end, "never on different workers"
            self.page.reload()
            self.there()
        return self

    def sees_video(self):
        """New frames arrive, now."""
        before = eventually(lambda: self.page.js(FRAMES), 20, f"{self.role} sees something; {self.state}; {self.page.console[-5:]}")
        eventually(lambda: self.page.js(FRAMES) > before, 20, f"{self.role} sees it move")
        assert self.page.until("document.querySelector('#theirs').videoWidth")

    def hear_exactly(self, *expected, behind=None):
        """These and no more: what somebody says behind them (the broker's pong, or the other person) comes last."""
        eventually(lambda: len(self.heard()) >= len(expected), what=f"{self.role} hears {expected}: {self.heard()}")
        mark = "pong" if behind is None else "mark"
        self.page.js(f"heard = heard.filter(m => m.type !== '{mark}'); 0")
        (behind or self).page.js(f"socket.send(JSON.stringify({{type: '{'mark' if behind else 'ping'}'}}))")
        self.page.until(f"heard.some(m => m.type === '{mark}')")
        assert [(m["type"], m["reason"]) if "reason" in m else (m["type"],) for m in self.heard()] == list(expected), self.heard()


LEFT, JOINED = ("user-left", "left"), ("user-joined",)


class Call:
    """A broker of two workers, and two people who talk."""

    def __init__(self, b, browsers, front):
        self.b, self.browsers, self.front, self.people = b, browsers, front, []
        front.show(b)

    def person(self, role, browser=0, origin=0, **more):
        p = Person(self, self.browsers(browser + 1)[browser], role, self.front.origins[origin], **more)
        self.people.append(p)
        return p

    def worker_of(self, id):
        row = next((r for r in self.b.rows("show", "connections") if r["id"] == id), None)
        return row and row["slot"]

    def connect(self, first="host", browsers=(0, 0)):
        """Two people on different workers, in a call; the first enters first."""
        second = "guest" if first == "host" else "host"
        a = self.person(first, browsers[0], 0)
        z = self.person(second, browsers[1], 1).move_away_from(a)
        for p in (a, z):
            p.sees_video()
        for p in (a, z):
            p.forget()
        return a, z

    def kill_worker(self, slot):
        pid = next(w["pid"] for w in self.b.workers() if w["slot"] == slot)
        os.kill(pid, signal.SIGKILL)

    def close(self):
        for p in self.people:
            if p.page.browser.proc.poll() is None:
                p.page.close()


@pytest.fixture
def call(shared, browsers, front):
    calls = []

    def start(**keys):
        endpoint = {"path": PATH, "protocol": "signaling", "allowed_origins": front.origins, **keys}
        calls.append(Call(shared(workers=2, endpoints=[endpoint]), browsers, front))
        return calls[-1]

    yield start
    for c in calls:
        c.close()


@pytest.mark.parametrize("first", ["host", "guest"])
def test_two_people_see_each_other(call, first):
    a, z = call().connect(first)
    assert a.worker != z.worker and a.state == z.state == "In a call."


def test_who_hangs_up_is_gone_and_may_come_back(call):
    a, z = call().connect()
    z.page.js("document.querySelector('#hang-up').click()")
    a.hear_exactly(LEFT)
    assert a.heard()[0]["code"] == 1000 and z.state == "You hung up."
    eventually(lambda: "has left" in a.state, what=a.state)
    a.forget()
    z.page.js("heard = []; 0")
    z.enter()
    a.hear_exactly(JOINED, behind=z)
    for p in (a, z):
        p.sees_video()


@pytest.mark.parametrize("who", [0, 1])
def test_a_reload_is_one_pair(call, who):
    people = call().connect()
    other, reloads = people[1 - who], people[who]
    reloads.page.reload()
    reloads.there()
    other.hear_exactly(LEFT, JOINED, behind=reloads)
    for p in people:
        p.sees_video()


@pytest.mark.parametrize("who", [0, 1])
def test_a_crash_of_a_browser_is_one_pair(call, who):
    c = call()
    people = c.connect(browsers=(0, 1))
    other, crashes = people[1 - who], people[who]
    crashes.page.browser.kill()
    other.hear_exactly(("user-left", "lost"))
    assert other.heard()[0]["code"] == 1006
    c.people.remove(crashes)
    again = c.person(crashes.role, who, who)
    other.hear_exactly(("user-left", "lost"), JOINED, behind=again)
    for p in (other, again):
        p.sees_video()


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("grace", ["0s", "10s"])
def test_a_crash_of_a_worker_is_one_pair(call, who, grace):
    c = call(grace=grace)
    people = c.connect()
    other, loses = people[1 - who], people[who]
    before = loses.id
    c.kill_worker(loses.worker)
    loses.page.until(f"heard.findLast(m => m.type === 'joined').id !== {before!r}", "in the room again")
    assert loses.heard("(closed)")[0]["code"] == 1006
    if grace == "0s":
        eventually(lambda: len(other.heard()) == 2, what=f"a pair: {other.heard()}")
        assert other.heard()[0]["reason"] in ("lost", "replaced")
        other.hear_exactly(("user-left", other.heard()[0]["reason"]), JOINED, behind=loses)
    else:
        other.hear_exactly(("user-returned",), behind=loses)
        assert other.heard()[0]["was"] == before
    assert loses.heard() == [] and other.heard("(closed)") == []
    for p in people:
        p.sees_video()


def test_a_third_is_refused_with_a_sentence(call):
    c = call()
    people = c.connect()
    taken, full = "Role taken: a connection in this room has it and answers", "Room full: it has all the connections it may have"
    for role, why in (("host", taken), ("guest", taken), ("third", full)):
        page = c.browsers(1)[0].page(f"{c.front.origins[0]}/#room=consultation-42&role={role}", apart=True, first=EAVESDROP)
        page.js("document.querySelector('#lobby').requestSubmit()")
        closed = page.until("heard.find(m => m.type === '(closed)')")
        assert (closed["code"], closed["reason"]) == (4409, why)
        page.until(f"document.querySelector('#state').textContent === 'Closed 4409: {why}'")
        assert page.js("heard.length") == 1, "it is not tried again"
        page.close()
    for p in people:
        assert p.heard() == []
        p.sees_video()


def test_the_browser_asks_the_ice_servers_of_the_broker(call):
    a, z = call(ice_servers=[{"urls": ["turn:127.0.0.1:9"], "secret": "known-to-both"}]).connect()
    for p in (a, z):
        server = p.page.js("pc.getConfiguration().iceServers")[0]
        assert server["urls"] in ("turn:127.0.0.1:9", ["turn:127.0.0.1:9"])
        expiry = int(server["username"].split(":")[0])
        assert time.time() < expiry <= time.time() + 3600
        wanted = hmac.new(b"known-to-both", server["username"].encode(), "sha1").digest()
        assert server["credential"] == base64.b64encode(wanted).decode()


def test_who_has_no_camera_sees_the_other(call):
    c = call()
    host = c.person("host")
    guest = Person.__new__(Person)
    guest.call, guest.role = c, "guest"
    guest.page = c.browsers(1)[0].page(f"{c.front.origins[1]}/#room=consultation-42&role=guest", apart=True, first=EAVESDROP + """
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("none there", "NotFoundError"));""")
    c.people.append(guest)
    guest.enter()
    guest.sees_video()
    assert host.page.until("document.querySelector('#state').textContent === 'In a call.'")
    assert guest.page.js("document.querySelector('#own').hidden") is True


def test_another_origin_is_told_so(call, site_elsewhere):
    c = call()
    page = c.browsers(1)[0].page(site_elsewhere.origin)
    closed = page.js(f"""new Promise(done => {{
        new WebSocket("{c.b.url}/ws/signaling/r/host").onclose = e => done([e.code, e.reason]);
    }})""")
    page.close()
    assert closed[0] == 4403 and site_elsewhere.origin in closed[1]


@pytest.fixture
def site_elsewhere():
    s = Site({"/": "<!DOCTYPE html><title>elsewhere</title>"})
    yield s
    s.close()
