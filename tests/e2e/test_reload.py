"""Reload: a bad file changes nothing and says why; a good one is in force everywhere, with nobody disconnected and nothing lost."""
import asyncio
import hashlib
import os
import re
import signal
import socket
import subprocess

import pytest
import websockets

from client import connect, entered
from conftest import BUILD, SLACK, eventually, free_port
from crowd import Connecting, Crowd, ctl, echo_works, is_alive, pid_of, until, with_bus
from rawws import Raw, frame
from test_events import error

HAS_IPV6 = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") and open("/proc/net/if_inet6").read() != ""


def generation(b):
    return b.rows("status")[0]["generation"]


def refused(b, *reasons):
    """A reload that must fail: the reason is told to helioctl and the log, and everything stands as it did."""
    before = b.rows("show", "config"), [w["pid"] for w in b.workers()], generation(b), len(b.log())
    done = b.ctl("reload", check=False)
    assert done.returncode == 1 and done.stdout == "", done
    for reason in reasons:
        assert re.search(reason, done.stderr), done.stderr
        assert re.search("reload refused, the old configuration stands: .*" + reason, b.log()[before[3]:])
    assert done.stderr.count("\n") == 1
    assert (b.rows("show", "config"), [w["pid"] for w in b.workers()], generation(b)) == before[:3]
    assert b.http("/ready")[0] == 200


# ── a bad file ──

BAD = [
    ("endpoints:\n  - path: /ws\n    protocl: events\n", r"heliod\.yaml:3: .*protocl.*protocol"),
    ("workers: 0\nendpoints: [{path: /ws}]\n", r"heliod\.yaml:1: .*workers"),
    ("workers: 2\nworkers: 3\nendpoints: [{path: /ws}]\n", r"heliod\.yaml:2: .*workers"),
    ("workers: 2\n\tx: 1\n", r"heliod\.yaml:2"),
    ("", r"heliod\.yaml:1: "),
    ("workers: 2\n", r"heliod\.yaml.*endpoints"),
    ("endpoints:\n  - {path: /ws}\n  - {path: /ws, protocol: echo}\n", r"heliod\.yaml:3: .*/ws"),
    ("endpoints: [{path: /ws}]\nlisteners:\n  - {address: 'localhost:80'}\n", r"heliod\.yaml:3: .*localhost"),
    ("endpoints:\n  - {path: /ws, auth: {method: static, tokens_file: /nowhere/tokens}}\n", r"heliod\.yaml:2: .*/nowhere/tokens"),
    ("endpoints: [{path: /ws}]\nrun_dir: RUN\nlog: {target: /nowhere/at/all}\n", r"heliod\.yaml:3: log\.target /nowhere/at/all: No such file"),
    # so much only a worker finds out
    ("workers: 3\nrun_dir: RUN\nendpoints:\n  - path: /ws\n    auth: {method: jwt, algorithms: [RS256], key: "
     '"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\\n"}\n', r"heliod\.yaml: endpoint /ws: .*key"),
    ("endpoints:\n  - {path: /ws, auth: {method: jwt, key_env: NOT_SET_HERE, algorithms: [HS256]}}\n",
     r"heliod\.yaml:2: .*NOT_SET_HERE"),
]


async def test_bad_files_change_nothing(broker):
    b = broker(workers=2, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter(4)
    for text, reason in BAD:
        b.write(text.replace("RUN", str(b.dir / "run")))
        await asyncio.to_thread(refused, b, reason)
    b.conf.unlink()
    await asyncio.to_thread(refused, b, r"heliod\.yaml: No such file")
    b.signal(signal.SIGHUP)  # the same by signal
    await until(lambda: b.log().count("reload refused") == len(BAD) + 2, 10, "SIGHUP says it in the log")
    b.write()
    await ctl(b, "reload")
    await crowd.finish()


def test_boot_keys_are_refused_by_name(broker):
    b = broker()
    keys = dict(b.keys)
    for change, name in [({"run_dir": "/tmp/elsewhere"}, "run_dir"), ({"user": "nobody"}, "user"),
                         ({"admin_group": "nogroup"}, "admin_group"),
                         ({"redis": {"url": "unix:///tmp/x.sock"}}, "redis.url"),
                         ({"redis": {"prefix": "p:"}}, "redis.prefix"), ({"redis": {"server": "/bin/redis"}}, "redis.server")]:
        b.keys = {**keys, **change}
        b.write()
        refused(b, rf"heliod\.yaml:\d+: {re.escape(name)} cannot change while heliod runs: restart it$")
    b.keys = {**keys, "user": "nobody", "redis": {"prefix": "p:", "server": "/bin/redis"}, "workers": 2}
    b.write()
    refused(b, r"heliod\.yaml:\d+: \S+ cannot change while heliod runs: restart it \(and 2 more such keys\)$")


def test_secret_boot_keys_are_refused_and_not_shown(broker, redis_server):
    b = broker(redis={"url": redis_server().url})
    b.write(redis={**b.keys["redis"], "password": "geheim"})
    refused(b, r"heliod\.yaml:\d+: redis\.password cannot change while heliod runs: restart it$")
    assert "geheim" not in b.log()


def test_a_listener_that_cannot_be(broker):
    b = broker(workers=2)
    path = b.dir / "plain"
    path.write_text("no socket")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        good = {"address": f"127.0.0.1:{free_port()}"}
        for address, reason in [(f"127.0.0.1:{port}", rf"127\.0\.0\.1:{port}: address already in use, held by pid {os.getpid()} \(.+\)"),
                                (f"0.0.0.0:{port}", rf"0\.0\.0\.0:{port}: address already in use, held by pid {os.getpid()}"),
                                ("192.0.2.1:80", r"192\.0\.2\.1:80: this machine has no such address"),
                                (f"unix:{path}", "the file exists and is not a socket"),
                                ("unix:/nowhere/s", "unix:/nowhere/s: cannot bind: No such file")]:
            b.write(listeners=[{"address": f"127.0.0.1:{b.port}"}, good, {"address": address}])
            refused(b, r"heliod\.yaml:\d+: listeners\[2\]: .*" + reason)
            with pytest.raises(ConnectionRefusedError):  # nothing is left of what could have been opened
                socket.create_connection(("127.0.0.1", int(good["address"].split(":")[1])))
    assert path.read_text() == "no socket"
    listeners(b, f"127.0.0.1:{b.port}", f"127.0.0.1:{port}")
    b.ctl("reload")  # its holder has gone
    echo_works(port)
    echo_works(b.port)


# ── a good file ──

def hashed(**tokens):
    return "".join(f"{user}:sha256:{hashlib.sha256(token.encode()).hexdigest()}\n" for user, token in tokens.items())


async def test_settings_in_force(broker):
    """One broker, reloaded again and again: what changes holds for those who are there as for those who come; all of them stay."""
    b = broker(workers=2, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter(4)
    old = [await connect(b.url, "/echo") for _ in range(4)]
    ws, echo = b.keys["endpoints"]

    async def reload(*endpoints, **keys):
        b.write(endpoints=list(endpoints), **keys)
        await ctl(b, "reload")

    # max_message
    for c in old:
        await c.ws.send("x" * 100_000)
        assert len(await c.ws.recv()) == 100_000
    await reload(ws, {**echo, "max_message": 40_000})
    fresh = await connect(b.url, "/echo")
    for c in [old[0], old[1], fresh]:
        await c.ws.send("x" * 40_000)
        assert len(await c.ws.recv()) == 40_000
        await c.ws.send("x" * 40_001)
        with pytest.raises(websockets.ConnectionClosed):
            await c.ws.recv()
        assert c.ws.close_code == 1009

    # allowed_origins
    await reload({**ws, "allowed_origins": ["https://good.example"]}, echo)
    with pytest.raises(websockets.InvalidStatusCode) as e:
        await connect(b.url, "/ws", origin="https://evil.example")
    assert e.value.status_code == 403
    await (await connect(b.url, "/ws", origin="https://good.example")).authenticate()

    # a new endpoint, an endpoint that is gone, a protocol that changes
    await reload(ws, {**echo, "path": "/echo2"})
    await asyncio.to_thread(echo_works, b.port, "/echo2")
    with pytest.raises(websockets.InvalidStatusCode) as e:
        await connect(b.url, "/echo")
    assert e.value.status_code == 404
    await old[2].ws.send("still here")
    assert await old[2].ws.recv() == "still here"
    await reload(ws, echo)
    await asyncio.to_thread(echo_works, b.port)
    await old[2].ws.send("and after its return")
    assert await old[2].ws.recv() == "and after its return"

    # logging: level, target
    log = b.dir / "own.log"
    await reload(ws, echo, log={"level": "debug", "target": str(log)})
    c = await connect(b.url, "/ws")
    await c.close()
    await until(lambda: re.search(r" worker\[\d\.\d+\] ", log.read_text()), 10, "workers' lines are there")
    await reload(ws, echo, log={"level": "error", "target": str(log)})
    size = log.stat().st_size
    c = await connect(b.url, "/ws")
    await c.close()
    await reload(ws, echo, log={"level": "info", "target": "stderr"})
    assert log.stat().st_size == size
    assert "is in force" in b.log().splitlines()[-1]

    await crowd.progress()
    await crowd.finish()
    assert {w["generation"] for w in b.workers()} == {generation(b)}


async def test_times_in_force(broker):
    """ping_after and idle_timeout, of connections that were there before."""
    b = broker()
    raw = Raw(b.port).open("/echo")
    b.write(client={"ping_after": "200ms", "idle_timeout": "600ms"})
    await ctl(b, "reload")
    assert await asyncio.to_thread(raw.frame) == (1, 9, b"")
    assert await asyncio.to_thread(raw.eof)


async def test_auth_times_in_force(broker):
    b = broker(endpoints=[{"path": "/ws", "protocol": "events", "auth_timeout": "60s"}])
    c = await connect(b.url)
    b.write(endpoints=[{"path": "/ws", "protocol": "events", "auth_timeout": "100ms"}])
    await ctl(b, "reload")
    late = await connect(b.url)
    assert await late.closed() == (4001, "Authentication timeout")
    del c  # whether the clock of one that waits already is set anew is not promised


async def test_a_tokens_file_that_changed(broker, workdir):
    """The YAML is the same, byte for byte."""
    tokens = workdir / "tokens"
    tokens.write_text(hashed(ann="old"))
    b = broker(workers=2, endpoints=[{"path": "/ws", "protocol": "events", "auth": {"method": "static", "tokens_file": str(tokens)}}])
    ann = await entered(b.url, token="old")
    tokens.write_text(hashed(ann="new", bob="b"))
    for token in ("new", "b"):
        c = await connect(b.url)
        await c.say("authenticate", {"token": token})
        assert await c.get() == error("Authentication failed")
    await ctl(b, "reload")
    for _ in range(4):  # on both workers
        await entered(b.url, token="new")
        assert (await entered(b.url, token="b")).connected["userId"] == "bob"
    c = await connect(b.url)
    await c.say("authenticate", {"token": "old"})
    assert await c.get() == error("Authentication failed")
    await ann.flush()  # who is in stays in
    # a line that is no token, and a file that vanished
    tokens.write_text(hashed(ann="new") + "bob:sha256:xyz\n")
    await asyncio.to_thread(refused, b, rf"heliod\.yaml: .*{tokens}: line 2: expected user:sha256:")
    tokens.unlink()
    await asyncio.to_thread(refused, b, rf"heliod\.yaml:\d+: .*{tokens}: No such file")
    await entered(b.url, token="b")
    await ann.flush()


async def test_sighup_is_reload(broker):
    b = broker(workers=2)
    c = await entered(b.url)
    b.write(endpoints=b.keys["endpoints"] + [{"path": "/more", "protocol": "echo"}])
    b.signal(signal.SIGHUP)
    await until(lambda: "configuration 2 is in force" in b.log(), 10, "reloaded")
    await until(lambda: {w["generation"] for w in b.workers()} == {2}, 10, "everywhere")
    await asyncio.to_thread(echo_works, b.port, "/more")
    await c.flush()


# ── under difficulties ──

def reload_started(b):
    return subprocess.Popen([BUILD / "helioctl", "-s", b.dir / "run" / "heliod.sock", "reload"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(p):
    out, err = p.communicate(timeout=30 * SLACK)
    return p.returncode, err


def test_many_reloads_at_once(broker):
    """Each helioctl is answered by a reload that began after it had asked."""
    b = broker(workers=2)
    b.write(endpoints=b.keys["endpoints"] + [{"path": "/more", "protocol": "echo"}])
    asked = [reload_started(b) for _ in range(8)]
    for _ in range(5):
        b.signal(signal.SIGHUP)
    assert [ended(p) for p in asked] == [(0, "")] * 8
    echo_works(b.port, "/more")
    eventually(lambda: {w["generation"] for w in b.workers()} == {generation(b)}, 10, "the last one is everywhere")
    # one good, one bad, one behind the other
    first = reload_started(b)
    status = ended(first)
    b.write("workers: [")
    second = reload_started(b)
    assert status == (0, "") and ended(second)[0] == 1


async def test_reload_while_a_worker_comes_back(broker):
    """The successor of one that was killed has the newest configuration, whichever way the two meet."""
    b = broker(workers=2, **Crowd.ENDPOINTS)
    keeper = [await connect(b.url, "/echo") for _ in range(2)]
    for n in range(6):
        victim = pid_of(b, 0)
        b.write(endpoints=Crowd.ENDPOINTS["endpoints"] + [{"path": f"/e{n}", "protocol": "echo"}])
        if n % 2:
            os.kill(victim, signal.SIGKILL)
            done = await ctl(b, "reload", check=False)
        else:
            asked = asyncio.create_task(ctl(b, "reload", check=False))
            os.kill(victim, signal.SIGKILL)
            done = await asked
        assert done.returncode == 0 or "died while it was looking at the new configuration" in done.stderr, done
        if done.returncode:
            await ctl(b, "reload")
        await until(lambda: len(b.workers()) == 2 and {w["generation"] for w in b.workers()} == {generation(b)}, 30, "agreed")
        for _ in range(6):
            await asyncio.to_thread(echo_works, b.port, f"/e{n}")
    del keeper


async def test_reload_while_a_worker_sleeps(broker):
    """reload_timeout: it is called off everywhere, the old configuration stands; a second helioctl waits for its own turn."""
    b = broker(workers=2, reload_timeout="700ms", **Crowd.ENDPOINTS)
    clients = [await connect(b.url, "/echo") for _ in range(8)]
    sleeper = pid_of(b, 1)
    os.kill(sleeper, signal.SIGSTOP)
    try:
        port = free_port()
        b.write(endpoints=b.keys["endpoints"] + [{"path": "/more", "protocol": "echo"}], workers=3,
                listeners=b.keys["listeners"] + [{"address": f"127.0.0.1:{port}"}])
        both = [reload_started(b), reload_started(b)]
        for p in both:
            status, text = await asyncio.to_thread(ended, p)
            assert status == 1 and "the worker of slot 1 did not answer within reload_timeout (700 ms)" in text, text
        assert generation(b) == 1 and len(b.workers(None)) == 2
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    finally:
        os.kill(sleeper, signal.SIGCONT)
    await until(lambda: b.ctl("reload", check=False).returncode == 0, 10, "awake again")
    await asyncio.to_thread(echo_works, port, "/more")
    await until(lambda: {w["generation"] for w in b.workers()} == {generation(b)} and len(b.workers()) == 3, 10, "all three")
    for c in clients:
        await c.raw("hello")
        assert await asyncio.wait_for(c.ws.recv(), 10) == "hello"


def test_a_worker_that_dies_ends_the_reload(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    victim = pid_of(b, 1)
    os.kill(victim, signal.SIGSTOP)
    ctl = subprocess.Popen([BUILD / "helioctl", "-s", b.dir / "run" / "heliod.sock", "reload"], stderr=subprocess.PIPE, text=True)
    eventually(lambda: "reloading" in b.log(), 10, "begun")
    os.kill(victim, signal.SIGKILL)
    assert ctl.wait(20 * SLACK) == 1 and "slot 1 died" in ctl.stderr.read()
    ctl.stderr.close()
    eventually(lambda: len(b.workers()) == 2, 20, "respawned")
    b.ctl("reload")


def test_a_reload_reaches_a_worker_that_is_starting(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    for n in range(3):
        os.kill(eventually(lambda: pid_of(b, 0), 20), signal.SIGKILL)
        for _ in range(3):
            b.ctl("reload", check=False)
    b.ctl("reload")
    live = b.rows("status")[0]["generation"]
    eventually(lambda: [w["generation"] for w in b.workers()] == [live, live], 20, "all have the live one")


async def test_a_stop_outranks_a_reload(broker):
    b = broker(workers=2, shutdown_timeout="1s")
    os.kill(pid_of(b, 1), signal.SIGSTOP)
    asked = reload_started(b)
    await until(lambda: "reloading" in b.log(), 10, "begun")
    b.signal(signal.SIGTERM)
    status, text = await asyncio.to_thread(ended, asked)
    assert status != 0 and ("stopping" in text or "connection" in text), text
    assert await asyncio.to_thread(b.proc.wait, 30) == 0


# ── listeners ──

def listeners(b, *addresses):
    b.write(listeners=[{"address": a} if isinstance(a, str) else a for a in addresses])


async def over_unix(path):
    async with websockets.unix_connect(str(path), "ws://localhost/echo", compression=None) as ws:
        await ws.send("hello")
        assert await asyncio.wait_for(ws.recv(), 10) == "hello"


async def test_listeners_come_and_go(broker):
    b = broker(workers=2, **Crowd.ENDPOINTS)
    here, path = f"127.0.0.1:{b.port}", b.dir / "s.sock"
    crowd = await Crowd(b).enter(4)
    port = free_port()
    listeners(b, here, {"address": f"unix:{path}", "mode": "0600"}, f"127.0.0.1:{port}")
    await ctl(b, "reload")
    assert path.stat().st_mode & 0o777 == 0o600
    inode = path.stat().st_ino
    for _ in range(4):
        await over_unix(path)
    await asyncio.to_thread(echo_works, port)
    stays = await connect(f"ws://127.0.0.1:{port}", "/echo")
    assert b.rows("status")[0]["listeners"] == [here, f"unix:{path}", f"127.0.0.1:{port}"]
    # the same socket goes on, its mode changes; the other port closes, its client stays
    listeners(b, here, {"address": f"unix:{path}", "mode": "0666", "backlog": 100})
    await ctl(b, "reload")
    await over_unix(path)
    assert path.stat().st_mode & 0o777 == 0o666 and path.stat().st_ino == inode
    await until(lambda: not can_connect(port), 10, "closed")
    await stays.raw("hello")
    assert await stays.ws.recv() == "hello"
    # the Unix socket goes; then the address where all came from; then all is back
    listeners(b, here)
    await ctl(b, "reload")
    await until(lambda: not path.exists(), 10, "its file is gone")
    listeners(b, f"unix:{path}")
    await ctl(b, "reload")
    await until(lambda: not can_connect(b.port), 10, "closed")
    await over_unix(path)
    listeners(b, here, f"unix:{path}")
    await ctl(b, "reload")
    await asyncio.to_thread(echo_works, b.port)
    await over_unix(path)
    await crowd.progress()
    await crowd.finish()
    await stays.close()


def can_connect(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=5).close()
        return True
    except OSError:
        return False


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_ipv6_listener(broker):
    b = broker(workers=2)
    port = free_port()
    here = f"127.0.0.1:{b.port}"
    listeners(b, here, f"[::1]:{port}")
    b.ctl("reload")
    for _ in range(4):
        echo_works(port, host="[::1]")
    assert not can_connect(port)
    listeners(b, here, f"[::1]:{port}", f"127.0.0.1:{port}")
    b.ctl("reload")
    echo_works(port)
    echo_works(port, host="[::1]")
    listeners(b, here, f"*:{port}")  # wider than what is there: takes over from it
    b.ctl("reload")
    eventually(lambda: b.rows("status")[0]["listeners"] == [here, f"*:{port}"], 10, "both families")
    echo_works(port)
    echo_works(port, host="[::1]")
    listeners(b, here)
    b.ctl("reload")
    eventually(lambda: not can_connect(port) and not can_connect(port, "::1"), 10, "closed")


def test_an_address_taken_down_and_put_back_refuses_nobody_elsewhere(broker):
    b = broker(workers=2)
    here, port = f"127.0.0.1:{b.port}", free_port()
    with Connecting(b):
        for _ in range(6):
            listeners(b, here, f"127.0.0.1:{port}")
            b.ctl("reload")
            echo_works(port)
            listeners(b, here)
            b.ctl("reload")


# ── workers come and go ──

async def test_more_and_fewer_workers(broker):
    """Under a connect loop and a crowd that talks: nobody is refused, no message is lost, a retired worker keeps its clients."""
    b = broker(workers=2, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter(4)
    with Connecting(b) as one, Connecting(b) as two:
        for n in (1, 4, 1, 3, 2):
            b.write(workers=n)
            await ctl(b, "reload")
            await until(lambda: len(b.workers()) == n, 30, f"{n} running")
            await crowd.progress()
    assert one.served and two.served
    assert b.workers("retiring"), "with those who came first"
    await crowd.finish()
    await until(lambda: not b.workers("retiring"), 20, "they leave with their last client")
    assert "worker died" not in b.log() and "killed" not in b.log()


async def test_retired_clients_are_told_in_the_end(broker):
    b = broker(workers=2, retire_timeout="300ms", **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter(4)
    b.write(workers=1)
    retired = pid_of(b, 1)
    await ctl(b, "reload")
    await crowd.wait(lambda: all(t.end for t in crowd.of(1)), "told")
    assert {t.end for t in crowd.of(1)} == {(1012, "Service restart")}
    await crowd.finish(crowd.of(0))
    await until(lambda: not is_alive(retired), 10, "it leaves")


async def test_drain_under_load(broker):
    b = broker(workers=2, **Crowd.ENDPOINTS)
    crowd = await Crowd(b).enter(4)
    with Connecting(b):
        old = pid_of(b, 0)
        await ctl(b, "drain", "0")
        assert [w["pid"] for w in b.workers("retiring")] == [old]
        assert pid_of(b, 0) not in (0, old) and len(b.workers()) == 2
        await crowd.progress()
        done = await ctl(b, "drain", "0")  # again: the successor is replaced, too
        assert len(b.workers()) == 2
    await crowd.finish()
    await until(lambda: not b.workers("retiring"), 20, "left")
    done = await ctl(b, "drain", "9", check=False)
    assert done.returncode == 1 and "there is no slot 9: slots are 0 to 1" in done.stderr
    assert (await ctl(b, "drain", check=False)).returncode == 2
