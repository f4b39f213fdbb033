"""helioctl doctor: broken set-ups, each with the right cause as its verdict, and healthy ones."""
import concurrent.futures
import contextlib
import email.utils
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from clinic import (AUTH, BUS, LIVENESS, LONG, NOT_RUNNING, ORIGIN, PATH, PORT, REACH, TLS, UNDECIDED, URL, answering, doctor,
                    holding, idle_seconds, jwt, result, run, server, server_with_a_clock, web_server, websocket_server)
from conftest import BUILD, SLACK, eventually, free_port
from middle import Cert, proxy
from test_events import endpoint, static
from test_jwt import SECRET


@pytest.fixture
def ca(workdir):
    """A CA, and the file that makes it trusted."""
    root = Cert("Test Root", ca=True)
    root.file = root.save(workdir / "root.pem")
    return root


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
    assert [line.split()[1] for line in lines[:9]] == ["url", "running", "reach", "tls", "server", "bus", "handshake", "token", "hold"]
    assert [line[0] for line in lines[:9]] == list("✓–✓–✓✓✓––")
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


def test_mixed_content():
    """Browsers refuse it before anything is sent; what else is wrong is told as well."""
    status, answer = doctor("ws://no-such-host.invalid:8000/ws?x=y", "--origin", "https://app.example.com")
    assert status == TLS and "may open wss:// only" in answer["verdict"], answer
    assert answer["fix"].startswith("use wss://no-such-host.invalid:8000/ws?…, "), answer
    assert [c["check"] for c in answer["checks"] if c["result"] == "bad"] == ["url", "reach"]
    assert doctor("ws://no-such-host.invalid:8000/ws", "--origin", "http://app.example.com")[0] == REACH


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


# ── proxies in between ──

@pytest.mark.parametrize("status,cause,said,fix", [
    ("426 Upgrade Required", PATH, "something in between took `Upgrade` away", "proxy_set_header Upgrade $http_upgrade"),
    ("400 Bad Request", PATH, "the form of the handshake is refused (400", "proxy_http_version 1.1"),
    ("405 Method Not Allowed", PATH, "at this path GET is not allowed", "correct the path"),
    ("502 Bad Gateway", NOT_RUNNING, "a proxy answers 502: its back end is not there", "start the server behind the proxy"),
    ("503 Service Unavailable", NOT_RUNNING, "a proxy answers 503: its back end is not there", "start the server"),
    ("504 Gateway Timeout", NOT_RUNNING, "a proxy answers 504: its back end does not answer", "whether it hangs"),
    ("418 Strange", UNDECIDED, "answered with 418: no reason is given", "documentation of that server"),
])
def test_answers_of_a_proxy(status, cause, said, fix):
    with answering(status) as port:
        code, answer = doctor(f"ws://127.0.0.1:{port}/ws")
    assert code == cause and said in answer["verdict"] and fix in answer["fix"], answer


@pytest.mark.parametrize("location,cause,fix", [
    ("https://example.com/ws?next=secret", TLS, "use wss://example.com/ws?…"),
    ("http://example.com/ws/", PATH, "use ws://example.com/ws/"),
    ("/login", PATH, "use the URL it leads to"),
])
def test_redirections(location, cause, fix):
    with answering("301 Moved Permanently", f"Location: {location}\r\n") as port:
        code, answer = doctor(f"ws://127.0.0.1:{port}/ws")
    assert code == cause and answer["fix"] == fix and "redirection (301)" in answer["verdict"], answer


def test_a_proxy_that_takes_the_upgrade_away(broker):
    """As nginx does unless told otherwise; heliod behind it says what it misses."""
    def strip(data):
        return data.replace(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Connection: close\r\n")

    with proxy(broker().port, edit=strip) as p:
        code, answer = doctor(f"ws://127.0.0.1:{p.port}/echo")
    assert code == PATH and "took `Upgrade` away" in answer["verdict"] and "proxy_set_header" in answer["fix"], answer
    assert result(answer, "server")["said"] == "a heliod"


# ── 5: something else ──

def test_a_web_server():
    with web_server() as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws")
    assert status == PORT and f"held by pid {os.getpid()} (" in answer["verdict"], answer


def test_no_http_at_all():
    with server(lambda s: (s.sendall(b"SSH-2.0-Open\x1b[31m\r\n"), s.recv(1000))) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws")
    assert status == PORT and "SSH-2.0-Open" in answer["verdict"] and "\x1b" not in answer["verdict"], answer
    with server(lambda s: s.recv(1000)) as port:
        assert doctor(f"ws://127.0.0.1:{port}/ws")[0] == PORT
        assert doctor(f"wss://127.0.0.1:{port}/ws")[0] == PORT


def test_servers_that_never_stop(workdir):
    """Heads, bodies and frames without an end: a step ends at its deadline all the same."""
    def accept(s):
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", s.recv(65536))
        if not key:
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return False
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        return True

    def flood(first, rest):
        def serve(s):
            s.recv(65536)
            s.sendall(first)
            while True:
                s.sendall(rest)
        return serve

    def frames(frame):
        return lambda s: accept(s) and [s.sendall(frame * 1000) for _ in iter(int, 1)]

    for handle, cause in [
        (flood(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), PORT),
        (flood(b"HTTP/1.1 404 Not Found\r\n\r\n", b"x" * 10000), PORT),
        (flood(b"", b"\x16\x03\x01" + bytes(9999)), TLS),
        (frames(b"\x81\x02{}"), LIVENESS),
        (frames(b"\x89\x00"), LIVENESS),
        (frames(b"\x81\xff" + bytes(20)), PORT),
        (frames(b"\x82\x7f" + b"\xff" * 8), PORT),
    ]:
        with server(handle) as port:
            status, answer = doctor(f"ws://127.0.0.1:{port}/ws", "--timeout", "1")
        assert status == cause, (answer, cause)


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

def test_healthy_over_tls(broker, workdir, ca):
    """A proxy that speaks TLS before a real heliod, by name and by address."""
    b = broker(**endpoint(auth=static("alice")))
    tls = Cert("ignored", ca, ["localhost", "127.0.0.1"]).context(workdir / "tls.pem")
    with proxy(b.port, tls) as p:
        for host in "127.0.0.1", "localhost":
            status, answer = doctor(f"wss://{host}:{p.port}/ws", "--ca", ca.file, "--token", "token-alice", "--hold", "1")
            assert (status, answer["ok"]) == (0, True), answer
            assert [c["result"] for c in answer["checks"]] == ["good", "unknown"] + ["good"] * 7, answer
            said = result(answer, "tls")["said"]
            assert said.startswith("TLSv1.3, a certificate for localhost, 127.0.0.1, issued by CN = Test Root, valid until 20"), said
        assert result(answer, "server")["said"] == "a heliod"


def test_the_wrong_scheme_either_way(broker, workdir, ca):
    b = broker()
    with proxy(b.port, Cert("x", ca, ["127.0.0.1"]).context(workdir / "tls.pem")) as p:
        status, answer = doctor(f"ws://127.0.0.1:{p.port}/ws?token=secret")
        assert status == TLS and answer["fix"] == f"use wss://127.0.0.1:{p.port}/ws?…", answer
    status, answer = doctor(f"wss://127.0.0.1:{b.port}/ws")
    assert status == TLS and answer["fix"].startswith(f"use ws://127.0.0.1:{b.port}/ws, or "), answer
    assert "no TLS is spoken" in answer["verdict"]


@pytest.mark.parametrize("what", ["name", "only a common name", "expired", "early", "self-signed", "unknown", "unknown root",
                                  "incomplete"])
def test_certificates(broker, workdir, ca, what):
    """The fault of the certificate is the verdict; what lies behind is examined none the less."""
    b = broker()
    middle = Cert("Test Middle", ca, ca=True)
    here, trust = ["127.0.0.1"], ("--ca", ca.file)
    cert, chain, trust, said, fix = {
        "name": (Cert("x", ca, ["app.example.com", "*.example.org"]), [], trust,
                 "the certificate is for app.example.com, *.example.org, not for 127.0.0.1",
                 "use a name of the certificate in the URL, or get a certificate for 127.0.0.1"),
        "only a common name": (Cert("127.0.0.1", ca), [], trust, "lists no host", "get a certificate for 127.0.0.1"),
        "expired": (Cert("x", ca, here, days=(-30, -5)), [], trust, "5 days ago", "renew the certificate"),
        "early": (Cert("x", ca, here, days=(10.5, 30)), [], trust, "is not valid before 20", "set the clock of the CA"),
        "self-signed": (Cert("x", None, here), [], (), "the certificate is self-signed", "--ca FILE"),
        "unknown": (Cert("x", middle, here), [middle], (), "(CN = Test Root) is not trusted here", "--ca FILE"),
        "unknown root": (Cert("x", middle, here), [middle, ca], (), "(CN = Test Root) is not trusted here", "--ca FILE"),
        "incomplete": (Cert("x", middle, here), [], trust, "its issuer (CN = Test Middle) is neither sent nor trusted",
                       "fullchain.pem"),
    }[what]
    with proxy(b.port, cert.context(workdir / "tls.pem", chain)) as p:
        status, answer = doctor(f"wss://127.0.0.1:{p.port}/echo", *trust)
    assert status == TLS and said in answer["verdict"] and fix in answer["fix"], answer
    assert answer["verdict"].count(";") == 0, answer
    assert result(answer, "tls")["result"] == "bad" and result(answer, "handshake")["result"] == "good", answer


@pytest.mark.parametrize("url,token", [("/ws", ["--token", "secret-1"]), ("/ws?token=secret-1", [])])
def test_no_secret_for_a_doubtful_certificate(workdir, ca, url, token):
    seen = []

    def web(s):
        seen.append(s.recv(65536))
        s.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with server(web, Cert("x", ca, ["app.example.com"]).context(workdir / "tls.pem")) as port:
        status, answer = doctor(f"wss://127.0.0.1:{port}{url}", *token)
    assert status == TLS and result(answer, "handshake")["said"].startswith("not tried"), answer
    assert seen and b"secret-1" not in b"".join(seen)


def test_all_faults_of_a_certificate(broker, workdir):
    cert = Cert("x", None, ["app.example.com"], days=(-30, -5))
    with proxy(broker().port, cert.context(workdir / "tls.pem")) as p:
        status, answer = doctor(f"wss://127.0.0.1:{p.port}/wrong")
    assert status == TLS and all(w in answer["verdict"] for w in ("not for 127.0.0.1", "expired on 20", "self-signed")), answer
    bad = [c["check"] for c in answer["checks"] if c["result"] == "bad"]
    assert bad == ["tls", "handshake"], answer


def test_a_trusted_chain(broker, workdir, ca):
    middle = Cert("Test Middle", ca, ca=True)
    cert = Cert("x", middle, ["127.0.0.1"])
    with proxy(broker().port, cert.context(workdir / "tls.pem", [middle])) as p:
        assert doctor(f"wss://127.0.0.1:{p.port}/echo", "--ca", ca.file)[0] == 0
    alone = Cert("x", None, ["127.0.0.1"])
    with proxy(broker(name="b").port, alone.context(workdir / "tls.pem")) as p:
        assert doctor(f"wss://127.0.0.1:{p.port}/echo", "--ca", alone.save(workdir / "alone.pem"))[0] == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_an_old_tls_version(workdir, ca):
    tls = Cert("x", ca, ["127.0.0.1"]).context(workdir / "tls.pem")
    tls.minimum_version, tls.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with server(lambda s: s.recv(1000), tls) as port:
        status, answer = doctor(f"wss://127.0.0.1:{port}/ws", "--ca", ca.file)
    assert status == TLS and "1.2 or newer" in answer["verdict"], answer


def test_a_certificate_of_the_client_is_wanted(workdir, ca):
    tls = Cert("x", ca, ["127.0.0.1"]).context(workdir / "tls.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(ca.file)
    with server(lambda s: s.recv(1000), tls) as port:
        status, answer = doctor(f"wss://127.0.0.1:{port}/ws", "--ca", ca.file)
    assert status == TLS and "asks for a certificate of the client" in answer["verdict"], answer


def test_a_handshake_that_the_server_ends(workdir, ca):
    """The fatal alert that a server sends which does not serve the name."""
    with server(lambda s: (s.recv(4096), s.sendall(bytes((21, 3, 3, 0, 2, 2, 112))))) as port:
        status, answer = doctor(f"wss://127.0.0.1:{port}/ws")
    assert status == TLS and "the server says" in answer["verdict"] and "unrecognized name" in answer["verdict"], answer


def test_tls_before_nothing(workdir, ca):
    tls = Cert("x", ca, ["127.0.0.1"]).context(workdir / "tls.pem")
    with server(lambda s: s.recv(1000), tls) as port:
        status, answer = doctor(f"wss://127.0.0.1:{port}/ws", "--ca", ca.file)
    assert status == PORT and "nothing answers HTTP" in answer["verdict"], answer


def test_ca_files(workdir):
    for text in None, "", "no certificate":
        path = workdir / "ca.pem"
        if text is not None:
            path.write_text(text)
        done = run("ws://127.0.0.1:1/", "--ca", str(path))
        assert done.returncode == 2 and f"--ca {path} " in done.stderr, done


# ── 8: the token ──

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


def test_no_token_is_shown_but_its_times_are():
    """Refused at the handshake, the token in the URL."""
    token = jwt(exp=int(time.time()) - 600)
    body = json.dumps({"error": "unauthorized", "message": "The token is not accepted.", "hint": ""}).encode()
    with answering("401 Unauthorized", body=body) as port:
        for args in [f"ws://127.0.0.1:{port}/ws?a=b&token={token}"], [f"ws://127.0.0.1:{port}/ws", "--token", token]:
            status, answer = doctor(*args)
            assert status == AUTH and "expired 60" in answer["verdict"], answer
            assert "refused with 401: The token is not accepted." in answer["verdict"] and "new token" in answer["fix"], answer
            assert token.split(".")[1] not in json.dumps(answer) and token.split(".")[2] not in json.dumps(answer)
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws")
    assert status == AUTH and "none were given" in answer["verdict"] and "--token" in answer["fix"], answer


@pytest.mark.parametrize("skew,claims,said,fix", [
    (-600, dict(iat=0, nbf=0, exp=300), ["not valid before", "is 600 s behind this machine's", "the server's clock is wrong"],
     "set the clock of the server"),
    (600, dict(iat=0, exp=300), ["expired 3", "is 600 s ahead of this machine's", "the server's clock is wrong"],
     "set the clock of the server"),
    (0, dict(nbf=600, exp=900), ["by the clocks of the server and of this machine: the issuer's clock is ahead"],
     "set the clock of the machine that issues the tokens"),
    (0, dict(iat=600, exp=900), ["the issuer's clock is ahead"], "set the clock of the machine that issues the tokens"),
    (600, dict(exp=-30), ["expired 63", "is 600 s ahead of this machine's"], "get a new token"),
])
def test_whose_clock_is_wrong(skew, claims, said, fix):
    now = int(time.time())
    with server_with_a_clock(skew) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws", "--token", jwt(**{k: now + v for k, v in claims.items()}))
    verdict = re.sub(r"599|601", "600", answer["verdict"])
    assert status == AUTH and all(s in verdict for s in said) and answer["fix"].startswith(fix), answer


def test_this_machines_clock_is_wrong():
    """Accepted, so healthy, but it is told."""
    now = int(time.time())
    with server_with_a_clock(-600) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws", "--token", jwt(iat=now - 700, exp=now - 300))
    assert status == 0 and "this machine's clock is wrong" in result(answer, "token")["said"], answer
    assert re.search("its clock is (599|600|601) s behind this machine's", result(answer, "server")["said"]), answer


def test_a_certificate_and_this_machines_clock(workdir, ca):
    """Not yet valid here, valid by the server's clock."""
    day = 86400
    date = email.utils.formatdate(time.time() + 20 * day, usegmt=True)
    tls = Cert("x", ca, ["127.0.0.1"], days=(10, 30)).context(workdir / "tls.pem")
    with server(lambda s: (s.recv(9999), s.sendall(f"HTTP/1.1 404 No\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())), tls) as port:
        status, answer = doctor(f"wss://127.0.0.1:{port}/ws", "--ca", ca.file)
    assert status == TLS and "valid by the server's clock" in answer["verdict"], answer
    assert answer["fix"] == "set the clock of this machine", answer


def test_a_wrong_algorithm(broker):
    """The list of algorithms is the broker's to tell: only with -c or -s."""
    b = broker(**endpoint(auth={"method": "jwt", "key": SECRET, "algorithms": ["HS384", "HS512"]}))
    token = jwt(exp=int(time.time()) + 600)
    status, answer = doctor("-c", str(b.conf), b.url + "/ws", "--token", token)
    assert status == AUTH and re.search(r"its algorithm is not in endpoints\[0\].auth.algorithms \(line \d+\): HS384, HS512; "
                                        "refused: \"Authentication failed\"", answer["verdict"]), answer
    assert answer["fix"].startswith("sign the token with an algorithm of the list"), answer
    status, answer = doctor(b.url + "/ws", "--token", token)
    assert status == AUTH and "algorithm HS256" in answer["verdict"] and "algorithm" in answer["fix"], answer


def test_a_wrong_token(broker):
    b = broker(**endpoint(auth=static("alice")))
    assert doctor(b.url + "/ws", "--token", "token-alice")[0] == 0
    status, answer = doctor(b.url + "/ws", "--token", "wrong-secret")
    assert status == AUTH and "Authentication failed" in answer["verdict"] and "wrong-secret" not in json.dumps(answer), answer


# ── 9: liveness ──

def test_cut_while_idle(broker):
    """A proxy cuts what is idle: the verdict names the time it measured, and what it advises helps."""
    b = broker(client={"ping_after": "40s", "idle_timeout": "60s"})
    with proxy(b.port, cut_s=3) as p:
        status, answer = doctor(f"ws://127.0.0.1:{p.port}/echo", "--hold", LONG)
        assert status == LIVENESS and 3 <= idle_seconds(answer) <= 3 + SLACK, answer
        assert answer["verdict"].startswith("closed by something in between after ≈"), answer
        assert answer["verdict"].endswith("without a close frame; no native ping came; a busy connection lives on"), answer
        assert answer["fix"].startswith(f"lower client.ping_after below {idle_seconds(answer)} s"), answer
        b.write(client={"ping_after": "1s", "idle_timeout": "60s"})
        b.ctl("reload")
        status, answer = doctor(f"ws://127.0.0.1:{p.port}/echo", "--hold", "5")
        assert status == 0 and "native pings came" in result(answer, "hold")["said"], answer


def test_cut_after_a_minute(broker):
    """The real thing, and the shipped ping_after of 44 s beside it, which lives on."""
    late = broker(client={"ping_after": "100s", "idle_timeout": "200s"})
    shipped = broker(name="b")
    with proxy(late.port, cut_s=60) as p, proxy(shipped.port, cut_s=60) as q, concurrent.futures.ThreadPoolExecutor() as pool:
        bad = pool.submit(doctor, f"ws://127.0.0.1:{p.port}/echo", "--hold", "90")
        good = pool.submit(doctor, f"ws://127.0.0.1:{q.port}/echo", "--hold", "63")
        status, answer = bad.result()
        assert status == LIVENESS and "closed by something in between after ≈60 s idle" in answer["verdict"], answer
        assert "no native ping came" in answer["verdict"] and "lower client.ping_after below 60 s" in answer["fix"], answer
        status, answer = good.result()
        assert status == 0 and result(answer, "hold")["said"] == "held for 63 s and still answering; 1 native ping came", answer


def test_frozen_while_idle(broker):
    with proxy(broker().port, cut_s=4, freeze=True) as p:
        status, answer = doctor(f"ws://127.0.0.1:{p.port}/echo", "--hold", "6", "--timeout", "1")
    assert status == LIVENESS and "after 6 s idle the peer does not answer any more" in answer["verdict"], answer
    assert "a busy connection lives on" in answer["verdict"] and "client.ping_after" in answer["fix"], answer


def test_a_limited_life(broker):
    with proxy(broker().port, life_s=4) as p:
        status, answer = doctor(f"ws://127.0.0.1:{p.port}/echo", "--hold", LONG)
    assert status == LIVENESS and "every connection is cut ≈4 s after it opened, busy or idle" in answer["verdict"], answer
    assert "ping_after" not in answer["fix"]


def test_the_worker_crashes(broker):
    """It is back in no time, so only the other connection tells a crash from a proxy's cut."""
    b = broker()
    with holding(b.url + "/echo") as answer:
        eventually(lambda: len(b.rows("show", "connections")) == 2, what="the one that is held, and the busy one")
        os.kill(b.workers()[0]["pid"], signal.SIGKILL)
        status, answer = answer()
    assert status == LIVENESS and "dropped together with a busy connection" in answer["verdict"], answer
    assert "crashed or restarted" in answer["verdict"] and re.search(r"at \d\d:\d\d:\d\d UTC", answer["fix"]), answer


def test_one_of_the_workers_crashes(broker):
    """The busy connection may be with another worker, and live on; the broker itself knows better."""
    b = broker(workers=4)
    with holding("-c", str(b.conf), b.url + "/echo") as answer:
        eventually(lambda: len(b.rows("show", "connections")) == 2, what="the one that is held, and the busy one")
        held = max(b.rows("show", "connections"), key=lambda c: c["age_ms"])
        os.kill(next(w["pid"] for w in b.workers() if w["slot"] == held["slot"]), signal.SIGKILL)
        status, answer = answer()
    assert status == LIVENESS and "a worker of the broker crashed or was killed" in answer["verdict"], answer
    assert "worker died" in answer["fix"] and "worker died" in b.log(), answer


def test_the_server_goes_away(broker):
    b = broker()
    with proxy(b.port) as p, holding(f"ws://127.0.0.1:{p.port}/echo") as answer:
        eventually(lambda: len(b.rows("show", "connections")) == 2, what="it is held")
        p.die()
        status, answer = answer()
    assert status == NOT_RUNNING and "went away" in answer["verdict"] and "connection refused" in answer["verdict"], answer


def test_the_back_end_of_a_proxy_goes_away(broker):
    b = broker()
    with proxy(b.port) as p, holding(f"ws://127.0.0.1:{p.port}/echo") as answer:
        eventually(lambda: len(b.rows("show", "connections")) == 2, what="it is held")
        p.target = free_port()
        for w in list(p.writers):
            p.submit(drop(w))
        status, answer = answer()
    assert status == NOT_RUNNING and "now a proxy answers 502" in answer["verdict"], answer


async def drop(writer):
    writer.transport.abort()


def test_closed_by_the_server(broker):
    b = broker()
    with holding(b.url + "/echo") as answer:
        eventually(lambda: len(b.rows("show", "connections")) == 2, what="it is held")
        b.ctl("kick", "endpoint", "/echo")
        status, answer = answer()
    assert status == LIVENESS and "the server closed after" in answer["verdict"], answer
    assert "with 4411 (Disconnected by an operator)" in answer["verdict"] and "server's own decision" in answer["fix"], answer


def test_one_connection_a_person():
    """The server replaces the first connection by the second: that is no fault of it."""
    last = []

    async def only_one(ws):
        old, last[:] = last[:], [ws]
        for o in old:
            await o.close(4000, "replaced")
        await ws.wait_closed()

    with websocket_server(only_one) as port:
        status, answer = doctor(f"ws://127.0.0.1:{port}/ws", "--hold", "3")
    assert status == 0 and "still answering" in result(answer, "hold")["said"], answer


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
