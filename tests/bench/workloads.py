"""What is measured: one row a workload. `speaks` says who takes part and in which dialect of bench_load; who is not named has no
such route. A new workload is a new row."""
from dataclasses import dataclass, field, replace

ECHO = {"heliod": "echo", "floor-send": "echo", "ws": "echo", "bun": "echo", "ignis": "ignis-echo"}
CLIENT = {"heliod": "events", "floor-send": "floor", "floor-coalesce": "floor", "ws": "plain", "bun": "plain", "ignis": "ignis"}
OUTSIDE = {"heliod": "events", "nchan": "nchan", "ignis": "ignis"}  # floors are fed by a client: nothing is between
ENTER = {"heliod": "events-bare", "ignis": "ignis-bare"}


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    mode: str
    speaks: dict
    args: dict = field(default_factory=dict)  # options of bench_load
    floor: str = "floor-send"  # the one that the ratio is taken to
    feed: bool = False  # published from outside: Redis, or a POST
    nodes: int = 1
    tokens: str = "plain"
    but: dict = field(default_factory=dict)  # server → options that differ for it
    unit: str = "message"


def echo(size, window):
    kib = "1 KiB" if size == 1024 else f"{size} B"
    return Workload(f"echo-{'1k' if size == 1024 else size}-{window}", f"echo {kib}, depth {window}", "echo", ECHO,
                    {"conns": 200, "size": size, "window": window})


def fanout(conns, window, feed=False):
    speaks = {**OUTSIDE, "floor-send": "floor", "floor-coalesce": "floor"} if feed else CLIENT
    name = f"fanout-{conns}" + (f"-w{window}" if conns == 1000 else "") + ("-redis" if feed else "")
    return Workload(name, f"fan-out to {conns:,}, window {window}, {'from Redis' if feed else 'from a client'}", "fanout", speaks,
                    {"conns": conns, "window": window, "settle": 1 if conns > 1000 else 0.3},
                    floor="floor-coalesce" if window > 1 else "floor-send", feed=feed, unit="delivery")


WORKLOADS = [
    echo(16, 1), echo(16, 16), echo(1024, 1), echo(1024, 16),
    fanout(1000, 1), fanout(1000, 16), fanout(1000, 1, feed=True), fanout(1000, 16, feed=True),
    fanout(10000, 1), fanout(10000, 1, feed=True),
    Workload("fanout-rate", "fan-out to 1,000 at 25 messages a second, from a client", "fanout", CLIENT,
             {"conns": 1000, "rate": 25, "duration": 4}, unit="delivery"),
    Workload("signaling-1", "rooms of 2, both on one worker", "rooms",
             {"heliod": "signaling", "ignis": "ignis-relay", "floor-send": "floor"},
             {"conns": 200, "room-size": 2, "settle": 0.5}, unit="relayed message"),
    Workload("signaling-2", "rooms of 2, the two on different workers: every message through Redis", "rooms",
             {"heliod": "signaling", "ignis": "ignis-relay", "floor-send": "floor"},
             {"conns": 200, "room-size": 2, "settle": 0.5}, nodes=2, unit="relayed message"),
    Workload("rooms-10", "1,000 connections in rooms of 10, each saying 2 messages a second", "rooms", {**CLIENT, "nchan": "nchan"},
             {"conns": 1000, "room-size": 10, "rate": 2, "duration": 4, "settle": 0.5}, unit="delivery"),
    Workload("connect-echo", "opening a connection: handshake only", "connect",
             {"heliod": "echo", "floor-send": "echo", "ws": "echo", "bun": "echo", "nchan": "nchan"}, {"conns": 10000},
             unit="connection"),
    Workload("connect-events", "opening a connection: handshake, token from a list, 3 rooms", "connect",
             {**ENTER, "floor-send": "echo"}, {"conns": 10000}, unit="connection"),
    Workload("connect-jwt", "opening a connection: handshake, JWT (HS256), 3 rooms", "connect",
             {"heliod": "events-bare", "floor-send": "echo"}, {"conns": 10000}, tokens="jwt", but={"heliod": {"path": "/ws/jwt"}},
             unit="connection"),
    Workload("idle-echo", "idle connections", "idle",
             {"heliod": "echo", "floor-send": "echo", "ws": "echo", "bun": "echo", "nchan": "nchan"},
             {"conns": 19000, "prime": 200, "settle": 2}, but={"nchan": {"conns": 18000}},  # it keeps descriptors for itself
             unit="connection"),
    Workload("idle-events-3-rooms", "idle connections, authenticated, in 3 rooms", "idle", ENTER,
             {"conns": 19000, "prime": 200, "settle": 2}, unit="connection"),
    Workload("storm", "10,000 authenticated connections are reset and come back at once", "storm",
             {**ENTER, "floor-send": "echo", "bun": "plain", "ws": "plain"}, {"conns": 10000, "settle": 1}, unit="connection"),
]

QUICK = {"echo-16-1": {"conns": 50}, "echo-1k-16": {"conns": 20}, "fanout-1000-w16": {"conns": 200},
         "fanout-1000-w1-redis": {"conns": 200}, "signaling-2": {"conns": 20}, "rooms-10": {"conns": 100, "duration": 0.4},
         "connect-jwt": {"conns": 500}, "storm": {"conns": 500, "settle": 0.2}}


def quick():
    """A smoke run: small crowds, heliod and one floor."""
    for w in WORKLOADS:
        if w.name in QUICK:
            speaks = {s: d for s, d in w.speaks.items() if s in ("heliod", w.floor)}
            yield replace(w, speaks=speaks, args={**w.args, "warmup": 0.1, **({} if w.mode != "echo" and "rate" in w.args else
                                                                              {"duration": 0.4}), **QUICK[w.name]})
