"""The servers that are measured: how each is found, started on its core, and which of its processes are counted."""
import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import string
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers"
SECRET = "0123456789abcdef0123456789abcdef"  # signs the tokens of one run, on loopback
TOKENS = 20000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(check, what, seconds=20):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def said(*command):
    """What a program says of its version."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=20)
    return (done.stdout + done.stderr).strip()


def children(pid):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except (OSError, IndexError):
            pass
    return found


def jwt(user):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"sub": user, "exp": int(time.time()) + 86400})
    signature = hmac.new(SECRET.encode(), text, "sha256").digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def write_tokens(directory):
    """One line a connection: plain.tokens for static tokens, jwt.tokens; and the file that heliod checks them by."""
    plain = [f"t{i}" for i in range(TOKENS)]
    (directory / "plain.tokens").write_text("\n".join(plain))
    (directory / "jwt.tokens").write_text("\n".join(jwt(f"user-{i}") for i in range(TOKENS)))
    hashed = [f"user-{i}:sha256:{hashlib.sha256(t.encode()).hexdigest()}" for i, t in enumerate(plain)]
    (directory / "tokens").write_text("\n".join(hashed))


class Process:
    """A program on a core; its output goes to a file that is shown when it fails."""

    def __init__(self, directory, name, command, core=None, cwd=None):
        self.name, self.log = name, pathlib.Path(directory, f"{name}.log")
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        env = {**os.environ, "NODE_ENV": "production", "APP_ENV_LOGGER_LEVEL": "error", "TZ": "UTC"}
        with open(self.log, "ab") as out:
            self.proc = subprocess.Popen([*pinned, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                         cwd=cwd or directory, env=env)

    def await_port(self, port):
        def up():
            if self.proc.poll() is not None:
                raise RuntimeError(f"{self.name} ended {self.proc.returncode}: {self.log.read_text(errors='replace')[-2000:]}")
            return accepts(port)
        eventually(up, f"{self.name} listens")

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()


class Redis(Process):
    """On the generator's core, as a machine of its own would be; for all nodes of a server."""

    def __init__(self, directory, core):
        self.port, self.path = free_port(), str(pathlib.Path(directory, "redis.sock"))
        super().__init__(directory, "redis", [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--unixsocket", self.path, "--save", "",
            "--appendonly", "no", "--maxclients", "1000", "--client-output-buffer-limit", "pubsub 256mb 64mb 60"], core)
        self.await_port(self.port)


class Server:
    """nodes processes of a kind on one core; run() is given by each kind and returns a port and {label: [pid]}."""

    name = title = None
    needs_redis = False
    meets = False  # what is said to one node reaches the others

    def __init__(self, tools):
        self.tools = tools  # .build, .server_core, .load_core, .tokens (a directory)

    def missing(self):
        return None

    def version(self):
        return None

    def start(self, directory, nodes=1):
        self.running, self.ports, self.pids, self.redis = [], [], {}, None
        try:
            if self.needs_redis:
                self.redis = Redis(directory, self.tools.load_core)
                self.pids["redis"] = [self.redis.proc.pid]
            for i in range(nodes):
                place = pathlib.Path(directory, f"{self.name}-{i}")
                place.mkdir()
                port, pids = self.run(place)
                self.ports.append(port)
                for label, list_ in pids.items():
                    self.pids.setdefault(label, []).extend(list_)
        except BaseException:
            self.stop()
            raise

    def launch(self, place, command, port, cwd=None):
        process = Process(place, self.name, command, self.tools.server_core, cwd)
        self.running.append(process)
        process.await_port(port)
        return process.proc.pid

    def stop(self):
        for process in reversed(self.running):
            process.stop()
        if self.redis:
            self.redis.stop()

    def feed(self, room):
        """How bench_load publishes from outside."""
        return f"redis:{self.redis.path}:{room}"


class Heliod(Server):
    name = title = "heliod"
    needs_redis = meets = True

    def missing(self):
        wanted = [p for p in ("heliod", "heliod-worker", "helioctl") if not (self.tools.build / p).exists()]
        return f"not built: {', '.join(wanted)}" if wanted else None

    def version(self):
        return said(self.tools.build / "heliod", "-V").removeprefix("heliod ")

    def run(self, place):
        port = free_port()
        rooms = {"join": ["r*"], "publish": ["r*"]}
        def events(path, **auth):
            return {"path": path, "protocol": "events", "acknowledge": True, "auth_timeout": "60s", "rooms": rooms, "auth": auth}
        conf = {
            "workers": 1, "run_dir": f"{place}/run", "log": {"level": "warn"},
            "redis": {"url": f"unix://{self.redis.path}"},
            "client": {"handshake_timeout": "1m"},
            "listeners": [{"address": f"127.0.0.1:{port}"}],
            "endpoints": [
                {"path": "/echo", "protocol": "echo"},
                events("/ws", method="static", tokens_file=str(self.tools.tokens / "tokens")),
                events("/ws/jwt", method="jwt", algorithms=["HS256"], key=SECRET),
                {"path": "/ws/signaling/{room}/{role}", "protocol": "signaling"},
            ],
        }
        path = place / "heliod.yaml"
        path.write_text(json.dumps(conf))
        supervisor = self.launch(place, [self.tools.build / "heliod", "-n", "-c", path], port)
        workers = []
        def run():
            done = subprocess.run([self.tools.build / "helioctl", "-s", place / "run/heliod.sock", "--json", "show", "workers"],
                                  capture_output=True, text=True)
            rows = [json.loads(x) for x in done.stdout.splitlines()] if done.returncode == 0 else []
            workers[:] = [r["pid"] for r in rows if r["state"].lower() == "running" and r["bus_up"]]
            return len(workers) == 1
        eventually(run, "heliod's worker runs and its bus is up")
        return port, {"server": workers, "supervisor": [supervisor]}


class Floor(Server):
    """tests/bench/floor.c"""

    def __init__(self, tools, how):
        super().__init__(tools)
        self.how, self.name, self.title = how, f"floor-{how}", f"floor: {how}"

    def missing(self):
        return None if (self.tools.build / "tests/bench_floor").exists() else "not built: bench_floor"

    def run(self, place):
        port = free_port()
        return port, {"server": [self.launch(place, [self.tools.build / "tests/bench_floor", self.how, port], port)]}


class Nchan(Server):
    name, title = "nchan", "nginx + Nchan"

    def modules(self):
        for directory in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"):
            if pathlib.Path(directory, "ngx_nchan_module.so").exists():
                return directory

    def program(self):
        return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    def missing(self):
        return None if self.program() and self.modules() else "nginx with libnginx-mod-nchan is not installed"

    def version(self):
        nchan = said("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan")
        return f"{re.sub('^1:|[+-].*', '', nchan)} in nginx {said(self.program(), '-v').rpartition('/')[2]}"

    def run(self, place):
        port, files = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        text = string.Template((PEERS / "nginx.conf").read_text().replace("$1", "$$1").replace(r"\d+)$ {", r"\d+)$$ {"))
        conf = place / "nginx.conf"
        conf.write_text(text.substitute(modules=self.modules(), dir=place, port=port, files=files, connections=files - 100))
        if os.geteuid() == 0:  # its workers change user
            place.chmod(0o755)
            conf.write_text("user root;\n" + conf.read_text())
        master = self.launch(place, [self.program(), "-e", place / "error.log", "-c", conf], port)
        return port, {"server": children(master), "supervisor": [master]}

    def feed(self, room):
        return f"post:{self.ports[0]}:/pub/{room.removeprefix('r')}"


def installed(package):
    """Its version in node_modules, or None."""
    path = PEERS / "node_modules" / package / "package.json"
    return json.loads(path.read_text())["version"] if path.exists() else None


class Node(Server):
    name, title = "ws", "ws under Node"

    def missing(self):
        if not shutil.which("node"):
            return "node is not installed"
        return None if installed("ws") else "the npm package ws is not installed"

    def version(self):
        return f"{installed('ws')} under Node {said('node', '-v').lstrip('v')}"

    def run(self, place):
        port = free_port()
        return port, {"server": [self.launch(place, ["node", "--max-semi-space-size=32", PEERS / "ws.js", port], port)]}


class Bun(Server):
    name, title, script = "bun", "Bun", "bun.js"

    def program(self):
        for path in sorted(PEERS.glob("node_modules/@oven/*/bin/bun")):
            if os.access(path, os.X_OK) and subprocess.run([path, "-v"], capture_output=True).returncode == 0:
                return path

    def missing(self):
        return None if self.program() else "the npm package bun is not installed, or runs not on this machine"

    def version(self):
        return said(self.program(), "-v")

    def run(self, place):
        port = free_port()
        more = [self.redis.port] if self.redis else []
        return port, {"server": [self.launch(place, [self.program(), PEERS / self.script, port, *more], port)]}


class Ignis(Bun):
    name, title, script = "ignis", "Ignis helper on Bun", "ignis.js"
    needs_redis = meets = True

    def missing(self):
        return super().missing() or (None if installed("@venizia/ignis-helpers") else "the npm package @venizia/ignis-helpers is not installed")

    def version(self):
        return f"{installed('@venizia/ignis-helpers')} under Bun {super().version()}"


def all_servers(tools):
    return [Heliod(tools), Floor(tools, "send"), Floor(tools, "coalesce"), Nchan(tools), Node(tools), Bun(tools), Ignis(tools)]


def install():
    """The npm packages of package-lock.json, if they are not there; no scripts of theirs are run."""
    lock, mark = PEERS / "package-lock.json", PEERS / "node_modules/.installed"
    if mark.exists() and mark.read_bytes() == lock.read_bytes():
        return None
    if not shutil.which("npm"):
        return "npm is not installed"
    done = subprocess.run(["npm", "ci", "--omit=dev", "--loglevel=error"], cwd=PEERS, capture_output=True, text=True)
    if done.returncode:
        return f"npm could not install the packages: {done.stderr.strip()[:400]}"
    shutil.copy(lock, mark)
    return None
