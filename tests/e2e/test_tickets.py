"""One-time tickets at the door of signaling and notifications."""
import pytest

from client import connect

ENDPOINTS = [{"path": "/bell", "protocol": "notifications", "auth": {"method": "ticket"}},
             {"path": "/s/{room}/{role}", "protocol": "signaling", "auth": {"method": "ticket"}}]


def mint(b, endpoint, user="u"):
    return b.ctl("ticket", user, "--endpoint", endpoint, "--ttl", "30s").stdout.split()[-1]


@pytest.mark.parametrize("endpoint, path, welcome", [("/bell", "/bell", "connection_established"), ("/s/{room}/{role}", "/s/r/doctor", "joined")])
async def test_a_ticket_is_good_once_and_at_its_own_place(shared, endpoint, path, welcome):
    b = shared(endpoints=ENDPOINTS)
    ticket = mint(b, endpoint)
    c = await connect(b.url, f"{path}?token={ticket}")
    assert (await c.get())["type"] == welcome
    await c.close()
    other = mint(b, next(e["path"] for e in ENDPOINTS if e["path"] != endpoint))
    for bad in (ticket, other, ticket[:-1] + ("a" if ticket[-1] != "a" else "b")):
        c = await connect(b.url, f"{path}?token={bad}")
        assert await c.closed() == (4001, "Unauthorized")
    assert len(b.workers()) == 1 and b.workers()[0]["restarts"] == 0


@pytest.mark.parametrize("path", ["/bell", "/s/r/doctor"])
async def test_who_leaves_while_the_ticket_is_looked_at_hurts_nobody(shared, path):
    b = shared(endpoints=ENDPOINTS)
    before = b.counter("auth_refused") + b.counter("auth_accepted")
    for n in range(20):
        ticket = mint(b, "/bell" if path == "/bell" else "/s/{room}/{role}") if n % 2 else "no-ticket"
        c = await connect(b.url, f"{path}?token={ticket}")
        c.ws.transport.abort()
    c = await connect(b.url, f"{path}?token={mint(b, '/bell' if path == '/bell' else '/s/{room}/{role}')}")
    assert (await c.get())["type"] in ("joined", "connection_established")
    assert b.counter("auth_refused") + b.counter("auth_accepted") > before
    assert b.workers()[0]["restarts"] == 0
