"""What a killed or stopped process does to the others: a worker under load, the supervisor, Redis, a client, the system's limits."""
import asyncio
import contextlib
import itertools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

from backend import Backend
from client import connect, entered
from conftest import BUILD, eventually, free_port
from crowd import REQUEST, Connecting, Crowd, Member, children, ctl, echo_works, heliod, is_alive, pid_of, until
from rawws import Raw, frame
from test_bus import envelope


async def died_and_back(b, slot, victim):
    await until(lambda: pid_of(b, slot) not in (0, victim) and len(b.workers()) == 2, 20, "back")


# ── a worker ──

async def test_kill_under_load(broker):
    b = broker(workers=2, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter()
    victims, others = crowd.of(0), crowd.of(1)
    victim = pid_of(b, 0)
    with Connecting(b) as connecting:
        connecting.kill(victim)
        await crowd.wait(lambda: all(t.end for t in victims), "its clients see the end")
        await died_and_back(b, 0, victim)
        await crowd.progress()
    assert {t.end[0] for t in victims} == {1006}
    await crowd.finish(others)
    assert min(m.sent for m in others if isinstance(m, Member)) > 10
    assert re.search(rf"worker died slot=0 worker=1 pid={victim} signal=9 \(Killed\) uptime_ms=\d+ .*connections=[1-9]", b.log())
    [w] = [w for w in b.workers() if w["slot"] == 0]
    assert w["restarts"] == 1 and w["worker"] == 2


async def test_the_bus_reaches_the_others_all_the_while(broker):
    """1,000 broadcasts while a worker dies and comes back: each client of the other one gets each once, in order."""
    b = broker(workers=2, **Crowd.ENDPOINTS)
    clients = [await entered(b.url) for _ in range(12)]
    slots = {r["id"]: r["slot"] for r in b.rows("show", "connections")}
    pipe = __import__("redis").Redis(unix_socket_path=b.redis_path)
    victim = pid_of(b, 0)
    for n in range(1000):
        if n == 300:
            os.kill(victim, signal.SIGKILL)
        pipe.publish("ws:broadcast", envelope("broadcast", event="n", data=n))
    await died_and_back(b, 0, victim)
    for c in clients:
        if slots[c.id] == 1:
            assert [(await c.get())["data"] for _ in range(1000)] == list(range(1000))
    # and the new worker's clients are on the bus, too
    fresh = await entered(b.url)
    while slots.get(fresh.id) != 0:
        fresh = await entered(b.url)
        slots = {r["id"]: r["slot"] for r in b.rows("show", "connections")}
    pipe.publish("ws:broadcast", envelope("broadcast", event="again"))
    assert await fresh.get() == {"event": "again"}


def test_everybody_in_the_gap_is_served(broker):
    """The worker sleeps, clients connect into its queue and ask; it is killed: its successor answers each of them."""
    b = broker(workers=2)
    victim = pid_of(b, 0)
    os.kill(victim, signal.SIGSTOP)
    waiting = []
    for i in range(64):
        s = socket.create_connection(("127.0.0.1", b.port), timeout=20)
        s.sendall(REQUEST)
        waiting.append(s)
    os.kill(victim, signal.SIGKILL)
    for s in waiting:
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        s.close()
    assert b.counter("accepted") >= 64


@pytest.mark.parametrize("sig", [signal.SIGSEGV, signal.SIGTERM])
async def test_other_ends_of_a_worker(broker, sig):
    """A crash of its own; an operator's SIGTERM, which lets it say goodbye: both are made good."""
    b = broker(workers=2, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter()
    victim = pid_of(b, 0)
    os.kill(victim, sig)
    await crowd.wait(lambda: all(t.end for t in crowd.of(0)), "the end")
    await died_and_back(b, 0, victim)
    goodbye = {(1001, "Server shutting down")} if sig == signal.SIGTERM else {(1006, "")}
    assert {t.end for t in crowd.of(0)} == goodbye
    await crowd.finish(crowd.of(1))
    b.log_path.write_text(re.sub(r".*(==\d+==|AddressSanitizer|#\d+ 0x).*\n", "", b.log()))  # of our own SIGSEGV


async def test_back_end_hears_of_the_lost(broker):
    back_end = Backend()
    hooks = {"connected": back_end.url, "disconnected": back_end.url}
    b = broker(workers=2, endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}, "hooks": hooks}])
    clients = [await entered(b.url) for _ in range(8)]
    await until(lambda: len(back_end.seen("connected")) == 8, 10, "all connected")
    slots = {r["id"]: r["slot"] for r in b.rows("show", "connections")}
    servers = {slots[m["clientId"]]: m["serverId"] for m in back_end.seen("connected")}
    for slot in {0, 1} & servers.keys():
        os.kill(pid_of(b, slot), signal.SIGKILL)
        await until(lambda: {"hook": "lost", "serverId": servers[slot]} in back_end.seen("lost"), 10, "told")
    await until(lambda: len(b.workers()) == 2, 20, "back")
    await ctl(b, "drain", "0")  # leaves as it should: not lost
    await until(lambda: not b.workers("retiring"), 10, "left")
    assert len(back_end.seen("lost")) == len(servers)
    assert clients
    back_end.close()


async def test_a_successor_that_dies_leaves_the_old_one(broker):
    """drain: the worker that was to take over is killed before it is ready."""
    b = broker(workers=1, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter(2)
    old = pid_of(b, 0)
    asked = asyncio.create_task(ctl(b, "drain", "0", check=False))
    while not asked.done():
        for pid, name in children(b.proc.pid).items():
            if pid != old and not name.startswith("redis"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0)
    done = await asked
    if done.returncode:  # it was caught in time
        assert "died before it was ready" in done.stderr
        assert pid_of(b, 0) == old
    await until(lambda: b.http()[0] == 200, 10, "served")
    await crowd.progress()
    await crowd.finish()


# ── the supervisor ──

def redis_of(pid):
    return [p for p, name in children(pid).items() if name.startswith("redis")]


async def test_the_supervisor_dies_and_its_house_with_it(broker):
    """Clients are told 1001, workers leave, the managed Redis goes; the next start finds nothing in its way."""
    b = broker(workers=2)
    clients = [await entered(b.url) for _ in range(8)] + [await connect(b.url, "/echo") for _ in range(8)]
    house = [*children(b.proc.pid)]
    assert len(house) == 3
    waits = [asyncio.create_task(c.closed(20)) for c in clients]
    b.proc.kill()
    assert set(await asyncio.gather(*waits)) == {(1001, "Server shutting down")}
    await until(lambda: not any(map(is_alive, house)), 20, "nobody is left")
    b.proc.wait()
    assert b.http()[0] == 0
    await asyncio.to_thread(b.start)
    await asyncio.to_thread(echo_works, b.port)
    assert await asyncio.to_thread(b.stop) == 0
    assert not any((b.dir / "run").iterdir())


def test_an_orphaned_redis_is_ended(broker):
    """Redis as it would stay if it had escaped the kernel's signal: started by hand on the same socket, pidfile and all."""
    b = broker()
    b.proc.kill()
    b.proc.wait()
    eventually(lambda: b.http()[0] == 0, 10, "gone")
    run = b.dir / "run"
    (run / "redis").mkdir(exist_ok=True)
    (run / "redis" / "redis.sock").unlink(missing_ok=True)
    orphan = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", b.redis_path, "--save", ""],
                              stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: os.path.exists(b.redis_path), 10, "it serves")
        started = open(f"/proc/{orphan.pid}/stat").read().rpartition(")")[2].split()[19]
        (run / "redis.pid").write_text(f"{orphan.pid} {started}\n")
        b.start()
        assert orphan.wait(10) == -signal.SIGKILL
        assert f"ending redis-server of an earlier heliod pid={orphan.pid}" in b.log()
        echo_works(b.port)
        assert b.stop() == 0
        # a stranger there is not ours to end
        run.mkdir(exist_ok=True)
        (run / "redis").mkdir()
        orphan = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", b.redis_path, "--save", ""],
                                  stdout=subprocess.DEVNULL)
        eventually(lambda: os.path.exists(b.redis_path), 10, "it serves")
        done = heliod("-n", "-c", b.conf)
        assert done.returncode == 1 and "socket already in use" in done.stderr and f"pid {orphan.pid}" in done.stderr
        assert orphan.poll() is None
    finally:
        orphan.kill()
        orphan.wait()


# ── somebody who sleeps ──

async def test_a_client_that_sleeps_delays_nobody(broker):
    b = broker(client={"close_timeout": "300ms"}, **Crowd.ENDPOINTS)
    sleeper = Raw(b.port).open("/ws")
    sleeper.send(frame(1, b'{"event":"authenticate"}'))
    assert b"connected" in sleeper.frame()[2]
    awake = await entered(b.url)
    pipe = __import__("redis").Redis(unix_socket_path=b.redis_path)
    for n in range(1000):
        pipe.publish("ws:broadcast", envelope("broadcast", event="n", data={"n": n, "x": "y" * 100000}))
        assert (await awake.get())["data"]["n"] == n
        if n % 20 == 19 and b.counter("closed_slow") == 1:
            break
    else:
        raise AssertionError("the sleeper was kept")
    await awake.flush()
    sleeper.close()


async def test_redis_that_sleeps(broker):
    """Clients stay, local publishes arrive, a stop is not held up by it."""
    b = broker(workers=1, **Crowd.ENDPOINTS)
    one, two = await entered(b.url), await entered(b.url)
    await one.join("public-a")
    await two.join("public-a")
    [redis] = redis_of(b.proc.pid)
    os.kill(redis, signal.SIGSTOP)
    for n in range(20):
        await one.say("publish", {"room": "public-a", "event": "n", "data": n})
        assert await two.get() == {"event": "n", "data": n}
    assert b.http("/health")[0] == 200
    os.kill(redis, signal.SIGCONT)
    await ctl(b, "send", "room", "public-a", "awake")
    assert await two.get() == {"event": "awake"}
    os.kill(redis, signal.SIGSTOP)
    ends = [asyncio.create_task(c.closed(20)) for c in (two,)]
    assert await asyncio.to_thread(b.stop) == 0
    assert await ends[0] == (1001, "Server shutting down")
    assert "managed Redis does not end: killed" in b.log() and not is_alive(redis)
    assert not (b.dir / "run").exists()


async def test_redis_sleeps_at_boot(redis_server, workdir):
    """An external Redis that accepts but never answers is refused like one that is not there."""
    r = redis_server()
    r.proc.send_signal(signal.SIGSTOP)
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({"run_dir": str(workdir / "run"), "workers": 1, "listeners": [{"address": f"127.0.0.1:{free_port()}"}],
                                "redis": {"url": r.url, "connect_timeout": "500ms"},
                                "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    done = heliod("-n", "-c", conf)
    assert done.returncode == 1 and "Invalid redis connection! " + r.url in done.stderr, done.stderr
    assert not (workdir / "run").exists()


# ── limits ──

def open_to(port, n):
    """n connections that have asked for an upgrade; those that were served are told apart by `served`."""
    found = []
    for _ in range(n):
        r = Raw(port)
        r.send(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        r.s.setblocking(False)
        found.append(r)
    return found


def served(raws):
    for r in raws:
        try:
            r.data += r.s.recv(4096)
        except BlockingIOError:
            pass
    return [r for r in raws if r.data.startswith(b"HTTP/1.1 101")]


def test_limit_of_connections(broker):
    b = broker(limits={"connections": 10})
    raws = open_to(b.port, 14)
    eventually(lambda: len(served(raws)) == 10 and b.counter("accept_paused") > 0, 10, "ten are served")
    first = served(raws)
    late = [r for r in raws if r not in first]
    assert b.rows("status")[0]["connections"] == 10
    for r in first[:3]:
        r.close()
    eventually(lambda: len(served(late)) == 3, 10, "as places become free")
    b.write(limits={"connections": 100})
    b.ctl("reload")
    eventually(lambda: len(served(late)) == 4, 10, "and as the limit rises")
    for r in first[3:] + late:
        r.close()
    eventually(lambda: b.rows("status")[0]["connections"] == 0, 10, "all left")


def limit_descriptors(pid, more):
    """Room for this many more descriptors in a running process; returns the old limit."""
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    free = (fd for fd in itertools.count() if fd not in used)
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(itertools.islice(free, more, None)), old[1]))
    return old


def ticks(pid):
    """Processor time used, in hundredths of a second."""
    return sum(map(int, open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[11:13]))


def test_descriptors_run_out_and_come_back(broker):
    b = broker()
    pid = pid_of(b, 0)
    old = limit_descriptors(pid, 5)
    raws = open_to(b.port, 12)
    eventually(lambda: b.counter("accept_paused") > 0, 10, "accepting pauses")
    first = served(raws)
    assert 0 < len(first) < 12
    spent = ticks(pid)
    paused = b.counter("accept_paused")
    eventually(lambda: b.counter("accept_paused") > paused + 5, 10, "it looks again now and then")
    assert ticks(pid) - spent < 30, "and does not spin meanwhile"
    assert len(re.findall("accepting pauses", b.log())) == 1
    for r in first[:2]:
        r.close()
    eventually(lambda: len(served([r for r in raws if r not in first])) >= 2, 10, "a place is a place")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
    eventually(lambda: len(served([r for r in raws if r not in first])) == 12 - len(first), 10, "all are served in the end")
    assert is_alive(pid) and b.rows("status")[0]["running"] == 1
    for r in raws:
        r.close()


def test_a_queue_is_handed_over_without_descriptors(broker):
    """Slot 1 is given up while no worker has room for those who wait: nobody is cut off; all are served when there is room."""
    b = broker(workers=2)
    pids = pid_of(b, 0), pid_of(b, 1)
    old = [resource.prlimit(pid, resource.RLIMIT_NOFILE, (140, 20000)) for pid in pids]
    b.ctl("reload")  # connections of a worker are bounded by what descriptors allow
    raws = open_to(b.port, 500)
    eventually(lambda: all(n > 0 for n in next(r for r in b.rows("show", "counters") if r["name"] == "accept_paused")["slots"]),
               10, "both pause")
    early = served(raws)
    assert 100 < len(early) < 200
    b.write(workers=1)
    b.ctl("reload")
    eventually(lambda: "retiring: " in b.log(), 10, "the queue is handed over")
    b.ctl("reload")  # still possible: some descriptors are kept back
    for r in early:
        r.close()
    eventually(lambda: len(served([r for r in raws if r not in early])) > 50, 10, "places that become free are taken")
    for pid, limit in zip(pids, old):
        with contextlib.suppress(ProcessLookupError):  # the retired one may have left
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    b.ctl("reload")
    late = [r for r in raws if r not in early]
    eventually(lambda: len(served(late)) == len(late), 10, "all are served")
    for r in late:
        r.close()
    eventually(lambda: not b.workers("retiring"), 10, "the retired one leaves")
    assert "too many open files" not in b.log().lower()


def test_listeners_that_did_not_arrive(broker):
    """A worker has one descriptor left when two new listeners are sent: it gets the other one as soon as there is room."""
    b = broker()
    pid, ports = pid_of(b, 0), (free_port(), free_port())
    eventually(lambda: b.rows("status")[0]["connections"] == 0, 10, "it rests")
    old = limit_descriptors(pid, 1)
    b.write(listeners=b.keys["listeners"] + [{"address": f"127.0.0.1:{p}"} for p in ports])
    b.ctl("reload")
    eventually(lambda: "no descriptor is free to receive it into" in b.log(), 10, "one did not arrive")
    done = b.ctl("reload", check=False)
    assert done.returncode == 1 and "no descriptor is free in a worker to receive it into" in done.stderr
    resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
    for port in (*ports, b.port):
        echo_works(port)
    b.ctl("reload")


def test_the_supervisor_without_descriptors(broker):
    """helioctl has to wait, a reload fails with a reason; the supervisor does not spin, clients are served."""
    b = broker()
    old = limit_descriptors(b.proc.pid, 0)
    with subprocess.Popen([BUILD / "helioctl", "-s", b.dir / "run" / "heliod.sock", "status"], stdout=subprocess.PIPE) as waiting:
        b.signal(signal.SIGHUP)
        eventually(lambda: "reload refused, the old configuration stands" in b.log(), 10, "refused")
        spent = ticks(b.proc.pid)
        for _ in range(40):
            echo_works(b.port)
        assert ticks(b.proc.pid) - spent < 10
        resource.prlimit(b.proc.pid, resource.RLIMIT_NOFILE, old)
        assert waiting.wait(20) == 0
    b.ctl("reload")
    echo_works(b.port)


# ── logs ──

def test_log_file_is_reopened(broker):
    b = broker(workers=1)
    path, renamed = b.dir / "heliod.log", b.dir / "heliod.log.1"
    b.write(log={"target": str(path)})
    b.ctl("reload")
    eventually(lambda: "configuration 2 is in force" in path.read_text(), 10, "the reload goes there")
    assert path.stat().st_mode & 0o777 == 0o640
    path.rename(renamed)
    os.kill(pid_of(b, 0), signal.SIGKILL)
    eventually(lambda: "worker died" in renamed.read_text(), 10, "the old file is written until the signal")
    b.signal(signal.SIGUSR1)
    eventually(lambda: path.exists() and "log reopened" in path.read_text(), 10, "a new file")
    eventually(lambda: len(b.workers()) == 1, 20, "back")
    size = renamed.stat().st_size
    b.ctl("reload")
    eventually(lambda: "configuration 3" in path.read_text(), 10, "and all that follows")
    assert renamed.stat().st_size == size
    # a place that cannot be opened keeps the old file
    path.unlink()
    b.dir.joinpath("heliod.log").mkdir()
    b.signal(signal.SIGUSR1)
    b.ctl("status")
    path.rmdir()
    b.signal(signal.SIGUSR1)
    eventually(lambda: path.exists() and "log reopened" in path.read_text(), 10, "and is asked again")


async def test_a_full_disk_harms_nobody(broker):
    b = broker(workers=1, log={"target": "/dev/full", "level": "debug"})
    clients = [await entered(b.url) for _ in range(4)]
    for c in clients:
        await c.flush()
        await c.close()
    assert b.log().count("lines are being lost: /dev/full takes none: No space left on device") == 1
    b.write(log={"target": str(b.dir / "x.log")})
    await ctl(b, "reload")
    assert "configuration 2 is in force" in (b.dir / "x.log").read_text()
