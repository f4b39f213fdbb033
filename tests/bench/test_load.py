"""bench_load beside a server that lies: what it says of a server has to be what the server did. And the arithmetic of measure.py.

    HELIOD_BUILD=build/release /usr/bin/python3 -m pytest -p no:cacheprovider tests/bench/test_load.py
"""
import asyncio
import json
import os
import pathlib

import pytest
import websockets

import measure
import report
import workloads

BUILD = pathlib.Path(os.environ.get("HELIOD_BUILD", pathlib.Path(__file__).parents[2] / "build/release")).resolve()
HONEST = dict.fromkeys(["lost", "duplicated", "reordered", "corrupted", "misrouted", "failed", "dropped"], 0)


class Liar:
    """Rooms as the floor has them. The first member of room 0 is lied to once, at the 20th message that is for it."""

    def __init__(self, lie):
        self.lie, self.rooms, self.count, self.held = lie, {}, 0, None

    async def serve(self, ws, path):
        what, room = path.strip("/").split("/")
        members = self.rooms.setdefault(room, [])
        if what == "room":
            members.append(ws)
        while text := await self.next(ws):
            for i, m in enumerate(list(members)):
                if m is not ws:
                    for t in self.told(text) if room == "0" and i == 0 else [text]:
                        if t is None:
                            members.remove(m)
                            await m.close()
                        else:
                            await m.send(t)
            if room == "0" and self.lie == "astray" and self.count == 20:
                self.lie = None
                await self.rooms["1"][0].send(text)

    async def next(self, ws):
        try:
            return await ws.recv()
        except websockets.ConnectionClosed:
            return None

    def told(self, text):
        self.count += 1
        if self.lie == "old" and self.count == 10:
            self.held = text
        if self.count == 21 and self.lie == "swap":
            return [text, self.held]
        if self.count != 20:
            return [text]
        if self.lie == "swap":
            self.held = text
        return {
            "lose": [], "twice": [text, text], "swap": [], "old": [text, self.held], "close": [None],
            "byte": [text[:-1] + ("A" if text[-1] != "A" else "B")], "number": [text[:9] + ("A" if text[9] != "A" else "B") + text[10:]],
            "sender": [text[:4] + ("A" if text[4] != "A" else "B") + text[5:]],
            "short": [text[:-1]], "long": [text + "A"], "before": ["{" + text], "empty": [""], "invented": [text, "hello"],
        }.get(self.lie, [text])


async def load(port, mode, *args):
    proc = await asyncio.create_subprocess_exec(
        BUILD / "tests/bench_load", mode, "--port", str(port), *map(str, args), "--settle", "0.1", "--warmup", "0.05", "--duration", "0.4",
        "--drain", "0.4", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(proc.communicate(), 60)
    return proc.returncode, json.loads(out) if out else err.decode()


async def lied(lie, mode, *args):
    liar = Liar(lie)
    async with websockets.serve(liar.serve, "127.0.0.1", 0, compression=None) as server:
        return await load(server.sockets[0].getsockname()[1], mode, "--dialect", "floor", *args)


FANOUT = ("fanout", "--conns", 3, "--rate", 150, "--size", 40)
ROOMS = ("rooms", "--conns", 4, "--room-size", 2, "--rate", 150, "--size", 40)
LIES = [
    ("nothing", FANOUT, {}), ("lose", FANOUT, {"lost": 1}), ("twice", FANOUT, {"duplicated": 1}), ("swap", FANOUT, {"reordered": 1}),
    ("old", FANOUT, {"duplicated": 1}), ("byte", FANOUT, {"corrupted": 1, "lost": 1}), ("number", FANOUT, {"corrupted": 1, "lost": 1}),
    ("sender", FANOUT, {"corrupted": 1, "lost": 1}), ("short", FANOUT, {"corrupted": 1, "lost": 1}),
    ("long", FANOUT, {"corrupted": 1, "lost": 1}), ("before", FANOUT, {"corrupted": 1, "lost": 1}),
    ("empty", FANOUT, {"corrupted": 1, "lost": 1}), ("invented", FANOUT, {"corrupted": 1}),
    ("nothing", ROOMS, {}), ("astray", ROOMS, {"misrouted": 1}), ("lose", ROOMS, {"lost": 1}),
]


@pytest.mark.parametrize("lie,args,wrong", LIES, ids=[f"{a[0]}-{lie}" for lie, a, _ in LIES])
def test_what_a_server_does_wrong_is_counted(lie, args, wrong):
    status, report = asyncio.run(lied(lie, *args))
    assert report["errors"] == {**HONEST, **wrong}
    assert status == (2 if wrong else 0)
    assert report["sent"] > 20 and report["ops"] > 20


def test_a_connection_that_ends_is_counted():
    status, report = asyncio.run(lied("close", *FANOUT))
    assert status == 2 and report["errors"]["dropped"] == 1 and report["errors"]["lost"] > 1


def test_a_window_waits_for_everybody():
    """One message under way: with one lost nothing more is said."""
    status, report = asyncio.run(lied("lose", "fanout", "--conns", 3, "--window", 1, "--size", 16))
    assert status == 2 and report["errors"] == {**HONEST, "lost": 1} and report["sent"] == 20


def test_nobody_there():
    async def run():
        return await load(1, "fanout", "--dialect", "floor", "--conns", 2)
    status, why = asyncio.run(run())
    assert status == 1 and "refused" in why


def test_figures():
    raw = {"ops": 1000, "seconds": 2.0, "ops_per_second": 500, "generator_busy": 0.5, "core": {"busy": 0.5, "stolen": 0},
           "latency_us": {"p50": 1, "p90": 2, "p99": 3, "p999": 4}, "entry_us": {},
           "processes": [{"label": "server", "cpu": 0.3, "user": 0.1, "system": 0.2, "private_before": 0, "private_after": 0},
                         {"label": "supervisor", "cpu": 0.1, "user": 0.0, "system": 0.1, "private_before": 0, "private_after": 0},
                         {"label": "redis", "cpu": 0.05, "user": 0.0, "system": 0.0, "private_before": 0, "private_after": 0}]}
    f = measure.figures(raw, workloads.WORKLOADS[0])
    assert (f["cpu_us"], f["user_us"], f["system_us"], f["redis_us"], f["total_us"]) == (400, 100, 300, 50, 450)
    assert f["core_us"] == 500 and abs(f["others"] - 0.05) < 1e-9


def test_ratios_pair_the_runs_of_a_round_and_leave_out_disturbed_ones():
    w = workloads.WORKLOADS[0]
    def run(cpu, others=0.0):
        return {"cpu_us": cpu, "others": others, "stolen": 0.0}
    s = measure.summary(w, {"heliod": [run(2), run(6), run(9, 0.5)], "floor-send": [run(2), run(5), run(1)],
                            "ws": [{"failed": "1 lost"}, run(12), run(9)]})
    assert s["heliod_ratio_to"]["floor-send"]["cpu_us"] == {"min": 1.0, "median": 1.1, "max": 1.2, "n": 2}
    assert s["heliod_ratio_to"]["ws"]["cpu_us"]["median"] == 0.5
    assert s["servers"]["heliod"]["cpu_us"] == {"min": 2, "median": 4, "max": 6, "n": 2}
    assert not s["servers"]["heliod"]["disturbed"]


def test_figures_of_cores_near_and_far_are_never_put_together():
    w = workloads.WORKLOADS[0]
    def run(cpu, before, after=None):
        return {"cpu_us": cpu, "others": 0.0, "stolen": 0.0, "core_distance_ns": [before, after or before]}
    s = measure.summary(w, {"heliod": [run(2, 80), run(6, 420), run(4, 80, 400)], "floor-send": [run(2, 90), run(2, 85), run(5, 430)],
                            "ws": [run(4, 100), run(4, 75), run(5, 70)]})
    assert s["core_distance_ns"] == [70, 100] and s["servers"]["heliod"]["cpu_us"] == {"min": 2, "median": 2, "max": 2, "n": 1}
    assert s["heliod_ratio_to"]["floor-send"]["cpu_us"]["median"] == 1 and s["heliod_ratio_to"]["ws"]["cpu_us"]["median"] == 0.5
    far = s["other_modes"][0]
    assert far["core_distance_ns"] == [420, 430] and far["heliod_ratio_to"]["floor-send"]["cpu_us"]["median"] == 1.2  # of all with all
    assert "ws" not in far["heliod_ratio_to"]


def results(heliod, floor):
    """Of one workload: the CPU of each in one round, or why it failed."""
    def run(v):
        return {"failed": v} if isinstance(v, str) else {
            "cpu_us": v, "user_us": v / 4, "system_us": v * 3 / 4, "p99_us": 1500, "others": 0.0, "stolen": 0.0, "core_distance_ns": [80, 90]}
    w = workloads.WORKLOADS[0]
    runs = {"heliod": [run(v) for v in heliod], "floor-send": [run(v) for v in floor], "bun": [run("3 lost")]}
    return {"date": "2030-01-02", "rounds": len(heliod), "missing": {"nchan": "not installed"},
            "versions": {"heliod": "1", "bun": "2"}, "workloads": {w.name: measure.summary(w, runs)},
            "machine": {"processors": 2, "model": "M", "virtual": True, "kernel": "6.1", "load_before": 0}}


def test_the_table_shows_spreads_and_failures_and_who_is_missing():
    text = report.table(results([2, 3, 4], [2, 2, 2]))
    assert "| echo 16 B, depth 1 | 3 (2–4) | 0.75 + 2.25 | 1.5 | 1.50 | – | failed | – |" in text
    assert "Not measured: nchan (not installed)." in text and "85 to 85 ns apart" in text
    assert "| failed | – | – | – | – | failed | – |" in report.table(results(["3 lost"], [2]))


def test_the_readme_keeps_what_is_around_the_table(tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "README", path)
    report.into_readme(results([2], [2]))
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and "1.00" in text
    assert report.BEGIN in (report.HERE.parents[1] / "README.md").read_text()


def test_comparing_with_earlier_results(capsys):
    report.compare(results([2], [2]), results([3], [2]))
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split() == ["echo-16-1", "2", "3", "1.50", "1.00,", "1.50,", "1.50"]
    far = results([3], [2])
    for r in far["workloads"].values():
        r["core_distance_ns"] = [400, 400]
    report.compare(results([2], [2]), far)
    assert "not with cores equally far apart" in capsys.readouterr().out


def test_every_workload_is_known_to_the_generator():
    import re
    dialects = set(re.findall(r'\.name = "([^"]+)"', (pathlib.Path(__file__).parent / "load_dialect.c").read_text()))
    for w in workloads.WORKLOADS:
        assert w.floor in w.speaks or "idle-events" in w.name, w.name
        assert set(w.speaks.values()) <= dialects, w.name
    assert {w.name for w in workloads.quick()} == set(workloads.QUICK)
