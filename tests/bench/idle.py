#!/usr/bin/python3
"""What an idle connection costs in user space: N authenticated clients of the event protocol, each in 3 rooms (its own, ws-default,
ws-notification) and a user of its own; or in pairs in a room of signaling; or each with an inbox of its own. Prints one JSON line: bytes per connection = growth of the workers' private memory ÷ N.

    tests/bench/idle.py [--build DIR] [--conns 10000] [--endpoint events|echo|signaling|notifications] [--compression]
                        [--max BYTES] [--storm RATIO]

--storm: all then get one broadcast (events only) and go; the workers' resident memory must come down to RATIO × what it was before they came,
without any further traffic. Needs a Release build. Kernel memory (sockets) is not counted. Exit 1 when --max or RATIO is exceeded.
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time

HEAD = ("GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n")
OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def private_bytes(pids, kinds=("Private_Clean", "Private_Dirty")):
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith(kinds):
                total += int(line.split()[1]) * 1024
    return total


def resident_bytes(pids):
    return private_bytes(pids, ("Rss",))


def text_frame(text):
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data)]) + b"\0\0\0\0" + data


# path, what is said, what is waited for
WAYS = {
    "events": ("/ws", '{{"event":"authenticate","data":{{"token":"t{i}"}}}}', b'"connected"'),
    "echo": ("/echo", None, b"\r\n\r\n"),
    "signaling": ("/signaling/room-{pair}/{role}", None, b'"joined"'),
    "notifications": ("/notifications?token=t{i}", None, b'"connection_established"'),
}


def open_clients(port, count, way, more="", in_flight=200):
    """count sockets that have been upgraded and answered."""
    done, todo, waiting = [], count, {}
    sel = selectors.DefaultSelector()
    path, hello, want = way
    while todo or waiting:
        while todo and len(waiting) < in_flight:
            s = socket.create_connection(("127.0.0.1", port))
            i = count - todo
            here = path.format(i=i, pair=i // 2, role="ab"[i % 2])
            s.sendall(HEAD.format(path=here, more=more).encode() + (text_frame(hello.format(i=i)) if hello else b""))
            s.setblocking(False)
            sel.register(s, selectors.EVENT_READ)
            waiting[s] = b""
            todo -= 1
        for key, _ in sel.select(10):
            s = key.fileobj
            waiting[s] += s.recv(4096)
            if want in waiting[s]:
                sel.unregister(s)
                del waiting[s]
                done.append(s)
    return done


def explain(ctl):
    done = subprocess.run([*ctl, "show", "memory"], capture_output=True, text=True, check=True)
    return [json.loads(x) for x in done.stdout.splitlines()]


def broadcast(ctl, clients):
    """One message, received by everybody."""
    subprocess.run([*ctl, "send", "all", "storm", json.dumps({"text": "x" * 200})], check=True, stdout=subprocess.DEVNULL)
    for s in clients:
        s.settimeout(30)
        got = b""
        while b'"storm"' not in got:
            got += s.recv(4096)


def wait_for_calm(ctl, pids, enough, seconds=20):
    """What is kept when all are gone: as soon as it is little enough, or after a while."""
    end = time.monotonic() + seconds
    while True:
        status = json.loads(subprocess.run([*ctl, "status"], capture_output=True, text=True, check=True).stdout)
        kept = resident_bytes(pids)
        if (status["connections"] == 0 and kept <= enough) or time.monotonic() > end:
            return kept
        time.sleep(0.5)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.environ.get("HELIOD_BUILD", root / "build/run"))
    p.add_argument("--conns", type=int, default=10000)
    p.add_argument("--endpoint", choices=WAYS, default="events")
    p.add_argument("--max", type=int)
    p.add_argument("--storm", type=float)
    p.add_argument("--compression", action="store_true", help="permessage-deflate is offered and taken")
    o = p.parse_args()
    build = pathlib.Path(o.build)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="heliod-", dir="/tmp") as tmp:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        tokens = "\n".join(f"user-{i}:sha256:{hashlib.sha256(f't{i}'.encode()).hexdigest()}" for i in range(o.conns))
        pathlib.Path(tmp, "tokens").write_text(tokens)
        auth = {"auth": {"method": "static", "tokens_file": f"{tmp}/tokens"}}
        endpoints = {"events": {"path": "/ws", "auth_timeout": "60s", **auth}, "echo": {"path": "/echo"},
                     "signaling": {"path": "/signaling/{room}/{role}"}, "notifications": {"path": "/notifications", **auth}}
        config = {"workers": 1, "run_dir": f"{tmp}/run", "listeners": [{"address": f"127.0.0.1:{port}"}],
                  "log": {"level": "warn"}, "endpoints": [{"protocol": o.endpoint, "compression": "on" if o.compression else "off", **endpoints[o.endpoint]}]}
        path = pathlib.Path(tmp, "c.yaml")
        path.write_text(json.dumps(config))
        broker = subprocess.Popen([build / "heliod", "-n", "-c", path])
        try:
            ctl = [build / "helioctl", "-s", f"{tmp}/run/heliod.sock", "--json"]
            for _ in range(200):
                done = subprocess.run([*ctl, "show", "workers"], capture_output=True, text=True)
                rows = [json.loads(x) for x in done.stdout.splitlines()] if done.returncode == 0 else []
                if rows and all(r["state"].lower() == "running" and r["bus_up"] for r in rows):
                    break
                time.sleep(0.05)
            pids = [r["pid"] for r in rows]
            more = OFFER if o.compression else ""
            for s in open_clients(port, 100, WAYS[o.endpoint], more):  # touch every code path once
                s.close()
            time.sleep(1)
            before = private_bytes(pids)
            rss_before = resident_bytes(pids)
            began = time.monotonic()
            clients = open_clients(port, o.conns, WAYS[o.endpoint], more)
            took = time.monotonic() - began
            time.sleep(1)
            each = (private_bytes(pids) - before) / len(clients)
            result = {"date": datetime.date.today().isoformat(), "machine": f"{os.cpu_count()} × {platform.machine()}, Linux {platform.release()}",
                      "endpoint": o.endpoint, "compression": o.compression, "connections": len(clients), "bytes_per_connection": round(each),
                      "connect_seconds": round(took, 1)}
            if o.storm:
                result |= {"private_before": before, "rss_before": rss_before, "rss_peak": resident_bytes(pids), "held": explain(ctl)}
            if o.storm and o.endpoint == "events":
                broadcast(ctl, clients)
            for s in clients:
                s.close()
            if o.storm:
                kept = wait_for_calm(ctl, pids, rss_before * o.storm)
                result |= {"private_after": private_bytes(pids), "rss_after": kept, "ratio": round(kept / rss_before, 2), "kept": explain(ctl)}
            print(json.dumps(result))
        finally:
            broker.terminate()
            broker.wait(30)
    if o.storm and kept > rss_before * o.storm:
        sys.exit(f"{kept} bytes are kept after the storm, {kept / rss_before:.2f} × the {rss_before} before; at most {o.storm} × was allowed")
    if o.max and each > o.max:
        sys.exit(f"{each:.0f} bytes a connection; at most {o.max} were allowed")


main()
