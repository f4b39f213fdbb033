"""A real broker for each test: heliod from the build under test, its own run directory, its own ports."""
import asyncio
import inspect
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import client
import hush

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HELIOD_BUILD", ROOT / "build"))
SLACK = float(os.environ.get("HELIOD_SLACK", "3"))  # deadlines are eventually-by: stretched on a busy machine

os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=1:disable_coredump=1")
os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(check, seconds=10, what="condition"):
    """Waits until check() is truthy and returns it; fails after seconds × slack."""
    end = time.monotonic() + seconds * SLACK
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not reached in {seconds * SLACK:.0f} s: {what}")
        time.sleep(0.02)


class Broker:
    """heliod in the foreground. Keywords become YAML; `endpoints` etc. are given as Python values."""

    def __init__(self, directory, config=None, port=None, args=(), wait=True, env=None, **keys):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.conf = self.dir / "heliod.yaml"
        self.log_path = self.dir / "log"
        self.keys = {
            "workers": 1,
            "run_dir": str(self.dir / "run"),
            "listeners": [{"address": f"127.0.0.1:{self.port}"}],
            "endpoints": [
                {"path": "/ws", "protocol": "events", "auth": {"method": "anonymous"}},
                {"path": "/echo", "protocol": "echo", "max_message": "16MiB"},
            ],
        }
        self.keys.update(json.loads(os.environ.get("HELIOD_KEYS", "{}")))  # a run of everything with {"io_uring": "off"}
        self.keys.update(keys)
        self.shown = []  # by helioctl
        self.write(config)
        self.proc = None
        self.env = {**os.environ, **(env or {})}
        self.args = args
        self.start(wait)

    def write(self, text=None, **keys):
        """JSON is YAML: the configuration file from self.keys, or a literal text."""
        self.keys.update(keys)
        if os.environ.get("HELIOD_COMPRESSION"):  # the same tests, compressed
            self.keys["endpoints"] = [{"compression": "on", "compression_threshold": 0, **e} for e in self.keys["endpoints"]]
        hush.configured(self.keys)
        self.conf.write_text(text if text is not None else json.dumps(self.keys, indent=1))

    def start(self, wait=True):
        self.log_file = open(self.log_path, "ab")
        self.proc = subprocess.Popen(
            [BUILD / "heliod", "-n", "-c", self.conf, *self.args],
            stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file, env=self.env,
        )
        if wait:
            self.wait_ready()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def http(self, path="/ready", method="GET", host=None):
        """(status, body) by one plain request; (0, "") when refused."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
                s.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host or 'localhost'}\r\nConnection: close\r\n\r\n".encode())
                data = b""
                while chunk := s.recv(65536):
                    data += chunk
        except OSError:
            return 0, ""
        if not data:
            return 0, ""
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def wait_ready(self, seconds=15):
        def ready():
            assert self.proc.poll() is None, f"heliod ended {self.proc.returncode}:\n{self.log()}"
            return self.http()[0] == 200

        eventually(ready, seconds, f"ready; log:\n{self.log()}")
        if self.keys["workers"] != 1:  # /ready speaks for one of them
            eventually(lambda: (s := self.rows("status")[0])["running"] == s["workers"] and all(w["bus_up"] for w in self.workers()),
                       seconds, "all workers run and have a bus")

    def ctl(self, *args, check=True, stdin=None):
        done = subprocess.run([BUILD / "helioctl", "-s", str(self.dir / "run" / "heliod.sock"), *args],
                              capture_output=True, text=True, timeout=60, input=stdin)
        hush.commanded(args, done.stdout)
        if {"show", "status"} & set(args):
            self.shown.append(done.stdout + done.stderr)
        if check:
            assert done.returncode == 0, f"helioctl {args}: {done.returncode} {done.stdout} {done.stderr}"
        return done

    def rows(self, *args):
        """helioctl --json: a list of objects."""
        return [json.loads(line) for line in self.ctl("--json", *args).stdout.splitlines() if line.strip()]

    def workers(self, state="running"):
        return [w for w in self.rows("show", "workers") if state is None or w["state"].lower() == state]

    def counter(self, name):
        return next(r["total"] for r in self.rows("show", "counters") if r["name"] == name)

    def signal(self, number):
        self.proc.send_signal(number)

    def stop(self, seconds=20):
        """Graceful; returns the exit code."""
        if self.proc.poll() is None:
            self.proc.terminate()
        return self.proc.wait(seconds * SLACK)

    def close(self):
        if self.proc and self.proc.poll() is None:
            self.ctl("--timeout", "5", "show", "config", check=False)
            self.proc.terminate()
            try:
                self.proc.wait(15 * SLACK)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError(f"heliod did not stop:\n{self.log()[-4000:]}")
        self.log_file.close()
        text = self.log()
        for sign in ("AddressSanitizer", "LeakSanitizer", "runtime error:"):
            assert sign not in text, f"{sign} in the log:\n{text[-8000:]}"
        for where, said in (("the log", text), ("what helioctl showed", "\n".join(self.shown))):
            heard = hush.heard(said)
            assert not heard, f"{where} holds what nobody should read: {heard}\n" + "\n".join(
                line for line in said.splitlines() if any(word in line for word in heard))[-4000:]

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}"

    @property
    def redis_path(self):
        return str(self.dir / "run" / "redis" / "redis.sock")


@pytest.fixture
def workdir():
    """Short paths: Unix socket addresses are limited."""
    path = tempfile.mkdtemp(prefix="heliod-", dir="/tmp")
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def broker(workdir):
    """broker(**keys) starts one; all are stopped at the end, and no sanitizer may have spoken."""
    started = []

    def start(name="a", **keys):
        b = Broker(workdir / name, **keys)
        started.append(b)
        return b

    yield start
    for b in started:
        b.close()


@pytest.fixture(scope="module")
def shared():
    """shared(**keys): like broker(), but the same one for all tests of a module that ask with the same keys."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="heliod-", dir="/tmp"))
    started = {}

    def start(**keys):
        name = json.dumps(keys, sort_keys=True)
        if name not in started:
            started[name] = Broker(path / str(len(started)), **keys)
        return started[name]

    yield start
    for b in started.values():
        b.close()
    shutil.rmtree(path, ignore_errors=True)


class Redis:
    """A redis-server of the test's own, on a Unix socket and a TCP port."""

    def __init__(self, directory, args=()):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.path = self.dir / "r.sock"
        self.args = args
        self.proc = None
        self.start()

    def start(self):
        self.proc = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path,
             "--save", "", "--appendonly", "no", "--dir", self.dir, *self.args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self.answers, 10, "redis-server answers")

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.sendall(b"PING\r\n")
                return s.recv(64)[:1] in (b"+", b"-")
        except OSError:
            return False

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self):
        import redis
        return redis.Redis(port=self.port)

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def close(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGCONT)
            self.kill()


@pytest.fixture
def redis_server(workdir):
    started = []

    def start(name="redis", args=()):
        r = Redis(workdir / name, args)
        started.append(r)
        return r

    yield start
    for r in started:
        r.close()


def pytest_pyfunc_call(pyfuncitem):
    """Coroutine tests run in an event loop of their own, bounded in time."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    args = {a: pyfuncitem.funcargs[a] for a in pyfuncitem._fixtureinfo.argnames}

    async def test():
        try:
            await asyncio.wait_for(pyfuncitem.obj(**args), 120 * SLACK)
        finally:
            client.abandon()

    asyncio.run(test())
    return True
