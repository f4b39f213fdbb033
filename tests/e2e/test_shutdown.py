"""The ways out: a graceful stop with clients in every state, those who do not answer, a second signal, shutdown_delay, helioctl stop."""
import asyncio
import json
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import time

import pytest

from client import connect, entered
from conftest import BUILD, SLACK, eventually, free_port
from crowd import Crowd, children, ctl, is_alive, pid_of, until
from rawws import REQUEST, Raw, frame

GOODBYE = struct.pack(">H", 1001) + b"Server shutting down"
ENDPOINTS = [
    {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "auth_timeout": "60s", "heartbeat_timeout": "10m"},
    {"path": "/echo", "protocol": "echo", "max_message": "16MiB"},
]


def house_of(b):
    return [b.proc.pid, *children(b.proc.pid)]


def has_left_cleanly(b, house, code=0):
    assert b.proc.wait(30 * SLACK) == code, b.log()
    assert not (b.dir / "run").exists()
    assert not [pid for pid in house[1:] if is_alive(pid)]
    assert b.http()[0] == 0
    return True


# ── 1,000 clients ──

AUTHENTICATE = frame(1, b'{"event":"authenticate"}')
STATES = {
    # name: (path, what it has sent after the handshake)
    "silent": ("/ws", b""),
    "authenticated": ("/ws", AUTHENTICATE),
    "in rooms": ("/ws", AUTHENTICATE + frame(1, b'{"event":"join","data":{"rooms":["public-a"]}}')),
    "half a header": ("/ws", b"\x81"),
    "half a message": ("/ws", AUTHENTICATE[:-5]),
    "between fragments": ("/echo", frame(1, b"hel", fin=False)),
    "echo": ("/echo", frame(2, b"x" * 3000)),
    "pinged": ("/echo", frame(9, b"are you there")),
}


class Crowded:
    """Bare clients by the hundred, watched together: what each was sent, until the end of its stream."""

    def __init__(self, port):
        self.port, self.selector, self.data, self.eof, self.state = port, selectors.DefaultSelector(), {}, set(), {}

    def add(self, state, count):
        path, more = STATES[state]
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", self.port))
            s.sendall(REQUEST.format(path=path, more="").encode() + more)
            s.setblocking(False)
            self.selector.register(s, selectors.EVENT_READ)
            self.data[s], self.state[s] = b"", state

    def read(self, until_all, seconds=30):
        end = time.monotonic() + seconds * SLACK
        while not until_all():
            assert time.monotonic() < end, "not reached"
            for key, _ in self.selector.select(1):
                s = key.fileobj
                try:
                    chunk = s.recv(65536)
                except ConnectionResetError:
                    chunk = b""
                self.data[s] += chunk
                if b"\x88" + bytes([len(GOODBYE)]) + GOODBYE in chunk:
                    s.sendall(frame(8, GOODBYE))
                if not chunk:
                    self.selector.unregister(s)
                    s.close()
                    self.eof.add(s)

    def frames(self, s):
        """What came after the handshake, as (opcode, payload)."""
        data, found = self.data[s].partition(b"\r\n\r\n")[2], []
        while data:
            n, at = data[1], 2
            if n == 126:
                n, at = struct.unpack(">H", data[2:4])[0], 4
            found.append((data[0] & 15, data[at:at + n]))
            data = data[at + n:]
        return found

def test_1000_clients_are_told(broker):
    b = broker(workers=2, endpoints=ENDPOINTS, client={"close_timeout": "1s"})  # halves of frames swallow the answer
    house = house_of(b)
    crowd = Crowded(b.port)
    for state in STATES:
        crowd.add(state, 1000 // len(STATES))
    crowd.read(lambda: all(b"\r\n\r\n" in d for d in crowd.data.values()))
    eventually(lambda: b.rows("status")[0]["websockets"] == 1000, 20, "all are open")
    crowd.read(lambda: all(b"connected" in d for s, d in crowd.data.items() if crowd.state[s] in ("authenticated", "in rooms")))
    b.signal(signal.SIGTERM)
    crowd.read(lambda: len(crowd.eof) == 1000)
    for s, state in crowd.state.items():
        assert crowd.frames(s)[-1] == (8, GOODBYE), (state, crowd.data[s][-200:])
        assert [opcode for opcode, _ in crowd.frames(s)].count(8) == 1
    assert has_left_cleanly(b, house)
    assert "stopping: SIGTERM" in b.log() and "killed" not in b.log() and "worker died" not in b.log()


def test_connections_that_are_no_websocket_yet(broker):
    """Somebody in the queue, in the middle of a request, between two requests, with a request on the way."""
    b = broker(endpoints=ENDPOINTS)
    house = house_of(b)
    kept = Raw(b.port).send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert kept.response()[0] == 200
    silent, half = Raw(b.port), Raw(b.port).send(b"GET /echo HTTP/1.1\r\nHos")
    eventually(lambda: b.rows("status")[0]["connections"] == 3, 10, "all there")
    worker = pid_of(b, 0)
    os.kill(worker, signal.SIGSTOP)
    # in the accept queue when the stop begins; its handshake is done with, and then it is told as all are
    queued = [Raw(b.port).send(REQUEST.format(path="/echo", more="").encode()) for _ in range(20)]
    b.signal(signal.SIGTERM)
    eventually(lambda: "stopping: SIGTERM" in b.log(), 10, "stopping")
    os.kill(worker, signal.SIGCONT)
    for q in queued:
        assert q.head()[0] == 101
        assert q.frame() == (1, 8, GOODBYE)
        q.send(frame(8, GOODBYE))
        assert q.eof()
        q.close()
    half.send(b"t: x\r\n\r\n")  # too late or not: an answer or the end, but no hanging
    for r in (kept, silent, half):
        while not r.eof():
            pass
        r.close()
    assert has_left_cleanly(b, house)


# ── those who do not answer ──

def test_clients_that_do_not_answer(broker):
    """They were told; after shutdown_timeout heliod goes without their answer."""
    b = broker(workers=2, endpoints=ENDPOINTS, shutdown_timeout="400ms")
    house = house_of(b)
    mute = [Raw(b.port).open("/echo") for _ in range(20)]
    stuck = Raw(b.port).open("/echo")  # its answers fill all buffers: not even the Close frame fits
    stuck.s.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            stuck.s.send(frame(2, b"x" * 60000))
    began = time.monotonic()
    b.signal(signal.SIGTERM)
    for r in mute:
        assert r.frame() == (1, 8, GOODBYE)
    assert has_left_cleanly(b, house)
    assert 0.4 <= time.monotonic() - began < 0.4 + 4 * SLACK
    for r in mute:
        assert r.eof()
    assert "killed" not in b.log()


async def test_workers_that_sleep(broker):
    b = broker(workers=2, endpoints=ENDPOINTS, shutdown_timeout="300ms")
    house = house_of(b)
    clients = [await entered(b.url) for _ in range(12)]
    slots = {c["id"]: c["slot"] for c in b.rows("show", "connections")}
    os.kill(pid_of(b, 1), signal.SIGSTOP)
    ends = [asyncio.create_task(c.closed(30)) for c in clients]
    b.signal(signal.SIGTERM)
    for c, end in zip(clients, ends):
        assert await end == ((1001, "Server shutting down") if slots[c.id] == 0 else (1006, ""))
    assert await asyncio.to_thread(has_left_cleanly, b, house)
    assert "did not leave in time: killed slot=1" in b.log()


# ── in haste ──

@pytest.mark.parametrize("first,second", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_stops_at_once(broker, first, second):
    """In the middle of waiting for close handshakes as well as during shutdown_delay."""
    b = broker(workers=2, endpoints=ENDPOINTS, shutdown_timeout="60s", shutdown_delay="60s" if first != second else "0s")
    house = house_of(b)
    mute = Raw(b.port).open("/echo")
    b.signal(first)
    if first == second:
        assert mute.frame() == (1, 8, GOODBYE)
    else:
        eventually(lambda: b.http()[0] == 503, 10, "unready")
    began = time.monotonic()
    b.signal(second)
    assert has_left_cleanly(b, house, 1)
    assert time.monotonic() - began < 5 * SLACK
    assert f"stopping at once: {second.name}" in b.log()


def test_a_signal_while_starting(broker):
    """Before it is ready: nothing is left of what had begun."""
    b = broker(workers=2, wait=False)
    eventually(lambda: "worker started" in b.log(), 10, "on its way")
    house = house_of(b)
    b.signal(signal.SIGTERM)
    assert b.proc.wait(30) == 0
    assert not [pid for pid in house[1:] if is_alive(pid)] and not (b.dir / "run").exists()


def test_a_stop_while_starting(workdir):
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "workers": 1, "listeners": [{"address": f"127.0.0.1:{free_port()}"}],
        "redis": {"url": f"redis://127.0.0.1:{free_port()}", "connect_timeout": "60s"},
        "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    with subprocess.Popen([BUILD / "heliod", "-n", "-c", conf], stderr=subprocess.PIPE, text=True) as p:
        eventually(lambda: (workdir / "run" / "heliod.sock").exists(), 10, "booting")
        p.terminate()
        assert p.wait(20 * SLACK) == 0
        assert "stopping: SIGTERM, before it was ready" in p.stderr.read()
    assert not (workdir / "run").exists()
    with subprocess.Popen([BUILD / "heliod", "-c", conf], stderr=subprocess.PIPE, text=True) as p:
        daemon = int(eventually(lambda: (pid := workdir / "run" / "heliod.pid").exists() and pid.read_text(), 10, "booting"))
        os.kill(daemon, signal.SIGTERM)
        assert p.wait(20 * SLACK) == 1  # who waits for a daemon is told that there is none
        assert "it ended while starting" in p.stderr.read()


# ── shutdown_delay ──

async def test_unready_while_still_serving(broker):
    b = broker(workers=2, shutdown_delay="700ms", **Crowd.ENDPOINTS)
    house = house_of(b)
    crowd = await Crowd(b).enter(4)
    b.signal(signal.SIGTERM)
    await until(lambda: b.http()[0] == 503, 10, "unready")
    status, body = b.http("/ready")
    assert status == 503 and "stopping" in body
    assert b.http("/health")[0] == 200
    late = await connect(b.url, "/echo")  # still let in
    await late.raw("hello")
    assert await late.ws.recv() == "hello"
    assert not any(t.end for t in crowd.talkers)
    done = await ctl(b, "reload", check=False)
    assert done.returncode == 3 and "heliod is stopping" in done.stderr
    b.signal(signal.SIGHUP)
    crowd.stopping = True
    assert await late.closed(20) == (1001, "Server shutting down")
    await crowd.wait(lambda: all(t.done() for t in crowd.tasks) and all(t.c.ws.closed for t in crowd.talkers), "all are told")
    assert {t.end for t in crowd.members} == {(1001, "Server shutting down")}
    assert {t.c.ws.close_code for t in crowd.echoing} == {1001}
    assert await asyncio.to_thread(has_left_cleanly, b, house)
    assert "SIGHUP ignored: heliod is stopping" in b.log()


# ── helioctl ──

async def test_ctl_stop(broker):
    b = broker(workers=2)
    house = house_of(b)
    c = await entered(b.url)
    end = asyncio.create_task(c.closed(20))
    done = await ctl(b, "stop")
    assert done.returncode == 0
    assert await end == (1001, "Server shutting down")
    assert await asyncio.to_thread(has_left_cleanly, b, house)
    assert (await ctl(b, "status", check=False)).returncode == 3


async def test_ctl_stop_now(broker):
    b = broker(workers=2, shutdown_timeout="60s", shutdown_delay="60s")
    house = house_of(b)
    c = await entered(b.url)
    assert (await ctl(b, "stop")).returncode == 0
    await until(lambda: b.http()[0] == 503, 10, "unready")
    assert (await ctl(b, "stop")).returncode == 0  # once more changes nothing
    assert b.http("/health")[0] == 200
    assert (await ctl(b, "stop", "now")).returncode == 0
    assert (await c.closed(20))[0] == 1006
    assert await asyncio.to_thread(has_left_cleanly, b, house)


# ── in company ──

async def test_stop_with_retired_workers(broker):
    """Those that a reload has retired take part in the stop: their clients are told 1001 like all others."""
    b = broker(workers=2, **Crowd.ENDPOINTS)
    clients = [await connect(b.url, "/echo") for _ in range(12)]
    b.write(workers=1)
    await ctl(b, "reload")
    await ctl(b, "drain", "0")
    assert len(b.workers("retiring")) == 2
    house = house_of(b)
    late = await connect(b.url, "/echo")
    ends = [asyncio.create_task(c.closed(20)) for c in [*clients, late]]
    b.signal(signal.SIGTERM)
    assert {await e for e in ends} == {(1001, "Server shutting down")}
    assert await asyncio.to_thread(has_left_cleanly, b, house)


async def test_stop_while_a_worker_comes_back(broker):
    b = broker(workers=2)
    c = [await connect(b.url, "/echo") for _ in range(6)]
    slots = {r["address"]: r["slot"] for r in b.rows("show", "connections")}
    ends = [asyncio.create_task(x.closed(20)) for x in c]
    house = house_of(b)
    os.kill(pid_of(b, 0), signal.SIGKILL)
    b.signal(signal.SIGTERM)
    for x, end in zip(c, ends):
        gone = slots["%s:%d" % x.ws.local_address[:2]] == 0
        assert (await end)[0] == (1006 if gone else 1001)
    assert await asyncio.to_thread(has_left_cleanly, b, house)
    assert len(re.findall("worker started", b.log())) == 2


def test_what_was_there_stays(broker):
    """A run_dir that existed, with somebody's file in it."""
    b = broker(wait=False)
    b.proc.kill()
    b.proc.wait()
    run = b.dir / "run"
    run.mkdir(exist_ok=True)
    (run / "note").write_text("mine")
    b.write(listeners=[{"address": f"127.0.0.1:{b.port}"}, {"address": f"unix:{b.dir}/s.sock"}])
    b.start()
    assert json.loads(b.conf.read_text())["listeners"] and (b.dir / "s.sock").exists()
    assert b.stop() == 0
    assert [p.name for p in run.iterdir()] == ["note"] and not (b.dir / "s.sock").exists()
