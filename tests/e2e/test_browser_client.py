"""heliod.js in Chromium, against a real broker and from a page of another origin."""
import json
import os
import re
import signal

import pytest

from chromium import Browser, Site
from conftest import ROOT, eventually
from rawws import Raw

pytestmark = pytest.mark.xdist_group("chromium")  # one after the other: browsers are big

SOURCE = ROOT / "worker/http/assets/heliod.js"


@pytest.fixture(scope="module")
def browser():
    b = Browser()
    yield b
    b.close()


@pytest.fixture(scope="module")
def site():
    s = Site({"/": "<!DOCTYPE html><title>elsewhere</title>"})
    yield s
    s.close()


@pytest.fixture
def tab(browser, site):
    """tab(broker): a page of another origin that has the module as `heliod`, and `watch(client)` as its memory of what was told."""
    opened = []

    def start(b):
        page = browser.page(site.origin, apart=True)
        opened.append(page)
        page.js(f"import('http://127.0.0.1:{b.port}/heliod.js').then(m => {{ globalThis.heliod = m; }})")
        page.js("""globalThis.told = []; globalThis.watch = (client, ...names) => {
            for (const name of ["open", "lost", "end", "state", "error", "message", ...names])
                client.on(name, (detail, more) => told.push(more === undefined ? [name, detail] : [name, detail, more]));
            return client;
        }; 0""")
        return page

    yield start
    for page in opened:
        page.close()


def told(page, name):
    return [t[1:] for t in page.js("told") if t[0] == name]


def events(page, b, options="{}", path="/ws"):
    """A client of the event protocol that is let in."""
    page.js(f"globalThis.c = watch(new heliod.EventsClient('{b.url}{path}', {options})); 0")
    page.until("c.state === 'open'")


# ---- how it is served ----

def test_any_origin_may_import_it(shared):
    b = shared()
    raw = Raw(b.port).send(b"GET /heliod.js HTTP/1.1\r\nHost: a\r\nOrigin: http://elsewhere\r\nConnection: close\r\n\r\n")
    status, fields, body = raw.response()
    assert status == 200 and fields["content-type"] == "text/javascript; charset=utf-8"
    assert fields["access-control-allow-origin"] == "*" and fields["x-content-type-options"] == "nosniff"
    assert body == SOURCE.read_text()


def test_it_is_sent_again_only_if_it_changed(shared):
    ask = b"%s /heliod.js HTTP/1.1\r\nHost: a\r\n%s\r\n"
    raw = Raw(shared().port).send(ask % (b"HEAD", b""))
    status, fields, _ = raw.head()
    assert (status, fields["cache-control"], fields["content-length"]) == (200, "no-cache", str(len(SOURCE.read_bytes())))
    tag = fields["etag"]
    for have, wanted in ((tag, 304), (f'"other", W/{tag}', 304), ('"other"', 200), (tag.strip('"'), 200)):
        raw.send(ask % (b"GET", f"If-None-Match: {have}\r\n".encode()))
        status, fields, body = raw.response()
        assert (status, fields["etag"], bool(body), "content-length" in fields) == (wanted, tag, wanted == 200, wanted == 200)
    raw.send(ask % (b"PUT", b""))
    assert raw.response()[0] == 405
    raw.close()


def test_it_is_small_and_imports_nothing(shared):
    text = SOURCE.read_text()
    assert len(text.encode()) <= 15 * 1024
    assert text.startswith("// @ts-check\n")
    assert not re.search(r"^import|\bimport\(|eval\(|innerHTML", text, flags=re.M)


# ---- events ----

def test_events_authenticates_joins_and_hears(shared, tab):
    b = shared(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "heartbeat_interval": "500ms",
                           "heartbeat_timeout": "2s", "rooms": {"join": ["*"], "publish": ["*"]}}])
    page, other = tab(b), tab(b)
    events(page, b, "{rooms: ['first'], heartbeat: 300}")
    events(other, b, "{heartbeat: 300}")
    assert told(page, "open")[0][0]["id"]
    page.js("c.join('second'); c.on('message:news', data => told.push(['news', data])); 0")
    for room in ("first", "second"):
        eventually(lambda: room in [r["room"] for r in b.rows("show", "rooms")], what=f"{room} is joined")
        other.js(f"c.send('publish', {{room: '{room}', event: 'news', data: '{room}'}})")
    page.until("told.filter(t => t[0] === 'news').length === 2")
    assert told(page, "news") == [["first"], ["second"]] and told(page, "message") == [["first", "news"], ["second", "news"]]
    page.js("c.leave('second'); 0")
    eventually(lambda: "second" not in [r["room"] for r in b.rows("show", "rooms")], what="left")


def test_heartbeats_keep_it(shared, tab):
    """Silence of 2 s would close 4002; the sweep looks every 500 ms."""
    b = shared(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "heartbeat_interval": "500ms",
                           "heartbeat_timeout": "2s", "rooms": {"join": ["*"], "publish": ["*"]}}])
    quiet, page = tab(b), tab(b)
    events(quiet, b, "{heartbeat: 1e6}")
    events(page, b, "{heartbeat: 300}")
    quiet.until("told.some(t => t[0] === 'lost' && t[1].code === 4002)")
    assert told(page, "lost") == [] and page.js("c.state") == "open"
    quiet.until("told.filter(t => t[0] === 'open').length > 1", "4002 is tried again")


def test_it_comes_back_to_its_rooms_after_a_crash(broker, tab):
    b = broker(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "rooms": {"join": ["*"]}}])
    page = tab(b)
    events(page, b, "{rooms: ['a']}")
    page.js("c.join('b'); c.join('c'); c.leave('c'); 0")
    eventually(lambda: "b" in [r["room"] for r in b.rows("show", "rooms")], what="joined")
    os.kill(b.workers()[0]["pid"], signal.SIGKILL)
    page.until("told.filter(t => t[0] === 'open').length === 2")
    lost = told(page, "lost")
    assert lost[0][0]["code"] == 1006 and all(0 <= one[0]["delay"] <= 30000 for one in lost)
    names = lambda: {r["room"] for r in b.rows("show", "rooms")}
    eventually(lambda: {"a", "b"} <= names(), what="the rooms are joined again")
    assert "c" not in names()
    b.ctl("send", "room", "b", "hello", '{"n": 1}')
    page.until("told.some(t => t[0] === 'message' && t[2] === 'hello')")


def test_each_attempt_has_a_fresh_token(broker, tab):
    b = broker(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}}])
    page = tab(b)
    page.js("globalThis.asked = 0; 0")
    events(page, b, "{token: async () => { if (++asked === 1) throw new Error('not yet'); return 't' + asked; }}")
    assert page.js("asked") == 2
    assert told(page, "lost")[0][0]["reason"] == "no token: Error: not yet"


def test_a_refused_token_is_not_tried_again(shared, tab):
    b = shared(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "static", "tokens": "u:sha256:" + "0" * 64}}])
    page = tab(b)
    page.js(f"globalThis.c = watch(new heliod.EventsClient('{b.url}/ws', {{token: 'wrong'}})); 0")
    page.until("c.state === 'ended'")
    assert told(page, "error") == [["Authentication failed"]]
    assert told(page, "end") == [[{"code": 4003, "reason": "Authentication failed"}]]
    assert told(page, "lost") == []


def test_an_operator_s_word_is_final_and_a_stop_is_not(broker, tab):
    b = broker()
    page = tab(b)
    events(page, b)
    b.ctl("kick", "client", told(page, "open")[0][0]["id"])
    page.until("c.state === 'ended'")
    assert told(page, "end")[0][0]["code"] == 4411
    again = tab(b)
    events(again, b)
    b.stop()
    again.until("told.some(t => t[0] === 'lost')")
    assert told(again, "lost")[0][0]["code"] == 1001
    b.start()
    again.until("told.filter(t => t[0] === 'open').length === 2")


def test_close_is_the_end(shared, tab):
    b = shared()
    page = tab(b)
    events(page, b)
    page.js("c.close(); c.close(); 0")
    assert told(page, "end") == [[{"code": 1000, "reason": ""}]] and page.js("c.send('x')") is False
    eventually(lambda: "code=1000" in b.log(), what="a normal end")
    page.js("globalThis.d = watch(new heliod.EventsClient('/nowhere')); d.close(); 0")
    assert page.js("d.state") == "ended"


@pytest.mark.parametrize("url, why", [
    ("ws://undefined/ws", "its host was not filled in"), ("ftp://a/", "cannot connect to ftp://a/"), ("http://[", "cannot connect to http://[")])
def test_a_url_that_is_none_ends_with_a_sentence(shared, tab, url, why):
    page = tab(shared())
    page.js(f"globalThis.c = watch(new heliod.EventsClient({json.dumps(url)})); 0")
    page.until("c.state === 'ended'")
    end = told(page, "end")[0][0]
    assert end["code"] == 4400 and why in end["reason"]


# ---- odd input ----

FAKE = """
class Fake { // a socket whose server is the test
    static OPEN = 1; static all = [];
    constructor(url) { this.url = String(url); this.readyState = 1; this.sent = []; Fake.all.push(this); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close(code) { this.readyState = 3; }
    say(m) { this.onmessage?.({data: typeof m === "string" ? m : JSON.stringify(m)}); }
    end(code) { this.onclose?.({code, reason: ""}); }
}
globalThis.WebSocket = Fake;
globalThis.told = [];
globalThis.socket = () => Fake.all.at(-1);
globalThis.turn = () => new Promise(done => setTimeout(done));
0"""

ODD = ["", "null", "1", "[]", "{}", '{"event":null}', '{"type":5}', '{"event":{},"data":null}', '{"type":"joined","peers":7}',
       '{"type":"joined","peers":[null,1,{"id":null}]}', '{"type":"user-left"}', '{"type":"user-returned"}', '{"type":"notification"}',
       '{"type":"notification","notification":[]}', '{"type":"notification","notification":{}}', '{"type":"list","notifications":{}}',
       '{"type":"error"}', '{"event":"error"}', '{"event":"error","data":null}', '{"type":"unread_count","count":"many"}',
       '{"type":"connection_established"}', '{"event":"connected"}', '{"type":"__proto__"}', '{"event":"constructor"}', "\x00"]


def test_odd_messages_make_none_of_them_throw(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    for kind in ("EventsClient", "SignalingClient", "NotificationsClient"):
        page.js(f"(async () => {{ globalThis.c = new heliod.{kind}('ws://x/'); await turn(); socket().onopen(); }})()")
        for text in ODD:
            page.js(f"socket().say({json.dumps(text)})")
        assert page.js("c.state") in ("connecting", "open")
        page.js("c.close()")
    assert [line for line in page.console if line.startswith("uncaught")] == []


def test_a_listener_that_throws_stops_nothing(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    page.js("""(async () => {
        globalThis.c = watch(new heliod.EventsClient("ws://x/"));
        c.on("open", () => { throw new Error("of the listener"); });
        c.on("open", () => told.push(["second"]));
        await turn(); socket().onopen(); socket().say({event: "connected", data: {id: "1"}}); await turn();
    })()""")
    assert page.js("c.state") == "open" and ["second"] in page.js("told")
    page.until("true")
    assert any("of the listener" in line for line in page.console)


def close_codes():
    """{code: Again?} of the page /docs."""
    text = (ROOT / "worker/http/assets/docs.html").read_text()
    return {int(code): again for code, again in re.findall(r'<tr data-code="(\d+)">.*<td>(yes|no)</td></tr>', text)}


@pytest.mark.parametrize("kind, welcome", [
    ("EventsClient", {"event": "connected", "data": {}}), ("SignalingClient", {"type": "joined", "peers": []}),
    ("NotificationsClient", {"type": "connection_established", "unread_count": 0})])
def test_it_gives_up_where_the_table_of_close_codes_says_so(shared, tab, kind, welcome):
    page = tab(shared())
    page.js(FAKE)
    codes = {**close_codes(), 1003: "no", 1013: "yes", 4400: "no", 4408: "yes", 4409: "no", 4410: "no", 4429: "yes", 4499: "no", 4599: "yes"}
    codes[4001] = "yes" if kind == "EventsClient" else "no"
    ended = page.js("""(async () => {
        const ended = {};
        for (const code of %s) {
            const c = new heliod.%s("ws://x/");
            await turn(); socket().onopen(); socket().say(%s); socket().end(code);
            ended[code] = c.state === "ended" ? "no" : "yes";
            c.close();
        }
        return ended;
    })()""" % (list(codes), kind, json.dumps(welcome)))
    assert {int(code): again for code, again in ended.items()} == codes


def test_an_expired_token_is_replaced_once_it_was_good(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    states = page.js("""(async () => {
        let n = 0, states = [];
        const c = new heliod.NotificationsClient("ws://x/n/?a=b", {token: () => "t/" + ++n});
        await turn(); await turn();
        states.push(socket().url);
        socket().say({type: "connection_established"}); socket().end(4001);
        states.push(c.state);
        while (c.state !== "connecting") await turn();
        await turn();
        states.push(socket().url);
        socket().end(4001);
        states.push(c.state);
        return states;
    })()""")
    assert states == ["ws://x/n/?a=b&token=t%2F1", "waiting", "ws://x/n/?a=b&token=t%2F2", "ended"]


def test_delays_grow_and_are_drawn_anew(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    delays = page.js("""(async () => {
        const delays = [], real = setTimeout;
        const c = new heliod.EventsClient("ws://x/");
        c.on("lost", ({delay}) => delays.push(delay));
        globalThis.setTimeout = (f, ms) => ms > 30000 - 1 ? 0 : real(f, 0);
        for (let i = 0; i < 60; i++) {
            while (c.state !== "connecting") await new Promise(done => real(done));
            await new Promise(done => real(done));
            socket().end(1006);
        }
        c.close();
        return delays;
    })()""")
    assert len(delays) == 60 and all(d <= min(30000, 500 * 2 ** i) for i, d in enumerate(delays))
    late = delays[10:]
    assert max(late) > 15000 and min(late) < 15000 and len(set(late)) == len(late)


# ---- signaling and notifications, against a scripted server ----

def test_signaling_fills_its_path_and_keeps_its_session(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    page.js("""(async () => {
        globalThis.c = watch(new heliod.SignalingClient("http://x/ws/{room}/{role}", {room: "a b/c", role: "doctor", token: "t"}));
        await turn(); socket().onopen();
    })()""")
    url = page.js("socket().url")
    session = re.fullmatch(r"ws://x/ws/a%20b%2Fc/doctor\?token=t&session=([\w.~-]{8,128})", url).group(1)
    assert page.js("sessionStorage['heliod.session']") == session
    page.reload()
    page.js(f"import('http://127.0.0.1:{shared().port}/heliod.js').then(m => {{ globalThis.heliod = m; }})")
    page.js(FAKE)
    page.js("(async () => { globalThis.c = new heliod.SignalingClient('ws://x/{room}/{role}', {room: 'r'}); await turn(); })()")
    assert page.js("socket().url") == f"ws://x/r/%7Brole%7D?session={session}"


def test_signaling_knows_who_is_there(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    names = page.js("""(async () => {
        globalThis.c = watch(new heliod.SignalingClient("ws://x/"), "user-joined", "user-left", "user-returned", "message:offer");
        await turn(); socket().onopen();
        const there = [], say = m => { socket().say(m); there.push([...c.peers.keys()].join()); };
        say({type: "joined", id: "me", peers: [{id: "a", userType: "doctor"}]});
        say({type: "user-joined", id: "b", userType: "nurse"});
        say({type: "user-returned", id: "b2", was: "b", userType: "nurse"});
        say({type: "user-left", id: "a", code: 1006, reason: "lost"});
        say({type: "offer", sdp: "x", from: {id: "b2"}});
        say({type: "pong"});
        c.send({type: "answer", to: "b2"});
        return there;
    })()""")
    assert names == ["a", "a,b", "a,b2", "b2", "b2", "b2"]
    assert [t[0] for t in page.js("told")][2:] == ["user-joined", "user-returned", "user-left", "message", "message:offer"]
    assert page.js("socket().sent") == [{"type": "answer", "to": "b2"}]
    assert page.js("[c.leave(), socket().sent.at(-1), c.state][1]") == {"type": "leave"} and page.js("c.state") == "ended"


def test_a_ping_without_pong_is_a_loss(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    page.js("""(async () => {
        globalThis.c = watch(new heliod.NotificationsClient("ws://x/", {heartbeat: 50}));
        await turn(); socket().onopen();
        const first = socket();
        first.send = function (text) { this.sent.push(JSON.parse(text)); if (this.sent.length < 4) setTimeout(() => this.say({type: "pong"})); };
        first.say({type: "connection_established", unread_count: 0});
    })()""")
    page.until("told.some(t => t[0] === 'lost')")
    assert told(page, "lost")[0][0]["reason"] == "no pong in time"
    assert page.js("WebSocket.all[0].sent") == [{"type": "ping"}] * 4 and page.js("WebSocket.all[0].readyState") == 3


def test_a_heartbeat_has_to_be_acknowledged_where_it_is(shared, tab):
    b = shared(endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "acknowledge": True}])
    page = tab(b)
    events(page, b, "{heartbeat: 50}")
    page.until("told.filter(t => t[2] === 'ack').length > 3")
    assert told(page, "message")[0][0]["ok"] is True and told(page, "lost") == []
    page.js(FAKE)
    page.js("""(async () => {
        globalThis.c = watch(new heliod.EventsClient("ws://x/", {heartbeat: 50}));
        await turn(); socket().onopen();
        socket().say({event: "connected", data: {}}); socket().say({event: "ack", data: {id: 0, ok: true}});
    })()""")
    page.until("told.some(t => t[0] === 'lost')")
    assert told(page, "lost")[0][0]["reason"] == "no pong in time"


def test_it_does_not_wait_when_the_network_is_back(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    states = page.js("""(async () => {
        const c = new heliod.EventsClient("ws://x/"), states = [], real = setTimeout;
        await turn();
        globalThis.setTimeout = () => 0; // nothing comes by time
        socket().end(1006);
        states.push(c.state);
        dispatchEvent(new Event("online"));
        states.push(c.state);
        globalThis.setTimeout = real;
        c.close();
        const made = WebSocket.all.length;
        dispatchEvent(new Event("online"));
        await turn();
        states.push(c.state, WebSocket.all.length - made);
        return states;
    })()""")
    assert states == ["waiting", "connecting", "ended", 0]


def test_a_server_that_says_nothing_is_given_up(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    page.js("""(async () => {
        const real = setTimeout;
        globalThis.setTimeout = (f, ms) => real(f, ms === 30000 ? 20 : ms);
        globalThis.c = watch(new heliod.SignalingClient("ws://x/"));
        await turn(); socket().onopen();
    })()""")
    page.until("told.some(t => t[0] === 'lost')")
    assert told(page, "lost")[0][0]["reason"] == "no answer in time" and page.js("WebSocket.all[0].readyState") == 3


def test_a_notification_is_told_once(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    page.js("""(async () => {
        globalThis.c = watch(new heliod.NotificationsClient("ws://x/"), "notification", "unread");
        for (const last of [3, 4]) {
            while (c.state !== "connecting") await turn();
            await turn(); socket().onopen();
            socket().say({type: "connection_established", user: "u", unread_count: last});
            for (let id = 1; id <= last; id++) socket().say({type: "notification", notification: {id: String(id)}});
            if (last === 3) socket().end(1006);
        }
        for (let id = 5; id < 1200; id++) socket().say({type: "notification", notification: {id: String(id)}});
        socket().say({type: "notification", notification: {id: "1199"}});
        socket().say({type: "unread_count", count: 9});
    })()""")
    assert [n[0]["id"] for n in told(page, "notification")] == [str(n) for n in range(1, 1200)]
    assert told(page, "unread") == [[3], [4], [9]] and page.js("c.unread") == 9


def test_pages_of_the_inbox_answer_who_asked(shared, tab):
    page = tab(shared())
    page.js(FAKE)
    pages = page.js("""(async () => {
        const c = new heliod.NotificationsClient("ws://x/");
        const early = await c.list();
        await turn(); socket().onopen(); socket().say({type: "connection_established"});
        const asked = [c.list({limit: 1}), c.list({before: "gone"}), c.list({limit: 1e9})];
        socket().say({type: "list", notifications: [{id: "1"}], more: true});
        socket().say({type: "error", code: "no-such-notification"});
        socket().say({type: "error", code: "unavailable"});
        asked.push(c.list({limit: "many"}));
        socket().end(1006);
        return [early, socket().sent, ...await Promise.all(asked)];
    })()""")
    assert pages == [None, [{"type": "list", "limit": 1}, {"type": "list", "before": "gone", "limit": 20}, {"type": "list", "limit": 100},
                            {"type": "list", "limit": 1}],
                     {"notifications": [{"id": "1"}], "more": True}, None, None, None]


# ---- signaling, against the real one ----

def rooms(shared):
    return shared(endpoints=[{"path": "/ws/signaling/{room}/{role}", "protocol": "signaling", "allowed_origins": ["*"], "roles": ["doctor", "patient"]}])


def enter(page, b, options, name="c"):
    page.js(f"globalThis.{name} = watch(new heliod.SignalingClient('{b.url}/ws/signaling/{{room}}/{{role}}', {options}), 'user-joined', 'user-left'); 0")


def test_signaling_talks(shared, tab):
    b = rooms(shared)
    doctor, patient = tab(b), tab(b)
    enter(doctor, b, "{room: 'talk', role: 'doctor', heartbeat: 100}")
    doctor.until("c.state === 'open'")
    enter(patient, b, "{room: 'talk', role: 'patient'}")
    patient.until("c.state === 'open'")
    me = told(doctor, "open")[0][0]["id"]
    assert patient.js("[...c.peers]") == [[me, {"id": me, "userType": "doctor"}]]
    patient.js(f"c.send({{type: 'offer', to: '{me}', sdp: 'x'}})")
    doctor.until("told.some(t => t[0] === 'message')")
    other = told(patient, "open")[0][0]["id"]
    assert told(doctor, "message") == [[{"type": "offer", "to": me, "sdp": "x", "from": {"id": other, "userType": "patient"}}]]
    doctor.js("c.send({type: 'offer', to: 'nobody'})")
    doctor.until("told.some(t => t[0] === 'error')")
    assert told(doctor, "error")[0][0]["code"] == "no-such-peer"
    patient.js("c.leave(); 0")
    doctor.until("told.some(t => t[0] === 'user-left')")
    assert told(doctor, "user-left")[0][0]["reason"] == "left" and doctor.js("c.peers.size") == 0
    assert doctor.js("c.state") == "open" and told(doctor, "lost") == []


@pytest.mark.parametrize("options, code, part", [
    ("{role: 'doctor'}", 4400, "room"), ("{room: undefined, role: 'doctor'}", 4400, "room"), ("{room: 'null', role: 'doctor'}", 4400, "null"),
    ("{room: 'r', role: 'cook'}", 4400, "cook"), ("{room: 'r', role: 'doctor', session: '?'}", 4400, "session")])
def test_signaling_is_told_what_its_url_lacks(shared, tab, options, code, part):
    b = rooms(shared)
    page = tab(b)
    enter(page, b, options)
    page.until("c.state === 'ended'")
    end = told(page, "end")[0][0]
    assert end["code"] == code and part in end["reason"] and told(page, "lost") == []


def test_signaling_does_not_fight_for_its_place(shared, tab):
    """The same tab a second time takes over, another tab is refused, and neither tries again."""
    b = rooms(shared)
    page, other = tab(b), tab(b)
    enter(page, b, "{room: 'place', role: 'doctor'}")
    page.until("c.state === 'open'")
    enter(other, b, "{room: 'place', role: 'doctor'}")
    other.until("c.state === 'ended'")
    assert told(other, "end")[0][0]["code"] == 4409
    enter(page, b, "{room: 'place', role: 'doctor'}", "second")
    page.until("c.state === 'ended' && second.state === 'open'")
    assert told(page, "end")[0][0]["code"] == 4410 and told(page, "lost") == [] and told(other, "lost") == []


# ---- notifications, against the real ones ----

BELL = [{"path": "/bell", "protocol": "notifications", "auth": {"method": "ticket"}}]


def ring(page, b, user):
    """A client that gets a ticket of its own for each attempt, from a back end: here the test."""
    page.js("globalThis.tickets = []; globalThis.c = null; 0")
    page.js(f"""globalThis.c = watch(new heliod.NotificationsClient('{b.url}/bell', {{token: async () => {{
        while (!tickets.length) await new Promise(done => setTimeout(done, 10));
        return tickets.shift();
    }}}}), 'notification', 'unread'); 0""")
    give(page, b, user)
    page.until("c.state === 'open'")


def give(page, b, user):
    page.js(f"tickets.push('{b.ctl('ticket', user, '--endpoint', '/bell').stdout.split()[-1]}')")


def test_a_bell_rings_in_every_tab(shared, tab):
    b = shared(endpoints=BELL)
    one, two = tab(b), tab(b)
    for page in (one, two):
        ring(page, b, "ann")
    made = b.ctl("notify", "ann", '{"title": "Hello"}').stdout.strip()
    for page in (one, two):
        page.until("c.unread === 1")
        assert [n[0]["title"] for n in told(page, "notification")] == ["Hello"]
    listed = one.js("c.list()")
    assert [n["title"] for n in listed["notifications"]] == ["Hello"] and listed["more"] is False
    assert listed["notifications"][0]["id"] in made
    one.js("c.markRead('unknown'); 0")
    one.js(f"c.markRead('{listed['notifications'][0]['id']}')")
    for page in (one, two):
        page.until("c.unread === 0")
    assert one.js("c.list({before: 'unknown'})") is None
    assert told(one, "error")[0][0]["code"] == "no-such-notification"
    b.ctl("notify", "ann", "{}")
    one.until("c.unread === 1")
    two.js("c.markAllRead()")
    one.until("c.unread === 0")


def test_what_came_while_it_was_away_is_told_once(broker, tab):
    b = broker(endpoints=BELL, workers=2)
    page = tab(b)
    ring(page, b, "ben")
    b.ctl("notify", "ben", '{"n": 1}')
    page.until("c.unread === 1")
    id = told(page, "open")[0][0]["id"]
    slot = next(r["slot"] for r in b.rows("show", "connections") if r["id"] == id)
    os.kill(next(w["pid"] for w in b.workers() if w["slot"] == slot), signal.SIGKILL)
    page.until("c.state !== 'open'")
    b.ctl("notify", "ben", '{"n": 2}')
    for _ in range(2):  # an attempt may meet the worker that is not yet back, and spend its ticket
        give(page, b, "ben")
    page.until("c.unread === 2 && told.filter(t => t[0] === 'notification').length === 2")
    assert [n[0]["n"] for n in told(page, "notification")] == [1, 2]
    assert told(page, "lost")[0][0]["code"] == 1006
