"""The broker that scripts/run starts, as a newcomer meets it: in a browser."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from chromium import Browser, Site
from conftest import BUILD, ROOT, Broker, eventually, free_port

pytestmark = pytest.mark.xdist_group("chromium")  # one after the other: browsers are big


@pytest.fixture(scope="module")
def newcomer():
    """(broker, browser): the configuration is the one that scripts/run writes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="heliod-", dir="/tmp"))
    port = free_port()
    subprocess.run([ROOT / "scripts/run", "--config", path, BUILD], env={**os.environ, "PORT": str(port)}, check=True)
    b = Broker(path, (path / "heliod.yaml").read_text(), port=port, workers="auto")
    browser = Browser()
    yield b, browser
    browser.close()
    b.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def page(newcomer):
    opened = []

    def start(path, **how):
        b, browser = newcomer
        opened.append(browser.page(f"http://localhost:{b.port}{path}" if path.startswith("/") else path, **how))
        return opened[-1]

    yield start
    for p in opened:
        p.close()


def token(b):
    return (b.dir / "alice.token").read_text().strip()


def shoot(page, name):
    """For people to look at."""
    if "HELIOD_SHOTS" in os.environ:
        page.screenshot(f"{os.environ['HELIOD_SHOTS']}/{name}.png")


TYPED = """new Promise((done, failed) => {
    const ws = new WebSocket('ws://localhost:%d/ws/signaling/test-room/doctor')
    ws.onopen = () => { done('Connected!'); ws.close(); }
    ws.onerror = e => failed(new Error('Error'))
})"""


def test_what_one_types_into_a_console_connects(newcomer, page):
    """The manual test of people whose signaling fails: from any page's console."""
    site = Site({"/": "<!DOCTYPE html><title>a front end</title>"})
    try:
        for where in (site.origin, "about:blank", "/docs", "/health"):
            assert page(where).js(TYPED % newcomer[0].port) == "Connected!", where
    finally:
        site.close()


def test_the_docs_connect_to_every_endpoint(newcomer, page):
    b, _ = newcomer
    docs = page("/docs")
    n = docs.js("document.querySelectorAll('.card').length")
    assert docs.js("broker.endpoints.map(e => e.protocol).sort()") == ["echo", "events", "notifications", "signaling"] and n == 4
    docs.js(f"""document.querySelectorAll('.card').forEach(card => {{
        card.querySelector('details').open = true;
        if (card.querySelector('.protocol').textContent === 'notifications') card.querySelector('.token').value = '{token(b)}';
        card.querySelector('.connect').requestSubmit();
    }})""")
    docs.until(f"[...document.querySelectorAll('.state')].filter(s => s.textContent === 'connected').length === {n}")
    for welcome in ('"event":"connected"', '"type":"joined"', '"type":"connection_established"'):
        docs.until(f"[...document.querySelectorAll('.log .in')].some(line => line.textContent.includes({welcome!r}))")
    assert token(b) not in docs.js("document.documentElement.textContent")
    for width in (1280, 390):
        docs.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        assert docs.js("document.documentElement.scrollWidth") <= width
        shoot(docs, f"docs-{width}")


def test_two_tabs_make_a_call(newcomer, page):
    first = page("/demos/call")
    first.js("document.querySelector('#lobby').requestSubmit()")
    first.until("document.querySelector('#state').textContent.includes('Waiting')")
    second = page(first.js("document.querySelector('#link').href"), width=390)
    second.js("document.querySelector('#lobby').requestSubmit()")
    for tab, width in ((first, 1280), (second, 390)):
        tab.until("document.querySelector('#state').textContent === 'In a call.' && document.querySelector('#theirs').videoWidth > 0")
        assert tab.js("document.documentElement.scrollWidth") <= width
        shoot(tab, f"call-{width}")
    first.js("document.querySelector('#mute').click()")
    assert first.js("document.querySelector('#mute').getAttribute('aria-pressed')") == "true"
    assert first.js("document.querySelector('#own').srcObject.getAudioTracks()[0].enabled") is False
    second.js("document.querySelector('#hang-up').click()")
    eventually(lambda: "The guest has left" in first.js("document.querySelector('#state').textContent"), what="told")
    for tab in (first, second):
        assert [line for line in tab.console if "uncaught" in line or "Content Security" in line] == []


def test_two_tabs_share_a_bell(newcomer, page):
    b, _ = newcomer
    tabs = [page(f"/demos/bell#token={token(b)}", width=width) for width in (1280, 390)]

    def badges(text, fresh):
        for tab in tabs:
            tab.until(f"(document.querySelector('#badge').hidden ? '' : document.querySelector('#badge').textContent) === '{text}' "
                      f"&& document.querySelectorAll('#list .fresh').length === {fresh}")

    for tab in tabs:
        tab.until("document.querySelector('#state').textContent === 'Connected as alice.'")
    badges("", 0)
    for n, notification in enumerate(('{"title": "Hello"}', '{"title": "<b>bold?</b>", "text": "two\\nlines"}', '{"anything": [1, 2]}'), 1):
        b.ctl("notify", "alice", notification)
        badges(str(n), n)
    titles = "[...document.querySelectorAll('#list .title')].map(t => t.textContent)"
    assert tabs[0].js(titles) == tabs[1].js(titles) == ['{"anything":[1,2]}', "<b>bold?</b>", "Hello"]
    assert tabs[1].js("document.title") == "(3) heliod: a bell"
    for tab, width in zip(tabs, (1280, 390)):
        assert tab.js("document.documentElement.scrollWidth") <= width
        shoot(tab, f"bell-{width}")
    tabs[1].js("document.querySelectorAll('#list .read')[1].click()")
    badges("2", 2)
    tabs[0].js("document.querySelector('#all').click()")
    badges("", 0)
    for tab in tabs:
        assert [line for line in tab.console if "uncaught" in line or "Content Security" in line] == []


def test_a_bell_shows_older_ones_when_asked(newcomer, page):
    b, _ = newcomer
    tab = page(f"/demos/bell#token={token(b)}")
    tab.until("document.querySelector('#state').textContent === 'Connected as alice.'")
    have = lambda: tab.js("document.querySelectorAll('#list li').length")
    for n in range(25):
        b.ctl("notify", "alice", f'{{"title": "number {n}"}}')
    tab.until("document.querySelector('#list .title')?.textContent === 'number 24' && !document.querySelector('#more').hidden")
    assert have() == 20
    tab.js("document.querySelector('#more').click()")
    eventually(lambda: have() > 24, what="the older ones")
    tab.js("document.querySelector('#all').click()")
    tab.until("document.querySelector('#badge').hidden")


def test_a_bell_without_a_good_token_says_so(newcomer, page):
    tab = page("/demos/bell#token=wrong")
    tab.until("document.querySelector('#state').textContent === 'Closed 4001: Unauthorized'")
    assert tab.js("document.querySelector('#enter').hidden") is False
    b, _ = newcomer
    ticket = b.ctl("ticket", "bob", "--endpoint", "/ws/notifications/").stdout.split()[-1]
    tab.js(f"document.querySelector('#token').value = '{ticket}'; document.querySelector('#enter').requestSubmit()")
    tab.until("document.querySelector('#state').textContent === 'Connected as bob.'")


def test_the_demos_are_found(page):
    index = page("/demos", width=390)
    assert index.js("[...document.querySelectorAll('a.button')].map(a => a.getAttribute('href'))") == ["/demos/call", "/demos/bell"]
    assert index.js("[...document.querySelectorAll('.bad')].every(part => part.hidden)")
