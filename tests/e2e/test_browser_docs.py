"""/docs in Chromium: its console connects to every endpoint there is, and the page can be read on a desk and in a hand."""
import os

import pytest

from chromium import Browser
from conftest import eventually

pytestmark = pytest.mark.xdist_group("chromium")  # one after the other: browsers are big

PATHS = {
    "/ws": {"protocol": "events", "auth": {"method": "anonymous"}, "rooms": {"join": ["public-*"], "publish": ["public-*"]}},
    "/ws/signaling/{room}/{role}": {"protocol": "signaling"},
    "/video/{room}/{role}": {"protocol": "signaling", "roles": ["doctor", "patient"], "grace": "5s"},
    "/bell": {"protocol": "notifications", "auth": {"method": "ticket"}},
    "/echo": {"protocol": "echo"},
}
CONF = {"endpoints": [{"path": path, **endpoint} for path, endpoint in PATHS.items()]}


@pytest.fixture(scope="module")
def browser():
    b = Browser()
    yield b
    b.close()


class Console:
    """The card of one endpoint."""

    def __init__(self, page, path):
        self.page = page
        self.card = f"[...document.querySelectorAll('.card')].find(c => c.querySelector('.path').textContent === {path!r})"
        page.js(f"{self.card}.querySelector('details').open = true")

    def js(self, source):
        return self.page.js(f"(find => {source})(s => {self.card}.querySelector(s))")

    def fill(self, selector, value):
        self.js(f"(find({selector!r}).value = {value!r}, find({selector!r}).dispatchEvent(new Event('input', {{bubbles: true}})))")

    def press(self, selector):
        self.js(f"find({selector!r}).click()")

    @property
    def lines(self):
        return self.js("[...find('.log').children].map(line => [line.children[1].textContent, line.children[2].textContent])")

    def until(self, sign, part):
        return eventually(lambda: [text for mark, text in self.lines if mark == sign and part in text], what=f"{sign} {part}: {self.lines}")

    def connect(self):
        self.press(".toggle")
        self.until("·", "connected")


@pytest.fixture
def docs(browser, shared):
    opened = []

    def start(width=1280, path="/docs", **keys):
        b = shared(**{**CONF, **keys})
        page = browser.page(f"http://127.0.0.1:{b.port}{path}", width=width)
        opened.append(page)
        return b, page

    yield start
    for page in opened:
        assert [line for line in page.console if not line.startswith("log:")] == []
        page.close()


def test_the_console_speaks_the_event_protocol(docs):
    _, page = docs()
    c = Console(page, "/ws")
    c.connect()
    c.until("→", '"event":"authenticate"')
    c.until("←", '"event":"connected"')
    c.press(".heartbeat")
    c.until("→", '{"event":"heartbeat"}')
    c.fill(".message", "no json")
    c.press(".send .primary")
    c.until("←", "Invalid message format")
    c.press(".toggle")
    c.until("×", "closed 1000")


def test_the_console_echoes(docs):
    _, page = docs()
    c = Console(page, "/echo")
    c.connect()
    c.press(".send .primary")
    c.until("←", "hello")
    assert c.js("[...find('.connect').querySelectorAll('[data-for]')].every(part => part.hidden)")


def test_the_console_enters_a_room(docs):
    _, page = docs()
    c = Console(page, "/ws/signaling/{room}/{role}")
    assert c.js("find('.url code').textContent").endswith("/ws/signaling/test-room/doctor")
    c.fill(".room", "room 9")
    assert c.js("find('.url code').textContent").endswith("/ws/signaling/room%209/doctor")
    c.connect()
    c.until("×", "closed 4400")
    c.fill(".room", "room-9")
    c.connect()
    c.until("←", '"type":"joined"')
    c.press(".heartbeat")
    c.until("←", '{"type":"pong"}')
    c.fill(".message", '{"type":"leave"}')
    c.press(".send .primary")
    c.until("×", "closed 1000")


def test_the_console_offers_the_roles_there_are(docs):
    _, page = docs()
    c = Console(page, "/video/{room}/{role}")
    assert c.js("[...find('select.role').options].map(o => o.value)") == ["doctor", "patient"]
    assert c.js("find('.free-role').hidden") is True and c.js("find('.token-field').hidden") is True
    c.fill("select.role", "patient")
    c.connect()
    c.until("←", '"userType":"patient"')


def test_the_console_reads_an_inbox(docs):
    b, page = docs()
    c = Console(page, "/bell")
    ticket = b.ctl("ticket", "zoe", "--endpoint", "/bell").stdout.split()[-1]
    c.fill(".token", ticket)
    assert c.js("find('.url code').textContent").endswith("/bell?token=•••")
    c.connect()
    c.until("←", '"type":"connection_established"')
    b.ctl("notify", "zoe", '{"title": "Hello"}')
    c.until("←", '"title":"Hello"')
    c.press(".samples button")
    c.press(".send .primary")
    c.until("←", '"type":"list"')
    c.press(".toggle")
    c.until("×", "closed 1000")
    c.press(".toggle")
    c.until("×", "closed 4001 “Unauthorized”\nSignaling, notifications: there was no token")
    assert ticket not in str(c.lines)


def test_a_token_is_not_shown(docs):
    _, page = docs()
    c = Console(page, "/ws")
    c.fill(".token", "very-secret")
    c.connect()
    c.until("←", '"event":"connected"')
    assert "very-secret" not in str(c.lines)


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_its_window(docs, width, tmp_path):
    b, page = docs(width)
    for path in PATHS:
        c = Console(page, path)
        if path == "/bell":
            c.fill(".token", b.ctl("ticket", "zoe", "--endpoint", path).stdout.split()[-1])
        c.connect()
    page.until("[...document.querySelectorAll('.state')].every(s => s.textContent === 'connected')")
    assert page.js("document.documentElement.scrollWidth") <= width
    small = page.js("""[...document.querySelectorAll("main *")].filter(e => e.childNodes.length && e.offsetParent &&
        [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && parseFloat(getComputedStyle(e).fontSize) < 12).map(e => e.outerHTML)""")
    assert small == []
    page.screenshot(os.path.join(os.environ.get("HELIOD_SHOTS", tmp_path), f"docs-{width}.png"))
