"""The supervisor against what must not harm it: workers that lie, flood or fail, clients of the control socket that never
read, signals at bad moments; and that nothing leaks. An evil worker is a script in place of heliod-worker."""
import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from client import entered
from conftest import BUILD, SLACK, eventually, free_port
from crowd import children, heliod, is_alive, pid_of, with_bus

REAL = BUILD / "heliod-worker"

EVIL = """#!/usr/bin/python3
import json, os, socket, struct, sys, time, uuid
slot, number = int(sys.argv[1]), int(sys.argv[2])
if slot != 1:
    os.execv({real!r}, ["heliod-worker"] + sys.argv[1:])
chan = socket.socket(fileno=3)
log = 5

def send(kind, *numbers, tail=b"", form=None):
    chan.send(struct.pack("<I" + (form or "I" * len(numbers)), kind, *numbers) + tail)

def hello():
    send(1, 1, os.getpid(), slot, number, tail=str(uuid.uuid4()).encode())

def receive():
    data, fds, _, _ = socket.recv_fds(chan, 200000, 4)
    for fd in fds:
        os.close(fd)
    if not data:
        sys.exit(0)
    return struct.unpack_from("<II", data.ljust(8, b"\\0"))

def serve():
    "Takes part in transactions until something else comes; returns that."
    while True:
        kind, gen = receive()
        if kind == 0x12:
            send(0x13, gen)
        elif kind == 0x15:
            send(5, gen)
            send(6, 1)
        else:
            return kind, gen

{code}
"""


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def evil(workdir, code):
    """Slot 1 is evil, all others are honest."""
    return script(workdir / "evil-worker", EVIL.format(real=str(REAL), code=code))


def failing(workdir):
    """Workers of slot N fail while the file fail-N exists."""
    return script(workdir / "failing-worker", f'#!/bin/sh\n[ -e {workdir}/fail-$1 ] && exit 1\nexec {REAL} "$@"\n')


def with_evil(broker, workdir, redis_server, code, **keys):
    """A broker whose slot 1 is evil, started by a reload (a start waits for all)."""
    b = broker(args=("--worker", evil(workdir, code)), workers=1, **keys, **with_bus(redis_server))
    b.write(workers=2)
    b.ctl("reload")
    return b


def serves(port, n=1, timeout=5):
    """n clients one after the other, none waits long."""
    for _ in range(n):
        with socket.create_connection(("127.0.0.1", port), timeout=timeout * SLACK) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert s.recv(65536).startswith(b"HTTP/1.1 200")


# ── who serves what ──

async def test_what_was_lent_to_a_worker_that_retires_is_lent_on(broker, workdir, redis_server):
    b = broker(args=("--worker", failing(workdir)), workers=3, **with_bus(redis_server))
    (workdir / "fail-0").touch()
    os.kill(pid_of(b, 0), signal.SIGKILL)
    eventually(lambda: "listener lent" in b.log(), 20, "throttled and lent")
    for slot in (2, 1):  # the new worker of slot 2 takes the first place, so it is asked first when that of slot 1 dies
        os.kill(pid_of(b, slot), signal.SIGKILL)
        eventually(lambda: len([w for w in b.workers() if w["slot"] != 0]) == 2, 20, "back")
    eventually(lambda: re.search(r"listener lent .*slot=0 to=2", b.log()), 10, "lent to slot 2")
    clients = [await entered(b.url) for _ in range(24)]
    b.write(workers=2)
    await asyncio.to_thread(b.ctl, "reload")
    eventually(lambda: re.search(r"worker\[2\.\d\] worker: retiring: [1-9]", b.log()), 10, "it retires, with clients")
    await asyncio.to_thread(serves, b.port, 60)
    assert [w["state"] for w in b.workers(None) if w["slot"] == 0][0] in ("throttled", "starting")
    (workdir / "fail-0").unlink()
    for c in clients:
        await c.close()


def test_a_queue_whose_worker_starts_is_served_at_a_stop(broker, workdir, redis_server):
    b = with_evil(broker, workdir, redis_server, """
hello()
while receive()[0] != 2:
    pass
os.write(1, b"has its listener")
time.sleep(60)
""")
    eventually(lambda: "has its listener" in b.log(), 20, "starting")
    sockets = [socket.create_connection(("127.0.0.1", b.port), timeout=20) for _ in range(32)]
    for s in sockets:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    b.signal(signal.SIGTERM)
    for s in sockets:
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        s.close()
    assert b.proc.wait(20 * SLACK) == 0


def test_a_worker_that_dies_before_the_stop_begins_is_replaced(broker, redis_server):
    b = broker(workers=2, shutdown_delay="60s", **with_bus(redis_server))
    b.signal(signal.SIGTERM)
    eventually(lambda: b.http()[0] == 503, 10, "unready")
    victim = pid_of(b, 1)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: pid_of(b, 1) not in (0, victim) and len(b.workers()) == 2, 20, "back")
    serves(b.port, 20)
    assert {b.http()[0] for _ in range(20)} == {503}  # the new one knows, too
    b.signal(signal.SIGTERM)
    assert b.proc.wait(20 * SLACK) == 1


# ── workers that lie ──

def test_ready_before_hello(broker, workdir, redis_server):
    b = with_evil(broker, workdir, redis_server, "send(5, 2)\nhello()\ntime.sleep(60)")
    eventually(lambda: "worker killed: odd greeting slot=1" in b.log(), 10, "killed")
    assert "worker ready slot=1" not in b.log()
    serves(b.port)


def test_a_lie_is_told_once(broker, workdir, redis_server):
    b = with_evil(broker, workdir, redis_server, """
try:
    for i in range(200):
        hello()
        send(4, 1, 1, 3, 0)
except OSError:  # a supervisor that is busy leaves no room for more lies
    pass
time.sleep(60)
""")
    two = eventually(lambda: re.search(r"(?s).*worker died slot=1 worker=2 [^\n]* signal=9", b.log()), 20, "killed twice")
    assert two[0].count("worker killed: odd greeting slot=1") == 2
    serves(b.port)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_workers_are_no_admins(workdir):
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "user": "nobody", "admin_group": "nogroup",  # that is nobody's group
        "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    done = heliod("-n", "-c", conf)
    assert done.returncode == 1 and "admin_group `nogroup` is the group of the workers' user" in done.stderr
    assert not (workdir / "run").exists()


def test_the_log_cannot_be_forged(broker, workdir, redis_server):
    b = with_evil(broker, workdir, redis_server, """
now = b"2025-01-01T00:00:00.000Z "
for line in (b"error heliod supervisor: forged one", b"error worker[0.1] net: forged two", b"warn worker[1.1] net: honest",
             b"info heliod-x y: forged three", b"warn worker[1.1] net: \\xc2\\x9b31m \\xff \\x1b[31m\\nforged four"):
    os.write(log, now + line)
os.write(1, b"plain words\\n")
hello()
time.sleep(60)
""")
    eventually(lambda: "plain words" in b.log(), 10, "printed")
    lines = b.log_path.read_bytes().splitlines()
    [honest] = [line for line in lines if line.endswith(b"net: honest")]
    assert honest.startswith(b"2025-01-01T00:00:00.000Z warn worker[1.1] ")
    for number in (b"one", b"two", b"three", b"four"):
        [line] = [line for line in lines if b"forged " + number in line]
        assert b" warn heliod log: worker[1.1] printed: " in line, line
    [coloured] = [line for line in lines if b"31m" in line]
    assert b"\x1b" not in coloured and b"\xc2\x9b" not in coloured and b"\xff" not in coloured
    [plain] = [line for line in lines if b"plain words" in line]
    assert plain.endswith(b" warn heliod log: worker[1.1] printed: plain words")


FLOOD = """
hello()
serve()
def flood(n):
    for i in range(n):
        send(4, 1, i % 300, 0, 0)             # LISTENER_DRAINED of everybody's seats
        send(4, 2**32 - 1, 2**32 - 1, 3, 0)
        send(4, 1, 1, 3, 0)                   # its own listener did not arrive
        send(0x31, i, tail=b'{"slot":0,"user":"forged"}')   # rows nobody asked for
        send(0x32, i, i % 7, 0, 5, form="IIIQ", tail=b"x" * 1000)
        send(0x13, i % 5)                     # transactions that are not
        send(0x14, i % 5, tail=b"why \\x1b[31m not")
        send(5, i % 5)
        send(6, i % 2, tail=b"\\n\\x1b[31m" * 100)
"""


def test_a_flood_of_lies_changes_nothing(broker, workdir, redis_server):
    b = with_evil(broker, workdir, redis_server, FLOOD + """
import threading
def read():
    while True:
        receive()
threading.Thread(target=read, daemon=True).start()
while True:
    flood(100)
""")
    eventually(lambda: "worker ready slot=1" in b.log(), 20, "evil is ready")
    rss = memory(b.proc.pid)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        [status] = b.rows("status")
        assert status["workers"] == 2
        assert [w["slot"] for w in b.workers(None) if w["pid"]][:1] == [0]
    assert memory(b.proc.pid) < rss + 32 * 1024
    # the honest slot can still be drained, and the evil one be given up
    b.ctl("drain", "0")
    b.write(workers=1)
    b.ctl("reload")
    serves(b.port, 10)
    assert len(b.log()) < 1 << 20


def memory(pid):
    """Resident KiB."""
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# ── what children inherit ──

def test_children_inherit_nothing(workdir):
    port, conf = free_port(), workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "workers": 1, "listeners": [{"address": f"127.0.0.1:{port}"}],
        "endpoints": [{"path": "/ws", "protocol": "events",
                       "auth": {"method": "jwt", "algorithms": ["HS256"], "key_env": "SECRET_OF_OURS"}}]}))
    read, write = os.pipe()
    p = subprocess.Popen([BUILD / "heliod", "-n", "-c", conf], stdin=read, stderr=subprocess.PIPE, pass_fds=(write,),
                         env={**os.environ, "SECRET_OF_OURS": "x" * 32, "NOTIFY_SOCKET": "/nowhere"})
    try:
        eventually(lambda: can_be_asked(port), 20, "serving")
        found = children(p.pid)
        assert sorted(found.values()) == ["heliod-worker", "redis-server"]
        pipe = os.readlink(f"/proc/self/fd/{read}")
        for pid, name in found.items():
            links = {n: os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
            assert pipe not in links.values() and links["0"] == "/dev/null", (name, links)
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            assert b"SECRET" not in environment and b"NOTIFY" not in environment, name
            assert "NoNewPrivs:\t1" in pathlib.Path(f"/proc/{pid}/status").read_text(), name
            assert pathlib.Path(f"/proc/{pid}/stat").read_text().split()[5] == str(pid)  # a session of its own
    finally:
        p.terminate()
        p.communicate()
        os.close(read)
        os.close(write)


def can_be_asked(port):
    try:
        serves(port)
        return True
    except OSError:
        return False


# ── time that nobody had ──

def freeze(b, seconds):
    """Supervisor and workers stand still, as on a machine that is suspended; the supervisor wakes first."""
    pids = [b.proc.pid, *(pid for pid, name in children(b.proc.pid).items() if name == "heliod-worker")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)  # this is what is tested
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)


def test_a_pause_of_all_is_nobodys_fault(broker, redis_server):
    b = broker(workers=2, watchdog="1s", **with_bus(redis_server))
    pids = [w["pid"] for w in b.workers()]
    freeze(b, 4)
    turns = b.counter("turns")
    eventually(lambda: b.counter("turns") > turns + 4, 10, "all turn again")
    assert [w["pid"] for w in b.workers()] == pids and "stuck" not in b.log()


async def test_a_pause_of_all_does_not_end_the_goodbyes(broker, redis_server):
    b = broker(workers=2, shutdown_timeout="1s", **with_bus(redis_server))
    with socket.create_connection(("127.0.0.1", b.port), timeout=20) as s:  # never answers the close
        s.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 101")
        b.signal(signal.SIGTERM)
        eventually(lambda: "connections are told 1001" in b.log(), 10, "it says goodbye")
        freeze(b, 5)
        assert b.proc.wait(20 * SLACK) == 0
    assert "did not leave in time" not in b.log()


# ── a stop and those who wait ──

def test_whoever_waits_for_a_reload_is_answered_at_a_stop(broker, redis_server):
    b = broker(workers=2, reload_timeout="60s", **with_bus(redis_server))
    sleeper = pid_of(b, 1)
    os.kill(sleeper, signal.SIGSTOP)
    waiting = []
    for n in range(2):  # one under way, one behind it
        waiting.append(subprocess.Popen([BUILD / "helioctl", "-s", b.dir / "run" / "heliod.sock", "reload"],
                                        stderr=subprocess.PIPE, text=True))
        eventually(lambda: b.log().count("reload asked by helioctl") == n + 1, 10, "heard")
    b.signal(signal.SIGTERM)
    eventually(lambda: "stopping: SIGTERM" in b.log(), 10, "heard")
    os.kill(sleeper, signal.SIGCONT)
    for p in waiting:
        _, text = p.communicate(timeout=20 * SLACK)
        assert p.returncode == 1 and "heliod is stopping" in text
    assert b.proc.wait(20 * SLACK) == 0


def test_a_stop_while_names_are_resolved(workdir):
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "workers": 1, "listeners": [{"address": f"127.0.0.1:{free_port()}"}],
        "redis": {"url": "redis://name.invalid:1"}, "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    with subprocess.Popen([BUILD / "heliod", "-n", "-c", conf], stderr=subprocess.PIPE, text=True) as p:
        eventually(lambda: (workdir / "run" / "heliod.sock").exists(), 10, "booting")
        p.send_signal(signal.SIGHUP)  # is remembered, and kills nobody
        p.terminate()
        assert p.wait(20 * SLACK) == 0
        text = p.stderr.read()
    assert "stopping: SIGTERM, before it was ready" in text and " error " not in text, text
    assert not (workdir / "run").exists()


# ── leaks ──

async def test_no_descriptor_is_lost(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    path = b.dir / "s.sock"
    base = [{"address": f"127.0.0.1:{b.port}"}]

    def settle():
        eventually(lambda: [w["state"] for w in b.workers(None)] == ["running"] * 2, 30, "two workers, and no other")
        return descriptors(b.proc.pid), sorted(descriptors(w["pid"]) for w in b.workers())

    def round():
        more = [*base, {"address": f"127.0.0.1:{free_port()}"}, {"address": f"unix:{path}"}]
        for keys in ({"workers": 3, "listeners": more}, {"workers": 1, "listeners": base}, {"workers": 2}):
            b.write(**keys)
            b.ctl("reload")
            eventually(lambda: len(b.workers()) == b.keys["workers"], 20, "running")
        b.write("nonsense: 1")
        assert b.ctl("reload", check=False).returncode == 1
        b.write(listeners=[*more, {"address": "127.0.0.1:1"}, {"address": "192.0.2.1:1"}])
        assert b.ctl("reload", check=False).returncode == 1
        b.write(listeners=base)
        b.ctl("drain", "0")
        os.kill(pid_of(b, 1), signal.SIGKILL)
        eventually(lambda: len(b.workers()) == 2, 20, "back")
        return settle()

    before = await asyncio.to_thread(round)
    for _ in range(3):
        after = await asyncio.to_thread(round)
    assert after == before


# ── clients of the control socket ──

def test_ctl_clients_that_never_read(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    path = str(b.dir / "run" / "heliod.sock")
    lazy = []
    for n in range(15):  # one place is left
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(path)
        s.setblocking(False)
        lazy.append(s)
        with pytest.raises(BlockingIOError):  # until it is not read any more itself
            for i in range(100000):
                s.send(struct.pack("<IIII", 0x41, i, 5 if n % 2 else 2, 0))  # config, or connections
    assert len(b.rows("show", "config")) > 50
    assert memory(b.proc.pid) < 1 << 20
    for s in lazy:
        s.close()
    assert b.rows("status")[0]["running"] == 2


def test_ctl_crowds_and_garbage(broker, redis_server):
    b = broker(workers=1, **with_bus(redis_server))
    path = str(b.dir / "run" / "heliod.sock")
    before = descriptors(b.proc.pid)
    for n in range(1000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(path)
            if n % 4 == 1:
                s.send(os.urandom(n))
            elif n % 4 == 2:
                s.send(struct.pack("<I", n % 0x80) + bytes(n % 50))
            elif n % 4 == 3:
                with open("/dev/null") as f:
                    socket.send_fds(s, [struct.pack("<IIII", 0x41, 1, 0, 0)], [f.fileno()] * (n % 5 + 1))
    eventually(lambda: b.ctl("status", check=False).returncode == 0, 10, "there is room")
    eventually(lambda: descriptors(b.proc.pid) == before, 10, "nothing is left of them")
    assert b.http("/health")[0] == 200
