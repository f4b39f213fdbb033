"""helioctl doctor and its patients: servers, proxies and clocks that have something wrong with them."""
import base64
import concurrent.futures
import contextlib
import email.utils
import http
import http.server
import json
import re
import socket
import subprocess
import threading
import time

import websockets

from conftest import BUILD, SLACK
from middle import loop_in_a_thread
from test_jwt import Hmac, part

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
    assert len(bad) == (not answer["ok"] and not answer["verdict"].startswith("undecided")) or bad[0] in ("url", "tls"), answer
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


@contextlib.contextmanager
def websocket_server(handler, **options):
    """Another WebSocket server than ours, in a thread."""
    async def start():
        return await websockets.serve(handler, "127.0.0.1", 0, **options)

    async def stop(running):
        running.close()
        await running.wait_closed()

    with loop_in_a_thread() as submit:
        running = submit(start())
        yield running.sockets[0].getsockname()[1]
        submit(stop(running))


@contextlib.contextmanager
def answering(status, fields="", body=b""):
    """A web server with one answer to everything."""
    head = f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    with server(lambda s: (s.recv(65536), s.sendall(head + body))) as port:
        yield port


def jwt(**claims):
    head = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'alice', **claims})}"
    return f"{head}.{base64.urlsafe_b64encode(Hmac().sign('HS256', head.encode())).rstrip(b'=').decode()}"


@contextlib.contextmanager
def server_with_a_clock(skew):
    """Speaks the events protocol as far as a JWT needs it; its clock is `skew` seconds before the true one."""
    async def handler(ws):
        token = json.loads(await ws.recv())["data"]["token"]
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        now = time.time() + skew
        if claims.get("nbf", 0) <= now < claims["exp"] and claims.get("iat", 0) <= now:
            await ws.send(json.dumps({"event": "connected", "data": {"id": "1"}}))
            await ws.wait_closed()
        else:
            await ws.send(json.dumps({"event": "error", "data": {"message": "Authentication failed"}}))
            await ws.close(4003)

    async def request(path, headers):
        if path == "/health":
            return http.HTTPStatus.OK, {"Date": email.utils.formatdate(time.time() + skew, usegmt=True)}, b"fine"

    with websocket_server(handler, process_request=request) as port:
        yield port


@contextlib.contextmanager
def web_server():
    """Pages, and no WebSocket."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield web.server_port
        web.shutdown()
        thread.join()


# ── --hold ──

LONG = str(int(20 * SLACK))  # not waited for: the connection ends before


@contextlib.contextmanager
def holding(*args):
    """doctor with --hold, while something is done to it; yields a function that waits for its answer."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield pool.submit(doctor, *args, "--hold", LONG).result


def idle_seconds(answer):
    return int(re.search(r"≈(\d+) s", answer["verdict"])[1])
