"""helioctl doctor: broken set-ups, each with the right cause as its verdict, and healthy ones."""
import asyncio
import base64
import contextlib
import datetime
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import BUILD, SLACK, eventually, free_port
from test_events import endpoint, static
from test_jwt import Hmac, SECRET, part

NOT_RUNNING, URL, ORIGIN, PATH, PORT, REACH, TLS, AUTH, LIVENESS, BUS = range(11, 21)
UNDECIDED = 10


def run(*args, stdin=None):
    return subprocess.run([BUILD / "helioctl", "doctor", *args], capture_output=True, text=True, input=stdin, timeout=60 * SLACK)


def doctor(*args, stdin=None):
    """(exit status, the object) of --json."""
    done = run("--json", *args, stdin=stdin)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 10 + answer["cause"]), done
    bad = [c["check"] for c in answer["checks"] if c["result"] == "bad"]
    assert len(bad) == (answer["cause"] > 0), answer
    return done.returncode, answer


def result(answer, name):
    return next(c for c in answer["checks"] if c["check"] == name)


@contextlib.contextmanager
def server(handle, tls=None):
    """A TCP server; handle(socket) for each connection, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(s):
        with contextlib.suppress(OSError):
            with (tls.wrap_socket(s, server_side=True) if tls else s) as wrapped:
                handle(wrapped)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def certificate(workdir):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256()))
    path = workdir / "tls.pem"
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def websocket_server(handler, **options):
    """Another WebSocket server than ours, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start():
        return await websockets.serve(handler, "127.0.0.1", 0, **options)

    running = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield running.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(running.close)
    asyncio.run_coroutine_threadsafe(running.wait_closed(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# ── healthy ──

def test_healthy_on_echo_and_events(broker):
    b = broker()
    for path in "/echo", "/ws":
        status, answer = doctor(b.url + path)
        assert (status, answer["ok"], answer["cause"]) == (0, True, 0), answer
        assert result(answer, "server")["said"].startswith("a heliod")
        assert result(answer, "bus")["result"] == "good"
        assert result(answer, "running")["result"] == "unknown"
    status, answer = doctor("-c", str(b.conf), b.url + "/ws", "--token", "whatever")
    assert status == 0 and result(answer, "running")["result"] == result(answer, "token")["result"] == "good", answer
    status, answer = doctor(b.url + "/echo", "--token", "whatever", "--hold", "1")
    assert status == 0 and result(answer, "token")["result"] == "unknown", answer
    assert result(answer, "hold")["said"] == "held for 1 s and still answering; no native ping came"


def test_the_list_is_for_people(broker):
    done = run(broker().url + "/echo")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines[:8]] == ["url", "running", "reach", "server", "bus", "handshake", "token", "hold"]
    assert [line[0] for line in lines[:8]] == list("✓–✓✓✓✓––")
    assert lines[-1].startswith("verdict: ") and "healthy" in lines[-1]


def test_healthy_on_another_server():
    async def quiet(ws):
        await ws.wait_closed()

    with websocket_server(quiet) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/any")
    assert status == 0 and "not known as heliod" in result(answer, "server")["said"], answer


# ── 1: not running ──

def test_nothing_listens(workdir):
    status, answer = doctor(f"ws://127.0.0.1:{free_port()}/ws")
    assert status == NOT_RUNNING and "nothing listens" in answer["verdict"] and "start heliod" in answer["fix"]
    status, answer = doctor("-s", str(workdir / "heliod.sock"), f"ws://127.0.0.1:{free_port()}/ws")
    assert status == NOT_RUNNING and result(answer, "running")["result"] == "bad", answer
    assert "heliod.pid cannot be read" in answer["verdict"]


def test_the_pid_is_gone(broker):
    b = broker()
    os.kill(b.proc.pid, signal.SIGKILL)
    b.proc.wait()
    status, answer = doctor("-c", str(b.conf), b.url + "/ws")
    assert status == NOT_RUNNING and f"pid {b.proc.pid} of " in answer["verdict"] and "is gone" in answer["verdict"], answer


# ── 2: the URL ──

@pytest.mark.parametrize("url,fixed", [
    ("http://localhost:8000/ws", "ws://localhost:8000/ws"),
    ("ws://undefined/ws/signaling/r/doctor", "ws://localhost:8000/ws/signaling/r/doctor"),
    ("ws://localhost:8000/ws/signaling/{room}/doctor", "ws://localhost:8000/ws/signaling/VALUE/doctor"),
])
def test_bad_urls(url, fixed):
    status, answer = doctor(url)
    assert status == URL and answer["fix"] == f"use {fixed}", answer


# ── 3, 4: refused ──

ALLOWED = "https://app.example.com"


@pytest.mark.parametrize("refusals", ["http", "close"])
def test_origin_and_path(broker, refusals):
    b = broker(refusals=refusals, endpoints=[
        {"path": "/chat", "protocol": "echo", "allowed_origins": [ALLOWED], "refusals": refusals}])
    status, answer = doctor(b.url + "/chat", "--origin", "https://evil.example")
    assert status == ORIGIN and 'The Origin "https://evil.example" is not allowed at this endpoint.' in answer["verdict"], answer
    assert "allowed_origins" in answer["fix"]
    assert doctor(b.url + "/chat", "--origin", ALLOWED)[0] == 0
    status, answer = doctor(b.url + "/chats")
    assert status == PATH and "404" in answer["verdict"] and "Did you mean /chat?" in answer["verdict"], answer


def test_origin_refused_by_another_server():
    async def quiet(ws):
        await ws.wait_closed()

    with websocket_server(quiet, origins=[ALLOWED, None]) as port:
        assert doctor(f"ws://127.0.0.1:{port}/", "--origin", ALLOWED)[0] == 0
        status, answer = doctor(f"ws://127.0.0.1:{port}/", "--origin", "https://evil.example")
    assert status == ORIGIN, answer


# ── 5: something else ──

def test_a_web_server():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        status, answer = doctor(f"ws://127.0.0.1:{web.server_port}/ws")
        web.shutdown()
        thread.join()
    assert status == PORT and f"held by pid {os.getpid()} (" in answer["verdict"], answer


def test_no_http_at_all():
    with server(lambda s: (s.sendall(b"SSH-2.0-Open\x1b[31m\r\n"), s.recv(1000))) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws")
    assert status == PORT and "SSH-2.0-Open" in answer["verdict"] and "\x1b" not in answer["verdict"], answer
    with server(lambda s: s.recv(1000)) as port:
        assert doctor(f"ws://127.0.0.1:{port}/ws")[0] == PORT
        assert doctor(f"wss://127.0.0.1:{port}/ws")[0] == PORT


# ── 6: the way ──

def test_a_name_that_does_not_resolve():
    status, answer = doctor("ws://no-such-host.invalid:8000/ws")
    assert status == REACH and "does not resolve" in answer["verdict"]


def test_no_answer_to_a_connection():
    """A full queue drops what knocks, as a filter does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        status, answer = doctor(f"ws://127.0.0.1:{listener.getsockname()[1]}/ws", "--timeout", "1")
    assert status == REACH and "no answer" in answer["verdict"], answer


def test_bound_to_another_loopback_address(broker):
    """127.0.0.2 is as local as the address of a network card, and as little listened at."""
    b = broker()
    status, answer = doctor(f"ws://127.0.0.2:{b.port}/ws")
    assert status == REACH and "bound to a loopback address only" in answer["verdict"], answer
    assert f"*:{b.port}" in answer["fix"]


# ── 7: TLS ──

def test_tls_spoken_to_in_clear_and_the_reverse(broker, certificate):
    with server(lambda s: s.recv(1000), certificate) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws")
        assert status == TLS and answer["fix"].startswith("use wss://"), answer
        status, answer = doctor(f"wss://127.0.0.1:{port}/ws")
        assert status == UNDECIDED and result(answer, "server")["result"] == "good", answer
    status, answer = doctor(f"wss://127.0.0.1:{broker().port}/ws")
    assert status == TLS and answer["fix"].startswith("use ws://"), answer


# ── 8: the token ──

def jwt(**claims):
    head = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'alice', **claims})}"
    return f"{head}.{base64.urlsafe_b64encode(Hmac().sign('HS256', head.encode())).rstrip(b'=').decode()}"


def test_tokens(broker):
    b = broker(**endpoint(auth={"method": "jwt", "key": SECRET, "algorithms": ["HS256"]}))
    now = int(time.time())
    status, answer = doctor(b.url + "/ws", "--token", jwt(exp=now + 600))
    assert status == 0 and "valid for another" in result(answer, "token")["said"], answer
    assert doctor(b.url + "/ws", "--token", "-", stdin=jwt(exp=now + 600) + "\n")[0] == 0
    for claims, words in ({"exp": now - 600}, "expired 60"), ({"nbf": now + 600}, "not valid before"):
        token = jwt(**claims)
        status, answer = doctor(b.url + "/ws", "--token", token)
        assert status == AUTH and words in answer["verdict"] and "HS256" in answer["verdict"], answer
        assert "Authentication failed" in answer["verdict"]
        assert token not in json.dumps(answer) and token.split(".")[2] not in json.dumps(answer)
    status, answer = doctor(b.url + "/ws", "--token", jwt(exp=now + 600)[:-8] + "AAAAAAAA")
    assert status == AUTH and "valid for another" in answer["verdict"] and "its key" in answer["fix"], answer


def test_a_wrong_token(broker):
    b = broker(**endpoint(auth=static("alice")))
    assert doctor(b.url + "/ws", "--token", "token-alice")[0] == 0
    status, answer = doctor(b.url + "/ws", "--token", "wrong-secret")
    assert status == AUTH and "Authentication failed" in answer["verdict"] and "wrong-secret" not in json.dumps(answer), answer


# ── 9: liveness ──

def test_dropped_while_idle():
    """What a proxy does: no close frame, the connection is just gone."""
    async def drop(ws):
        await asyncio.sleep(2)
        ws.transport.abort()

    with websocket_server(drop) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws", "--hold", str(int(20 * SLACK)))
    assert status == LIVENESS and "after ≈2 s idle" in answer["verdict"] and "client.ping_after" in answer["fix"], answer


def test_native_pings_are_seen(broker):
    b = broker(client={"ping_after": "1s", "idle_timeout": "10s"})
    status, answer = doctor(b.url + "/echo", "--hold", "3")
    assert status == 0 and "native ping" in result(answer, "hold")["said"], answer
    assert "no native ping" not in result(answer, "hold")["said"]


# ── 10: the bus ──

def test_the_bus_is_down(broker, redis_server):
    r = redis_server()
    b = broker(redis={"url": r.url}, **endpoint())
    assert doctor(b.url + "/ws")[0] == 0
    r.kill()
    eventually(lambda: b.http()[0] == 503, what="not ready")
    status, answer = doctor(b.url + "/ws")
    assert status == BUS and "/ready: 503, bus: " in answer["verdict"] and "Redis" in answer["fix"], answer


# ── the command line ──

@pytest.mark.parametrize("args", [["ws://h/"] + extra for extra in (
    ["--hold", "0"], ["--hold", "x"], ["--origin", "x y"], ["--token", "x y"], ["--token", ""], ["more"])])
def test_wrong_command_lines(args):
    done = run(*args)
    assert done.returncode == 2 and done.stderr and "x y" not in done.stderr, done


def test_options_of_another_command():
    done = subprocess.run([BUILD / "helioctl", "version", "--token", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and "go with doctor only" in done.stderr
