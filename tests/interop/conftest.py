"""One Redis, the genuine servers, one heliod, for all tests. Broker and Redis are those of the end-to-end tests."""
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import shutil

import pytest

HERE = pathlib.Path(__file__).resolve().parent
E2E = HERE.parent / "e2e"
sys.path.insert(0, str(E2E))
_spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
sys.modules["e2e_conftest"] = e2e
_spec.loader.exec_module(e2e)

from e2e_conftest import Broker, Redis, eventually, pytest_pyfunc_call  # noqa: E402,F401
from sides import App, Genuine, Heliod  # noqa: E402


def bun():
    """The program as its package ships it; which of the packages fits, npm has found out."""
    for program in sorted(HERE.glob("node_modules/@oven/*/bin/bun")):
        if subprocess.run([program, "--version"], capture_output=True).returncode == 0:
            return program
    raise AssertionError("no bun that runs here; tests/interop/run installs it")


@pytest.fixture(scope="session")
def place():
    path = pathlib.Path(tempfile.mkdtemp(prefix="heliod-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(place):
    r = Redis(place / "redis")
    yield r
    r.close()


@pytest.fixture(scope="session")
def app(place, redis_server):
    log = open(place / "bun.log", "wb")
    env = {**os.environ, "APP_ENV_LOGGER_FOLDER_PATH": str(place)}
    proc = subprocess.Popen([bun(), HERE / "server.ts", str(redis_server.port)], cwd=HERE, env=env,
                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    sign = "control port "

    def port():
        text = (place / "bun.log").read_text()
        assert proc.poll() is None, text
        return next((line[len(sign):] for line in text.splitlines() if line.startswith(sign)), None)

    yield App(eventually(port, 20, "the genuine server has started"))
    proc.terminate()
    proc.wait()


def profiles(app):
    """heliod's endpoints for the profiles of server.ts."""
    def endpoint(name, hooks=("authenticate", "rooms", "message", "connected", "disconnected"), **more):
        url = f"{app.url}/hook/{name}"
        return {"path": "/ws" if name == "plain" else "/" + name, "protocol": "events", "auth": {"method": "hook"},
                "hooks": {h: url for h in hooks}, "max_rooms": 1000, **more}

    timers = {"auth_timeout": "400ms", "heartbeat_interval": "300ms", "heartbeat_timeout": "900ms"}
    return [
        endpoint("plain"), endpoint("timers", **timers), endpoint("patient", auth_timeout="2m"),
        endpoint("lobby", default_rooms=["lobby"]),
        endpoint("bare", hooks=["authenticate"], default_rooms=[]),
        endpoint("sealed", require_encryption=True, encryption="builtin"),
        endpoint("shaken", hooks=["authenticate", "handshake", "rooms", "message"], require_encryption=True, encryption="hook",
                 auth_timeout="400ms"),
        endpoint("unsealed", require_encryption=True),
        {"path": "/anonymous", "protocol": "events", "auth": {"method": "anonymous"},
         "rooms": {"join": ["public-*"], "publish": ["public-*"]}},
    ]


@pytest.fixture(scope="session")
def broker(place, app, redis_server):
    b = Broker(place / "heliod", workers=2, redis={"url": redis_server.url}, endpoints=profiles(app))
    yield b
    b.close()


@pytest.fixture(scope="session")
def genuine(app, redis_server):
    return Genuine(app, redis_server.port)


@pytest.fixture(scope="session")
def heliod(app, broker, redis_server):
    return Heliod(app, redis_server.port, broker)


def pytest_terminal_summary(terminalreporter):
    rows = [p for r in terminalreporter.getreports("passed") for p in r.user_properties]
    if not rows:
        return
    terminalreporter.section("heliod beside the original")
    for name, what in rows:
        terminalreporter.write_line(f"{name}: {what}")
