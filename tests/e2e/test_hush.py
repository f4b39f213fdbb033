"""Whoever listens for secrets in logs and in what is shown (hush.py) hears them."""
import json

import pytest

import hush
from client import connect, entered
from conftest import Broker

SECRET = "s3cret-0123456789-abcdefghij"


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    monkeypatch.setattr(hush, "known", {})


@pytest.mark.parametrize("line", ["x {}", "/ws?token={} 200", '{{"token":"{}"}}', "a='{}'", "{}.", "token.{}", "user={},"])
def test_a_secret_is_heard(line):
    hush.keep("token", SECRET)
    for text in (SECRET, SECRET[:16], SECRET[:20] + "…"):
        assert list(hush.heard("before\n" + line.format(text) + "\nbehind").values()) == ["token"]


@pytest.mark.parametrize("text", ["", "short", "aaaaaaaaaaaaaaaaaaaaaa", "----------------", "several words of it", "3ee4e31f-6930-44cb-9877-ead120eb4eea", None, 5])
def test_what_is_none(text):
    hush.keep("payload", text)
    assert not hush.known and not hush.heard(str(text))


async def test_helpers_note_what_goes_by(broker):
    b = broker(api_keys=[{"name": "n", "key": "api-key-0123456789"}])
    await connect(b.url, "/ws?token=token-in-query-1&session=session-in-query-1&other=other-in-query-1",
                  extra_headers={"Authorization": "Bearer token-in-header-1"}, subprotocols=["token.token-in-protocol-1"])
    c = await entered(b.url, token="token-in-message-1")
    await c.say("join", {"rooms": ["a-room-of-theirs"]})
    await c.say("publish", {"room": "a-room-of-theirs", "event": "an-event-of-theirs", "data": {"x": ["payload-of-publish"]}})
    await c.say("custom-event-1", "payload-of-custom")
    await c.raw(json.dumps({"type": "offer-offer", "to": "nobody-at-all", "sdp": "payload-of-offer"}))
    b.ctl("send", "room", "a-room-of-theirs", "an-event-of-theirs", '"payload-of-helioctl"')
    assert set(hush.known) == {w[:16] for w in (
        "api-key-0123456789", "token-in-query-1", "session-in-query-1", "token-in-header-1", "token-in-protocol-1", "token-in-message-1",
        "payload-of-publish", "payload-of-custom", "payload-of-offer", "payload-of-helioctl")}


def test_what_others_say():
    hush.told(json.dumps({"type": "joined", "iceServers": [{"urls": ["turn:a"]}, {"urls": ["turn:b"], "credential": "credential-1-2-3"}]}))
    hush.answered({"sessionKey": "session-key-1-2-3", "send": [{"to": {"room": "a-room-of-it"}, "event": "e", "data": ["data-of-a-hook"]}]})
    hush.notified({"user": "a-user-of-it", "notification": {"id": "id-of-something", "title": {"x": "title-of-something"}}})
    for odd in (None, 5, [], {}, {"send": 5}, {"send": [5, {}]}, {"notification": 5}, "text"):
        hush.answered(odd)
        hush.notified(odd)
    assert set(hush.known) == {w[:16] for w in ("credential-1-2-3", "session-key-1-2-3", "data-of-a-hook", "title-of-something")}


def test_a_log_that_tells_fails_the_test(workdir):
    b = Broker(workdir / "b", api_keys=[{"name": "n", "key": "api-key-0123456789"}])
    hush.keep("payload", SECRET)
    assert b.http("/api/" + SECRET)[0] == 401  # a path is logged there
    with pytest.raises(AssertionError, match="the log holds what nobody should read"):
        b.close()


async def test_output_that_tells_fails_the_test(workdir):
    b = Broker(workdir / "b", endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "rooms": {"join": ["*"]}}])
    c = await entered(b.url)
    await c.join(SECRET)
    assert [r for r in b.rows("show", "rooms") if r["room"] == SECRET]
    hush.keep("ticket", SECRET)
    with pytest.raises(AssertionError, match="what helioctl showed holds"):
        b.close()
