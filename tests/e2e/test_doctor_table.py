"""helioctl doctor against the set-ups people have: ten that are broken, each with the right cause first, and those that are well."""
import asyncio
import contextlib
import json
import re
import time

import pytest

from client import connect
from clinic import (AUTH, LIVENESS, LONG, NOT_RUNNING, ORIGIN, PATH, PORT, REACH, TLS, UNDECIDED, URL, doctor, jwt, result, run,
                    server_with_a_clock, web_server)
from conftest import free_port
from middle import Cert, proxy
from test_jwt import SECRET

JWT = {"method": "jwt", "key": SECRET, "algorithms": ["HS256"]}
PAGE = "http://localhost:3000"
ENDPOINTS = [
    {"path": "/ws", "protocol": "events", "auth": JWT},
    {"path": "/ws/signaling/{room}/{role}", "protocol": "signaling", "roles": ["doctor", "patient"], "allowed_origins": [PAGE]},
    {"path": "/ws/notifications/", "protocol": "notifications", "auth": {**JWT, "user_claim": "sub"}},
]


def fresh(**claims):
    return jwt(exp=int(time.time()) + 600, **claims)


@pytest.fixture
def house(broker, workdir):
    """The reference configuration, with TLS before it if wanted."""
    class House:
        def broker(self, **keys):
            return broker(endpoints=ENDPOINTS, **keys)

        def tls(self, port, names=("127.0.0.1",)):
            ca = Cert("Test Root", ca=True)
            self.ca = ca.save(workdir / "root.pem")
            return proxy(port, Cert("x", ca, names).context(workdir / "tls.pem"))

    return House()


# ── ten set-ups: each yields the command line, exit status, words of the verdict and of the fix ──

def not_running(house, stack):
    return [f"ws://127.0.0.1:{free_port()}/ws"], NOT_RUNNING, "nothing listens at port", "start heliod"


def bad_url(house, stack):
    port = house.broker().port
    return ([f"http://127.0.0.1:{port}/ws/signaling/undefined/doctor"], URL, "the path of the URL holds undefined",
            f"use ws://127.0.0.1:{port}/ws/signaling/VALUE/doctor")


def origin(house, stack):
    b = house.broker()
    return (["-c", str(b.conf), f"{b.url}/ws/signaling/test-room/doctor", "--origin", "https://evil.example"], ORIGIN,
            'the origin https://evil.example is refused: The Origin "https://evil.example" is not allowed',
            rf"add it to endpoints\[1\].allowed_origins \(line \d+\), which is now: {PAGE}; then helioctl reload")


def path(house, stack):
    return ([f"{house.broker().url}/ws/signaling/test-room"], PATH,
            r"Add {role}: the path is /ws/signaling/{room}/{role}\.", "correct the path")


def port_in_use(house, stack):
    port = stack.enter_context(web_server())
    return [f"ws://127.0.0.1:{port}/ws"], PORT, r"something answers HTTP .* held by pid \d+ \(", "end that program"


def loopback_only(house, stack):
    b = house.broker()
    return ([f"ws://127.0.0.2:{b.port}/ws"], REACH, f"port {b.port} is bound to a loopback address only", rf'address: "\*:{b.port}"')


def wrong_scheme(house, stack):
    p = stack.enter_context(house.tls(house.broker().port))
    return [f"ws://127.0.0.1:{p.port}/ws"], TLS, "TLS is spoken at port", f"use wss://127.0.0.1:{p.port}/ws"


def wrong_token(house, stack):
    b = house.broker()
    return ([f"{b.url}/ws/notifications/?token={jwt(exp=int(time.time()) - 90)}"], AUTH,
            r"a JWT, algorithm HS256, expired 9\d s ago; refused with 4001: Unauthorized", "get a new token")


def idle_proxy(house, stack):
    p = stack.enter_context(proxy(house.broker().port, cut_s=3))
    return ([f"ws://127.0.0.1:{p.port}/ws/signaling/test-room/doctor", "--origin", PAGE, "--hold", LONG], LIVENESS,
            r"closed by something in between after ≈[3-6] s idle, without a close frame; no native ping came",
            r"lower client.ping_after below [3-6] s")


def wrong_clock(house, stack):
    port = stack.enter_context(server_with_a_clock(-600))
    return ([f"ws://127.0.0.1:{port}/ws", "--token", fresh(iat=int(time.time()))], AUTH,
            r"not valid before (599|600) s from now by the server's clock, which is (599|600|601) s behind this machine's; .*the "
            "server's clock is wrong", "set the clock of the server")


SETUPS = [not_running, bad_url, origin, path, port_in_use, loopback_only, wrong_scheme, wrong_token, idle_proxy, wrong_clock]


@pytest.mark.parametrize("setup", SETUPS, ids=lambda s: s.__name__)
def test_ten_setups_ten_right_causes(house, setup):
    with contextlib.ExitStack() as stack:
        args, cause, verdict, fix = setup(house, stack)
        status, answer = doctor(*args)
        assert status == cause and re.search(verdict, answer["verdict"]) and re.search(fix, answer["fix"]), answer
        said = run(*args)
    assert said.returncode == cause and re.search(f"^verdict: .*{verdict}", said.stdout, re.M), said.stdout
    assert re.search(f"^fix:     .*{fix}", said.stdout, re.M), said.stdout
    for arg in args:
        for secret in re.findall(r"eyJ[^.]*\.([^.]*)\.(.*)", arg):
            assert not any(s in said.stdout + json.dumps(answer) for s in secret)


# ── those that are well ──

HEALTHY = {
    "events": ("/ws", lambda: ["--token", fresh()], {"token": "accepted (a JWT, algorithm HS256, valid for another "}),
    "signaling": ("/ws/signaling/test-room/doctor", lambda: ["--origin", PAGE], {"handshake": f"opened for the origin {PAGE}, "}),
    "notifications": ("/ws/notifications/", lambda: ["--token", fresh()], {"token": "let in with it (a JWT, algorithm HS256"}),
}


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("what", HEALTHY)
def test_healthy(house, what, tls):
    target, args, said = HEALTHY[what]
    b = house.broker()
    with house.tls(b.port) if tls else contextlib.nullcontext(b) as at:
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{at.port}{target}"
        more = ["--ca", house.ca] if tls else []
        status, answer = doctor("-c", str(b.conf), url, *args(), *more, "--hold", "2")
        assert status == 0 and answer["ok"] and answer["verdict"].startswith("healthy"), answer
        assert all(words in result(answer, check)["said"] for check, words in said.items()), answer
        assert result(answer, "tls")["result"] == ("good" if tls else "unknown")
        assert not [c for c in answer["checks"] if c["result"] == "bad"]
        done = run(url, *args(), *more)
        assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("verdict: healthy"), done


# ── more, when it is ours ──

@pytest.mark.parametrize("target,said,fix", [
    ("/ws/signaling/test-room/nurse", "The role nurse is not among this endpoint's roles. Allowed: doctor, patient.", "correct the path"),
    ("/ws/signaling//doctor", "The room in the path is empty.", "correct the path"),
    ("/ws/signaling/a%20b/doctor", "has a character that is not allowed", "correct the path"),
    ("/ws/signalling/test-room/doctor", "Did you mean /ws/signaling/{room}/{role}?", "add an endpoint"),
    ("/wss", "Did you mean /ws?", "add an endpoint"),
])
@pytest.mark.parametrize("refusals", ["http", "close"])
def test_paths_of_ours(broker, target, said, fix, refusals):
    b = broker(refusals=refusals, endpoints=[{**e, "refusals": refusals} for e in ENDPOINTS])
    status, answer = doctor(b.url + target, "--origin", PAGE)
    assert status == PATH and said in answer["verdict"], answer
    assert fix in answer["fix"] or answer["fix"] in answer["verdict"], answer


async def test_a_role_that_is_taken(house):
    """The holder answers the probe, so the doctor is the one who stays outside; nobody is told that somebody was lost."""
    b = house.broker()
    holder = await connect(b.url, "/ws/signaling/test-room/doctor")
    assert (await holder.get())["type"] == "joined"
    status, answer = await asyncio.to_thread(doctor, b.url + "/ws/signaling/test-room/doctor")
    assert status == UNDECIDED and "4409" in answer["verdict"] and "taken" in answer["verdict"], answer
    status, answer = await asyncio.to_thread(doctor, b.url + "/ws/signaling/test-room/patient", "--hold", "2")
    assert status == 0, answer
    assert [(await holder.get())["type"] for _ in range(1)] == ["user-joined"]
    left = await holder.get()
    assert (left["type"], left["reason"], left["code"]) == ("user-left", "left", 1000), left


def test_no_token_for_notifications(house):
    status, answer = doctor(house.broker().url + "/ws/notifications/")
    assert status == AUTH and "none were given" in answer["verdict"] and "--token" in answer["fix"], answer
