"""The supervisor: boot and its refusals, crashes, reloads, retirement, the ways out. Real processes, a real bus."""
import asyncio
import contextlib
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest

from client import connect, entered
from conftest import BUILD, SLACK, eventually, free_port

BAD_YAML = "workers: 2\nlisteners: [{address: '127.0.0.1:1'}]\nendpoints:\n  - {path: /ws, protocol: events, auth: {methd: x}}\n"

NOT_A_KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"  # so much only a worker finds out


def heliod(*args, **options):
    return subprocess.run([BUILD / "heliod", *map(str, args)], capture_output=True, text=True, timeout=60 * SLACK, **options)


def with_bus(redis_server):
    return {"redis": {"url": redis_server().url}}


def pid_of(b, slot):
    found = [w for w in b.workers(None) if w["slot"] == slot and w["state"] in ("running", "starting")]
    return found[0]["pid"] if found else 0


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def echo_works(port, path="/echo"):
    async def once():
        c = await connect(f"ws://127.0.0.1:{port}", path, open_timeout=20)
        await c.raw("hello")
        assert await asyncio.wait_for(c.ws.recv(), 20) == "hello"
        await c.close()

    asyncio.run(once())


class Connecting(threading.Thread):
    """Connects, asks /health and hangs up, again and again; nobody may be refused. killed: workers that are killed
    meanwhile: each may take the one client with it that it has accepted already."""

    def __init__(self, b, killed=0):
        super().__init__(daemon=True)
        self.b, self.killed, self.done, self.served, self.refused = b, killed, False, 0, []

    def run(self):
        while not self.done:
            try:
                with socket.create_connection(("127.0.0.1", self.b.port), timeout=20) as s:
                    s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    data = s.recv(65536)
                assert data.startswith(b"HTTP/1.1 200"), data
                self.served += 1
            except Exception as e:
                self.refused.append(repr(e))

    def __enter__(self):
        self.start()
        eventually(lambda: self.served > 0, 10, "the loop is served")
        return self

    def __exit__(self, *_):
        before = self.served
        eventually(lambda: self.served > before + 10, 10, "the loop is still served")
        self.done = True
        self.join()
        assert len(self.refused) <= self.killed, self.refused[:3]


# ── command line ──

def test_check_and_print_socket(workdir):
    good, bad = workdir / "good.yaml", workdir / "bad.yaml"
    good.write_text(json.dumps({"run_dir": str(workdir / "run"), "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    bad.write_text(BAD_YAML)
    done = heliod("-t", "-c", good)
    assert (done.returncode, done.stdout) == (0, f"{good}: configuration ok\n")
    done = heliod("-t", "-c", bad)
    assert done.returncode == 1 and done.stderr.startswith(f"{bad}:4:") and "method" in done.stderr
    done = heliod("--print-socket", "-c", good)
    assert (done.returncode, done.stdout) == (0, f"{workdir}/run/heliod.sock\n")
    assert heliod("-n", "-c", bad).returncode == 1
    assert not (workdir / "run").exists()


@pytest.mark.parametrize("args,status,text", [
    (["--version"], 0, "heliod 0."), (["--help"], 0, "usage: heliod"), (["--nonsense"], 2, "usage: heliod"),
    (["stray"], 2, "unexpected argument `stray`"), (["-t", "-c", "/nowhere/x.yaml"], 1, "/nowhere/x.yaml: "),
])
def test_command_line(args, status, text):
    done = heliod(*args)
    assert done.returncode == status and text in done.stdout + done.stderr


# ── boot ──

def test_boot_leaves_its_traces_and_takes_them_away(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    run = b.dir / "run"
    assert int((run / "heliod.pid").read_text()) == b.proc.pid
    assert (run / "heliod.sock").stat().st_mode & 0o777 == 0o600
    eventually(lambda: "supervisor: ready" in b.log(), 10, "all are ready")  # /ready speaks for one worker
    [status] = b.rows("status")
    assert status["pid"] == b.proc.pid and status["workers"] == status["running"] == 2
    assert status["bus"] == "up" and status["generation"] == 1 and status["config"] == str(b.conf)
    assert status["listeners"] == [f"127.0.0.1:{b.port}"]
    assert b.stop() == 0
    assert not run.exists()


def test_pidfile_refuses_a_second(broker, redis_server):
    b = broker(**with_bus(redis_server))
    text = json.loads(b.conf.read_text())
    text["listeners"] = [{"address": f"127.0.0.1:{free_port()}"}]
    other = b.dir / "other.yaml"
    other.write_text(json.dumps(text))
    done = heliod("-n", "-c", other)
    assert done.returncode == 1 and f"pid {b.proc.pid}" in done.stderr
    assert b.http("/health")[0] == 200 and (b.dir / "run" / "heliod.sock").exists()


def test_port_in_use_names_the_holder(broker, redis_server):
    b = broker(**with_bus(redis_server))
    text = {**json.loads(b.conf.read_text()), "run_dir": str(b.dir / "run2")}
    other = b.dir / "other.yaml"
    other.write_text(json.dumps(text))
    done = heliod("-n", "-c", other)
    assert done.returncode == 1
    assert f"127.0.0.1:{b.port}" in done.stderr and str(b.proc.pid) in done.stderr and "heliod" in done.stderr
    assert not (b.dir / "run2").exists()


def test_no_redis_refuses_the_start(workdir):
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "workers": 1, "listeners": [{"address": f"127.0.0.1:{free_port()}"}],
        "redis": {"url": f"redis://:secret@127.0.0.1:{free_port()}", "connect_timeout": "500ms"},
        "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    done = heliod("-n", "-c", conf)
    assert done.returncode == 1 and "Invalid redis connection! redis://127.0.0.1:" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert not (workdir / "run").exists()
    done = heliod("-c", conf)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("heliod: Invalid redis connection!")
    assert not (workdir / "run").exists()


def test_a_worker_that_cannot_be_executed(workdir):
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({"run_dir": str(workdir / "run"), "workers": 2,
                                "listeners": [{"address": f"unix:{workdir}/s"}],
                                "redis": {"url": "redis://127.0.0.1:1"},
                                "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    done = heliod("-n", "-c", conf, "--worker", "/nowhere/heliod-worker")
    assert done.returncode == 1 and "/nowhere/heliod-worker" in done.stderr and "No such file" in done.stderr
    done = heliod("-n", "-c", conf, "--worker", "/bin/false")
    assert done.returncode == 1 and "ended before it was ready: status=1" in done.stderr
    assert sorted(p.name for p in workdir.iterdir()) == ["x.yaml"]


def test_a_worker_refuses_the_configuration(workdir):
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "workers": 1, "listeners": [{"address": f"unix:{workdir}/s"}],
        "endpoints": [{"path": "/ws", "protocol": "events",
                       "auth": {"method": "jwt", "algorithms": ["RS256"], "key": NOT_A_KEY}}]}))
    done = heliod("-n", "-c", conf)
    assert done.returncode == 1 and re.search(rf"^heliod: {conf}: .*key", done.stderr, re.M), done.stderr
    assert sorted(p.name for p in workdir.iterdir()) == ["x.yaml"]


def test_run_dir_must_be_ours(workdir):
    conf, run = workdir / "x.yaml", workdir / "run"
    conf.write_text(json.dumps({"run_dir": str(run), "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    run.mkdir()
    run.chmod(0o777)
    done = heliod("-n", "-c", conf)
    assert done.returncode == 1 and "can be written by others" in done.stderr
    run.rmdir()
    run.write_text("")
    done = heliod("-n", "-c", conf)
    assert done.returncode == 1 and "not a directory" in done.stderr


def test_daemon(workdir, redis_server):
    port, log = free_port(), workdir / "heliod.log"
    conf = workdir / "x.yaml"
    conf.write_text(json.dumps({
        "run_dir": str(workdir / "run"), "workers": 2, "listeners": [{"address": f"127.0.0.1:{port}"}],
        "log": {"target": str(log)}, **with_bus(redis_server), "endpoints": [{"path": "/echo", "protocol": "echo"}]}))
    done = heliod("-c", "x.yaml", cwd=workdir)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    pid = int((workdir / "run" / "heliod.pid").read_text())
    try:
        echo_works(port)  # it was ready when the parent returned
        assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
        done = heliod("-c", conf)
        assert done.returncode == 1 and f"pid {pid}" in done.stderr
        # SIGUSR1: the file is opened again under its name
        log.rename(workdir / "old.log")
        os.kill(pid, signal.SIGUSR1)
        eventually(lambda: log.exists() and "log reopened" in log.read_text(), 10, "reopened")
        # a reload finds its file though the directory has changed
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: "configuration 2 is in force" in log.read_text(), 10, "reloaded")
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_alive(pid), 20, "ended")
    assert not (workdir / "run").exists()
    text = (workdir / "old.log").read_text() + log.read_text()
    assert "Sanitizer" not in text and "runtime error" not in text


def test_notify(workdir, broker, redis_server):
    path = str(workdir / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(20 * SLACK)
        b = broker(env={"NOTIFY_SOCKET": path}, **with_bus(redis_server))
        assert b"READY=1\n" in s.recv(512)
        b.signal(signal.SIGHUP)
        assert b"RELOADING=1\n" in (told := s.recv(512)) and b"MONOTONIC_USEC=" in told
        assert b"READY=1\n" in s.recv(512)
        worker = pid_of(b, 0)
        assert b"NOTIFY_SOCKET" not in pathlib.Path(f"/proc/{worker}/environ").read_bytes()
        assert b.stop() == 0
        assert b"STOPPING=1\n" in s.recv(512)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_privileges(broker, redis_server):
    nobody = pwd.getpwnam("nobody")
    for part in BUILD.resolve().parents:
        if not part.stat().st_mode & 0o001:
            pytest.skip(f"{part} is closed to other users")
    b = broker(user="nobody", **with_bus(redis_server))
    status = pathlib.Path(f"/proc/{pid_of(b, 0)}/status").read_text()
    for key, want in (("Uid", [nobody.pw_uid] * 4), ("Gid", [nobody.pw_gid] * 4), ("Groups", [nobody.pw_gid]),
                      ("NoNewPrivs", [1])):
        assert [int(n) for n in re.search(rf"^{key}:(.*)$", status, re.M)[1].split()] == want, key
    # neither the control socket nor the pidfile is within their reach
    done = subprocess.run([BUILD / "helioctl", "-s", b.dir / "run" / "heliod.sock", "status"], user=nobody.pw_uid,
                          group=nobody.pw_gid, extra_groups=[], capture_output=True, text=True, timeout=60)
    assert done.returncode in (3, 4), done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_admin_group(workdir, broker, redis_server):
    b = broker(admin_group="nogroup", **with_bus(redis_server))
    workdir.chmod(0o711)
    path = b.dir / "run" / "heliod.sock"
    assert path.stat().st_mode & 0o777 == 0o660
    nobody = pwd.getpwnam("nobody")

    def ask(group, groups):
        # the socket's own permissions are opened wide: it is the credentials that are looked at
        path.chmod(0o666)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(Exception):
                    os.setgroups(groups)
                    os.setgid(group)
                    os.setuid(nobody.pw_uid)
                    s.connect(str(path))
                    with contextlib.suppress(BrokenPipeError):  # refused before it has asked
                        s.send(struct.pack("<IIII", 0x41, 7, 0, 0))  # CTL_QUERY id 7: status
                    kind, id_ = struct.unpack_from("<II", s.recv(65536))
                    os._exit(10 if (kind, id_) == (0x31, 7) else 11 if (kind, id_) == (0x32, 0) else 12)
                os._exit(13)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert ask(nobody.pw_gid, []) == 10  # nogroup is nobody's group
    assert ask(1, [nobody.pw_gid]) == 10
    assert ask(1, []) == 11
    done = subprocess.run([BUILD / "helioctl", "-s", path, "status"], user=nobody.pw_uid, group=1, extra_groups=[],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 4 and "permission denied" in done.stderr, done


def test_ctl_is_bounded(broker, redis_server):
    b = broker(**with_bus(redis_server))
    path = str(b.dir / "run" / "heliod.sock")
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            s = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            s.connect(path)
            s.send(struct.pack("<IIII", 0x41, 7, 0, 0))
            assert struct.unpack_from("<I", s.recv(65536))[0] == 0x31
        assert b.ctl("status", check=False).returncode == 3
        s.send(struct.pack("<II", 0x99, 0))  # nonsense ends this channel only
        while s.recv(65536):
            pass
        eventually(lambda: b.ctl("status", check=False).returncode == 0, 10, "a place is free again")
    assert b.http("/health")[0] == 200


# ── crashes ──

async def test_a_crash_hurts_only_its_own(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    clients = [await entered(b.url) for _ in range(16)]
    victim = pid_of(b, 0)
    with Connecting(b, killed=1):
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: pid_of(b, 0) not in (0, victim) and len(b.workers()) == 2, 10, "back")
    assert re.search(rf"worker died slot=0 worker=1 pid={victim} signal=9 \(Killed\) uptime_ms=\d+ .*connections=", b.log())
    dead = 0
    for c in clients:
        try:
            await c.flush()
        except Exception:
            assert c.ws.close_code == 1006
            dead += 1
    assert 0 < dead < 16
    [w] = [w for w in b.workers() if w["slot"] == 0]
    assert w["restarts"] == 1 and w["worker"] == 2
    assert b.stop() == 0


def test_a_slot_that_fails_again_and_again_is_throttled_and_served(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    with Connecting(b, killed=5):
        for n in range(1, 6):
            pid = eventually(lambda: pid_of(b, 0), 20, "next worker")
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: len(re.findall(r"worker died slot=0", b.log())) == n, 10, "noticed")
        eventually(lambda: "listeners are lent" in b.log() and "listener lent" in b.log(), 10, "throttled")
        assert [w["state"] for w in b.workers(None) if w["slot"] == 0] == ["throttled"]
        for _ in range(20):
            echo_works(b.port)
        eventually(lambda: len(b.workers()) == 2, 20, "recovered")
    times = re.findall(r"^(\S+)Z \w+ heliod crew: worker (died|started) slot=0", b.log(), re.M)
    assert [what for _, what in times][:4] == ["started", "died", "started", "died"]
    assert b.stop() == 0


class Waiting:
    """Clients in the accept queues of both slots while slot 1 has no worker: it was killed so often that the next one is
    800 ms away. Each has sent its request."""

    def __init__(self, b):
        for n in range(1, 5):
            pid = eventually(lambda: pid_of(b, 1), 20, "next worker")
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: len(re.findall(r"worker died slot=1", b.log())) == n, 10, "noticed")
        self.sockets = [socket.create_connection(("127.0.0.1", b.port), timeout=20) for _ in range(32)]
        for s in self.sockets:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.in_time = [w["state"] for w in b.workers(None) if w["slot"] == 1] == ["backoff"]  # a busy machine may miss it

    def all_served(self):
        for s in self.sockets:
            assert s.recv(65536).startswith(b"HTTP/1.1 200")
            s.close()
        return True


def test_a_queue_without_a_worker_is_served_by_its_successor(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    assert Waiting(b).all_served()


def test_the_queue_of_a_slot_given_up_is_served_by_a_neighbour(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    waiting = Waiting(b)
    b.write(workers=1)
    b.ctl("reload")
    assert waiting.all_served()
    if waiting.in_time:
        assert len(re.findall(r"worker started slot=1", b.log())) == 4


def test_the_queue_of_an_empty_slot_is_served_in_a_stop(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    waiting = Waiting(b)
    b.signal(signal.SIGTERM)
    assert waiting.all_served()
    assert b.proc.wait(20 * SLACK) == 0


def test_a_reload_reaches_a_worker_that_is_starting(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    for n in range(3):
        os.kill(eventually(lambda: pid_of(b, 0), 20), signal.SIGKILL)
        for _ in range(3):
            b.ctl("reload", check=False)
    b.ctl("reload")
    live = b.rows("status")[0]["generation"]
    eventually(lambda: [w["generation"] for w in b.workers()] == [live, live], 20, "all have the live one")


def test_a_stuck_worker_is_replaced(broker, redis_server):
    b = broker(watchdog="1s", **with_bus(redis_server))
    stuck = pid_of(b, 0)
    os.kill(stuck, signal.SIGSTOP)
    eventually(lambda: pid_of(b, 0) not in (0, stuck) and len(b.workers()) == 1, 30, "replaced")
    assert re.search(rf"its loop has not turned for \d+ ms: aborted slot=0 pid={stuck}", b.log())
    echo_works(b.port)


def test_the_supervisor_dies(workdir, redis_server):
    from conftest import Broker
    b = Broker(workdir / "a", workers=2, **with_bus(redis_server))
    eventually(lambda: len(b.workers()) == 2, 10, "both run")
    workers = [w["pid"] for w in b.workers()]
    b.proc.kill()
    b.proc.wait()
    eventually(lambda: not any(map(is_alive, workers)), 20, "no orphan")
    b.start()  # over the pidfile and the socket of the dead one
    echo_works(b.port)
    # one that cannot hear is ended by the next start; a stranger with a similar name is not
    eventually(lambda: len(b.workers()) == 2, 10, "both run")
    [stuck, other] = [w["pid"] for w in b.workers()]
    with subprocess.Popen(["heliod-worker", "60"], executable="/bin/sleep") as stranger:
        os.kill(stuck, signal.SIGSTOP)
        b.proc.kill()
        b.proc.wait()
        eventually(lambda: not is_alive(other), 20, "the healthy one left by itself")
        assert is_alive(stuck)
        b.start()
        echo_works(b.port)
        assert not is_alive(stuck) and "have been killed: 1" in b.log()
        assert stranger.poll() is None
        stranger.kill()
    assert b.stop() == 0


def test_the_managed_redis(broker):
    b = broker(workers=2)
    directory = b.dir / "run" / "redis"

    def redis_pid():
        found = re.findall(r"managed Redis serves pid=(\d+)", b.log())
        return int(found[-1]) if found else 0

    first = redis_pid()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: redis_pid() != first and b.rows("status")[0]["bus"] == "up" and b.http()[0] == 200, 20, "it is back")
    assert directory.stat().st_mode & 0o777 == 0o700
    # it goes with the supervisor, however that goes, and the next start works
    second = redis_pid()
    workers = [w["pid"] for w in b.workers()]
    b.proc.kill()
    b.proc.wait()
    eventually(lambda: not any(map(is_alive, [second, *workers])), 20, "no orphan")
    b.start()
    third = redis_pid()
    assert b.stop() == 0
    assert not is_alive(third) and not directory.exists()


# ── reload ──

async def test_reload_in_place(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    c = await entered(b.url)
    b.write(endpoints=b.keys["endpoints"] + [{"path": "/echo2", "protocol": "echo"}])
    b.ctl("reload")
    await asyncio.to_thread(echo_works, b.port, "/echo2")
    await c.flush()
    assert b.rows("status")[0]["generation"] == 2
    assert {w["generation"] for w in b.workers()} == {2}
    b.signal(signal.SIGHUP)
    eventually(lambda: "configuration 3 is in force" in b.log(), 10, "SIGHUP does the same")
    await c.flush()
    # a worker that comes later has it too
    os.kill(pid_of(b, 1), signal.SIGKILL)
    eventually(lambda: [w["generation"] for w in b.workers()] == [3, 3], 20, "respawned with the live one")


@pytest.mark.parametrize("change,reason", [
    (BAD_YAML, r"heliod\.yaml:4: .*method"),
    ("workers: [", r"heliod\.yaml:1"),
    ({"run_dir": "/tmp/elsewhere"}, r"heliod\.yaml:\d+: run_dir cannot change"),
    ({"redis": {"url": "redis://127.0.0.1:1"}}, r"redis\.url cannot change"),
    ({"log": {"target": "/nowhere/at/all"}}, r"log\.target /nowhere/at/all: No such file"),
    ({"listeners": [{"address": "192.0.2.1:80"}]}, r"192\.0\.2\.1:80"),
    ({"endpoints": [{"path": "/ws", "protocol": "events",
                     "auth": {"method": "jwt", "algorithms": ["RS256"], "key": NOT_A_KEY}}], "workers": 3},
     r"heliod\.yaml: .*key"),
])
async def test_reload_refused(broker, redis_server, change, reason):
    b = broker(workers=2, **with_bus(redis_server))
    c = await entered(b.url)
    before = [w["pid"] for w in b.workers()]
    good = dict(b.keys)
    if isinstance(change, str):
        b.write(change)
    else:
        b.write(**change)
    done = b.ctl("reload", check=False)
    assert done.returncode == 1 and re.search(reason, done.stderr), done.stderr
    assert re.search("reload refused, the old configuration stands: .*" + reason, b.log())
    await c.flush()
    assert [w["pid"] for w in b.workers()] == before
    assert b.rows("status")[0]["generation"] == 1
    assert b.http("/ready")[0] == 200
    b.keys = good
    b.write()
    b.ctl("reload")
    await c.flush()


def test_a_reload_times_out_when_a_worker_sleeps(broker, redis_server):
    b = broker(workers=2, reload_timeout="500ms", **with_bus(redis_server))
    sleeper = pid_of(b, 1)
    os.kill(sleeper, signal.SIGSTOP)
    try:
        done = b.ctl("reload", check=False)
        assert done.returncode == 1 and "slot 1 did not answer within reload_timeout" in done.stderr
        assert b.rows("status")[0]["generation"] == 1
    finally:
        os.kill(sleeper, signal.SIGCONT)
    eventually(lambda: b.ctl("reload", check=False).returncode == 0, 10, "awake again")
    assert {w["generation"] for w in b.workers()} == {b.rows("status")[0]["generation"]}


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


# ── workers and listeners come and go ──

async def test_fewer_and_more_workers(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    clients = [await entered(b.url) for _ in range(16)]
    with Connecting(b):
        for n in (1, 3, 1, 2):
            b.write(workers=n)
            await asyncio.to_thread(b.ctl, "reload")
            await asyncio.to_thread(eventually, lambda: len(b.workers()) == n, 20, f"{n} running")
    assert b.workers("retiring")  # with clients of the beginning
    for c in clients:
        await c.flush()
        await c.close()
    await asyncio.to_thread(eventually, lambda: not b.workers("retiring"), 20, "the last client left")
    assert "worker died" not in b.log() and "killed" not in b.log()


async def test_retire_timeout(broker, redis_server):
    b = broker(workers=2, retire_timeout="500ms", shutdown_timeout="5s", **with_bus(redis_server))
    clients = [await entered(b.url) for _ in range(16)]
    b.write(workers=1)
    b.ctl("reload")
    eventually(lambda: not b.workers("retiring"), 20, "retired")
    codes = []
    for c in clients:
        try:
            await c.flush()
        except Exception:
            codes.append(c.ws.close_code)
    assert codes and set(codes) == {1012}


async def test_listeners_come_and_go(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    old, new, path = b.port, free_port(), b.dir / "s.sock"
    c = await entered(b.url)
    b.write(listeners=[{"address": f"127.0.0.1:{new}"}, {"address": f"unix:{path}"}])
    b.ctl("reload")
    await asyncio.to_thread(echo_works, new)
    assert path.exists()
    b.port = old
    eventually(lambda: b.http()[0] == 0, 10, "the old address is closed")
    await c.flush()  # but its client stays
    b.port = new
    b.write(listeners=[{"address": f"127.0.0.1:{new}"}, {"address": f"127.0.0.1:{old}"}])
    b.ctl("reload")
    eventually(lambda: not path.exists(), 10, "the Unix socket is gone")
    await asyncio.to_thread(echo_works, old)
    assert b.rows("status")[0]["listeners"] == [f"127.0.0.1:{new}", f"127.0.0.1:{old}"]
    await c.flush()


async def test_drain(broker, redis_server):
    b = broker(workers=1, **with_bus(redis_server))
    c = await entered(b.url)
    old = pid_of(b, 0)
    with Connecting(b):
        await asyncio.to_thread(b.ctl, "drain", "0")
        assert pid_of(b, 0) != old
    assert [w["pid"] for w in b.workers("retiring")] == [old]
    await c.flush()
    await c.close()
    eventually(lambda: not b.workers("retiring"), 10, "the old one left")
    assert not is_alive(old)
    done = b.ctl("drain", "7", check=False)
    assert done.returncode == 1 and "no slot 7" in done.stderr


# ── questions ──

async def test_questions_reach_all_workers(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    clients = [await entered(b.url) for _ in range(16)]
    rows = b.rows("show", "connections")
    assert len(rows) == 16
    assert {r["pid"] for r in b.workers()} and sum(w["websockets"] for w in b.workers()) == 16
    assert len(b.rows("show", "connections", "limit", "5")) == 5
    config = {r["key"]: r for r in b.rows("show", "config")}
    assert config["workers"]["value"] == "2" and config["workers"]["line"] > 0 and "live" in config["workers"]["flags"]
    assert config["redis.password"]["flags"] == "boot,secret"
    counters = {r["name"]: r for r in b.rows("show", "counters")}
    assert counters["websockets"]["total"] == 16 == sum(counters["websockets"]["slots"])
    b.ctl("send", "client", clients[3].id, "news", '{"n":1}')
    assert (await clients[3].get())["event"] == "news"
    # one of two sleeps: what is known is shown, and who is missing is said
    sleeper = pid_of(b, 1)
    os.kill(sleeper, signal.SIGSTOP)
    try:
        done = b.ctl("show", "connections", check=False)
        assert done.returncode == 5 and "worker 1.1 did not answer" in done.stderr, done
    finally:
        os.kill(sleeper, signal.SIGCONT)


def test_totals_survive_the_worker(broker, redis_server):
    b = broker(workers=1, **with_bus(redis_server))
    for _ in range(5):
        echo_works(b.port)
    before = b.counter("handshakes")
    assert before == 5
    old = pid_of(b, 0)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: pid_of(b, 0) not in (0, old) and len(b.workers()) == 1, 10, "back")
    assert b.counter("handshakes") == 5 and b.counter("connections") == 0
    echo_works(b.port)
    b.ctl("drain", "0")
    echo_works(b.port)
    eventually(lambda: not b.workers("retiring"), 10, "retired")
    assert b.counter("handshakes") == 7


def test_log_level(broker, redis_server):
    b = broker(workers=1, **with_bus(redis_server))
    b.ctl("log-level", "debug")
    os.kill(pid_of(b, 0), signal.SIGKILL)
    eventually(lambda: " debug heliod " in b.log(), 10, "debug lines")
    b.ctl("log-level", "error")
    eventually(lambda: len(b.workers()) == 1, 10, "back")
    size = len(b.log())
    b.signal(signal.SIGUSR1)
    b.ctl("status")
    assert "log reopened" not in b.log()[size:]


# ── the ways out ──

async def test_graceful_stop(broker, redis_server):
    b = broker(workers=2, shutdown_delay="500ms", **with_bus(redis_server))
    clients = [await entered(b.url) for _ in range(100)]
    b.signal(signal.SIGTERM)
    eventually(lambda: b.http()[0] == 503, 10, "unready first")
    for c in clients:
        assert await c.closed(20) == (1001, "Server shutting down")
    assert b.proc.wait(20 * SLACK) == 0
    assert not (b.dir / "run").exists()
    assert "worker died" not in b.log() and "killed" not in b.log()


async def test_a_second_signal_stops_at_once(broker, redis_server):
    b = broker(workers=2, shutdown_delay="60s", **with_bus(redis_server))
    await entered(b.url)
    b.signal(signal.SIGINT)
    eventually(lambda: "stopping: SIGINT" in b.log(), 10, "heard")
    b.signal(signal.SIGINT)
    assert b.proc.wait(20 * SLACK) == 1
    assert not (b.dir / "run").exists()


async def test_a_worker_that_sleeps_does_not_hold_the_stop_up(broker, redis_server):
    b = broker(workers=2, shutdown_timeout="500ms", **with_bus(redis_server))
    os.kill(pid_of(b, 1), signal.SIGSTOP)
    b.signal(signal.SIGTERM)
    assert b.proc.wait(20 * SLACK) == 0
    assert "did not leave in time: killed slot=1" in b.log()


def test_ctl_stop(broker, redis_server):
    b = broker(**with_bus(redis_server))
    b.ctl("stop")
    assert b.proc.wait(20 * SLACK) == 0
    b.start()
    b.ctl("stop", "now")
    assert b.proc.wait(20 * SLACK) == 0


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
