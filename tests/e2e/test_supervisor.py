"""The supervisor: command line, boot, who may talk to it, crashes, what it tells. Real processes, a real bus."""
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

import pytest

from client import entered
from conftest import BUILD, SLACK, Broker, eventually, free_port
from crowd import REQUEST, Connecting, echo_works, heliod, is_alive, pid_of, with_bus

BAD_YAML = "workers: 2\nlisteners: [{address: '127.0.0.1:1'}]\nendpoints:\n  - {path: /ws, protocol: events, auth: {methd: x}}\n"

NOT_A_KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"  # so much only a worker finds out


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

def test_a_slot_that_fails_again_and_again_is_throttled_and_served(broker, redis_server):
    b = broker(workers=2, **with_bus(redis_server))
    with Connecting(b) as connecting:
        for n in range(1, 6):
            connecting.kill(eventually(lambda: pid_of(b, 0), 20, "next worker"))
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
            s.sendall(REQUEST)
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


def test_a_stuck_worker_is_replaced(broker, redis_server):
    b = broker(watchdog="1s", **with_bus(redis_server))
    stuck = pid_of(b, 0)
    os.kill(stuck, signal.SIGSTOP)
    eventually(lambda: pid_of(b, 0) not in (0, stuck) and len(b.workers()) == 1, 30, "replaced")
    assert re.search(rf"its loop has not turned for \d+ ms: aborted slot=0 pid={stuck}", b.log())
    echo_works(b.port)


def test_the_supervisor_dies(workdir, redis_server):
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
    assert await asyncio.to_thread(b.stop) == 0


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
