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
    token = b.dir / "alice.token"
    n = docs.js("document.querySelectorAll('.card').length")
    assert n == len(docs.js("broker.endpoints")) >= 3
    docs.js(f"""document.querySelectorAll('.card').forEach(card => {{
        card.querySelector('details').open = true;
        if (card.querySelector('.protocol').textContent === 'notifications') card.querySelector('.token').value = '{token.read_text().strip() if token.exists() else ""}';
        card.querySelector('.connect').requestSubmit();
    }})""")
    docs.until(f"[...document.querySelectorAll('.state')].filter(s => s.textContent === 'connected').length === {n}")
    for welcome in ('"event":"connected"', '"type":"joined"'):
        docs.until(f"document.body.textContent.includes({welcome!r})")


def test_two_tabs_make_a_call(newcomer, page):
    first = page("/demos/call")
    first.js("document.querySelector('#lobby').requestSubmit()")
    first.until("document.querySelector('#state').textContent.includes('Waiting')")
    second = page(first.js("document.querySelector('#link').href"), width=390)
    second.js("document.querySelector('#lobby').requestSubmit()")
    for tab, width in ((first, 1280), (second, 390)):
        tab.until("document.querySelector('#state').textContent === 'In a call.' && document.querySelector('#theirs').videoWidth > 0")
        assert tab.js("document.documentElement.scrollWidth") <= width
        shots = os.environ.get("HELIOD_SHOTS")
        if shots:
            tab.screenshot(f"{shots}/call-{width}.png")
    first.js("document.querySelector('#mute').click()")
    assert first.js("document.querySelector('#mute').getAttribute('aria-pressed')") == "true"
    assert first.js("document.querySelector('#own').srcObject.getAudioTracks()[0].enabled") is False
    second.js("document.querySelector('#hang-up').click()")
    eventually(lambda: "The guest has left" in first.js("document.querySelector('#state').textContent"), what="told")
    for tab in (first, second):
        assert [line for line in tab.console if "uncaught" in line or "Content Security" in line] == []


def test_the_demos_are_found(page):
    index = page("/demos", width=390)
    assert index.js("[...document.querySelectorAll('a.button')].map(a => a.getAttribute('href'))") == ["/demos/call", "/demos/bell"]
    assert index.js("document.querySelector('#no-signaling').hidden") is True
