"""The start refused, and why: ports, sockets, pidfile, run_dir; workers that cannot live; what a start leaves behind when it fails."""
import json
import os
import pwd
import re
import signal
import socket
import subprocess

import pytest

from conftest import BUILD, SLACK, eventually, free_port
from crowd import Connecting, echo_works, heliod, is_alive, pid_of, with_bus

ECHO = [{"path": "/echo", "protocol": "echo"}]


def conf_in(workdir, name="x.yaml", **keys):
    keys = {"run_dir": str(workdir / "run"), "workers": 1, "endpoints": ECHO,
            "listeners": [{"address": f"127.0.0.1:{free_port()}"}], **keys}
    path = workdir / name
    path.write_text(json.dumps(keys, indent=1))
    return path


def refused(workdir, reason, conf=None, status=1, **keys):
    """In the foreground and as a daemon: the reason on stderr, and nothing is left behind."""
    conf = conf or conf_in(workdir, **keys)
    before = sorted(workdir.rglob("*"))
    for args in (["-n"], []):
        done = heliod(*args, "-c", conf)
        assert done.returncode == status, done
        assert re.search(reason, done.stderr), done.stderr
        assert done.stdout == ""
    assert sorted(workdir.rglob("*")) == before
    return done.stderr


def listening(address):
    s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(address)
    s.listen()
    return s


@pytest.mark.parametrize("held,wanted", [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "*")])
def test_a_port_held_by_a_stranger(workdir, redis_server, held, wanted):
    """SO_REUSEPORT would let us in beside it: it is asked first."""
    with listening((held, 0)) as s:
        port = s.getsockname()[1]
        command = open("/proc/self/comm").read().strip()
        refused(workdir, rf"x\.yaml:\d+: listeners\[0\]: .*:{port}: address already in use, held by pid {os.getpid()} \({re.escape(command)}",
                listeners=[{"address": f"{wanted}:{port}"}], **with_bus(redis_server))


def test_a_port_held_by_another_heliod(broker, workdir):
    b = broker(workers=2)
    refused(workdir, rf"127\.0\.0\.1:{b.port}: address already in use, held by pid {b.proc.pid} \(heliod\)",
            listeners=[{"address": f"127.0.0.1:{b.port}"}])
    echo_works(b.port)


def test_one_good_address_and_one_bad(workdir):
    """Nothing is opened by halves."""
    port = free_port()
    refused(workdir, r"listeners\[1\]: 192\.0\.2\.1:80", listeners=[{"address": f"127.0.0.1:{port}"}, {"address": "192.0.2.1:80"}])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_unix_sockets(workdir, broker):
    path = workdir / "s.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        refused(workdir, rf"unix:{path}: address already in use, held by pid {os.getpid()} ", listeners=[{"address": f"unix:{path}"}])
        assert path.exists()
    # its holder has gone and left the file: that is in nobody's way
    b = broker(listeners=[{"address": f"unix:{path}"}], wait=False)
    eventually(lambda: "ready: " in b.log(), 15, "ready")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 200")
    assert b.stop() == 0 and not path.exists()


# ── run_dir and pidfile ──

def test_run_dir_in_use(broker, workdir):
    b = broker()
    run = b.dir / "run"
    assert f"pid {b.proc.pid}" in refused(workdir, r"heliod is running already: pid \d+ holds .*/heliod\.pid", run_dir=str(run))
    assert sorted(p.name for p in run.iterdir() if p.is_socket()) == ["heliod.sock"]
    assert b.ctl("status").returncode == 0
    echo_works(b.port)


@pytest.mark.parametrize("content", ["", "nonsense\n", "1\n", "99999999999999999999\n"])
def test_a_stale_pidfile_is_no_obstacle(broker, content):
    b = broker(wait=False)
    b.proc.kill()
    b.proc.wait()
    run = b.dir / "run"
    run.mkdir(exist_ok=True)
    (run / "heliod.pid").write_text(content)
    b.start()
    assert int((run / "heliod.pid").read_text()) == b.proc.pid
    assert b.stop() == 0
    assert not (run / "heliod.pid").exists()


def as_nobody():
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_run_dir_that_cannot_be_written(workdir):
    workdir.chmod(0o755)
    (workdir / "closed").mkdir(mode=0o755)
    for run, reason in [("/proc/heliod", "run_dir /proc/heliod: "), (workdir / "a" / "b", r"run_dir .*/a/b: No such file")]:
        refused(workdir, reason, run_dir=str(run))
    for run, reason in [(workdir / "closed" / "run", "run_dir .*/closed/run: Permission denied"),
                        (workdir / "closed", r"heliod\.pid: Permission denied")]:
        conf = conf_in(workdir, run_dir=str(run))
        conf.chmod(0o644)
        done = heliod("-n", "-c", conf, **as_nobody())
        assert done.returncode == 1 and re.search(reason, done.stderr), done.stderr
    assert not list((workdir / "closed").iterdir())


def test_run_dir_that_is_too_long(workdir):
    run = workdir / ("r" * 90)
    refused(workdir, r"x\.yaml:\d+: run_dir: \d+ bytes are too many: .* Unix address", run_dir=str(run))
    assert not run.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_without_root(workdir):
    """An ordinary user runs it all alone; `user` is of no importance then."""
    workdir.chmod(0o711)
    home = workdir / "home"
    home.mkdir()
    nobody = as_nobody()
    os.chown(home, nobody["user"], nobody["group"])
    port = free_port()
    conf = conf_in(home, run_dir=str(home / "run"), user="root", listeners=[{"address": f"127.0.0.1:{port}"}])
    with subprocess.Popen([BUILD / "heliod", "-n", "-c", conf], stderr=subprocess.PIPE, text=True, **nobody) as p:
        eventually(lambda: is_served(port), 15, "served")
        p.terminate()
        assert p.wait(30 * SLACK) == 0, p.stderr.read()
    assert not (home / "run").exists()


def is_served(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return s.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@pytest.mark.parametrize("keys,reason", [
    ({"user": "nobody-by-this-name"}, "user `nobody-by-this-name` does not exist"),
    ({"admin_group": "no-such-group"}, "admin_group `no-such-group` does not exist"),
    ({"redis": {"server": "/nowhere/redis-server"}}, "redis.server: there is no program /nowhere/redis-server"),
    ({"redis": {"server": "/bin/false"}}, "Invalid redis connection! managed: "),
    ({"redis": {"url": "http://x"}}, "Invalid redis connection!"),
    ({"redis": {"url": "redis://127.0.0.1:1"}}, "Invalid redis connection! redis://127.0.0.1:1/0: .*Connection refused"),
    ({"log": {"target": "/nowhere/log"}}, "log.target /nowhere/log: No such file"),
    ({"workers": 1000}, r"x\.yaml:\d+: .*workers"),
    ({"endpoints": []}, "endpoints"),
])
def test_configurations_that_cannot_be(workdir, keys, reason):
    if os.geteuid() != 0 and "user" in keys:
        pytest.skip("needs root")
    if "redis" in keys:
        keys["redis"]["connect_timeout"] = "500ms"
    refused(workdir, reason, **keys)


# ── workers that cannot live ──

WRAPPER = """#!/bin/sh
[ -e {flag} ] && exit 3
exec {worker} "$@"
"""


def test_workers_that_cannot_be_started_any_more(broker, workdir):
    """The program is broken (an upgrade gone wrong) while heliod runs: who lives goes on serving, also for the slots without a
    worker; drain says why not; as soon as it is whole again, all is as it was."""
    flag, wrapper = workdir / "broken", workdir / "worker"
    wrapper.write_text(WRAPPER.format(flag=flag, worker=BUILD / "heliod-worker"))
    wrapper.chmod(0o755)
    b = broker(workers=2, args=("--worker", wrapper))
    flag.write_text("")
    with Connecting(b) as connecting:
        done = b.ctl("drain", "0", check=False)
        assert done.returncode == 1 and "died before it was ready" in done.stderr
        connecting.kill(pid_of(b, 1))
        eventually(lambda: "worker died slot=1" in b.log(), 10, "noticed")
        b.write(workers=3)
        b.ctl("reload")  # the new slot cannot be filled, either
        eventually(lambda: [w["state"] for w in b.workers(None)] == ["running", "throttled", "throttled"], 20, "throttled")
        assert len(re.findall("listener lent .* to=0", b.log())) == 2
        for _ in range(30):
            echo_works(b.port)
        starts = re.findall(r"worker started slot=1", b.log())
        assert len(starts) <= 8, "it backs off"
        flag.unlink()
        eventually(lambda: len(b.workers()) == 3, 40, "whole again")
        for _ in range(30):
            echo_works(b.port)
    assert "status=3" in b.log()


def test_a_failed_start_ends_all_it_began(workdir, redis_server):
    """One of two workers cannot be started: the other, Redis and the sockets go."""
    wrapper = workdir / "worker"
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = 1 ] && exit 4\necho $$ >> {workdir}/pids\nexec {BUILD}/heliod-worker "$@"\n')
    wrapper.chmod(0o755)
    port = free_port()
    conf = conf_in(workdir, workers=2, listeners=[{"address": f"127.0.0.1:{port}"}])
    done = heliod("-n", "-c", conf, "--worker", wrapper)
    assert done.returncode == 1 and "the worker of slot 1 ended before it was ready: status=4" in done.stderr
    pids = [int(p) for p in (workdir / "pids").read_text().split()] if (workdir / "pids").exists() else []
    eventually(lambda: not any(map(is_alive, pids)), 10, "nobody is left")
    assert not (workdir / "run").exists() and not is_served(port)


@pytest.mark.parametrize("auth, what", [
    ({"method": "jwt", "key": "short", "algorithms": ["HS256"]}, "auth.key: this is a shared secret of 5 bytes"),
    ({"method": "jwt", "key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "algorithms": ["RS256"]}, "auth.key"),
    ({"method": "static", "tokens": "# a comment\nno hash here"}, "auth.tokens: line 2"),
])
def test_the_check_looks_into_keys_and_tokens(workdir, auth, what):
    """What only a worker can judge is judged by `heliod -t`, too."""
    path = workdir / "c.yaml"
    path.write_text(json.dumps({"run_dir": str(workdir / "run"), "endpoints": [{"path": "/ws", "auth": auth}]}))
    done = subprocess.run([BUILD / "heliod", "-t", "-c", path], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "", done
    assert str(path) in done.stderr and "endpoint /ws" in done.stderr and what in done.stderr, done.stderr
