"""One run of one server under one workload, and what the runs of all rounds come to."""
import json
import math
import pathlib
import statistics
import subprocess
import tempfile
import time

DISTURBED = 0.15  # share of the server's core that others may take


def options(workload, server, tools):
    floor = server.name.startswith("floor")
    args = {"port": ",".join(map(str, server.ports)), "dialect": workload.speaks[server.name], "sources": 8,
            "tokens": tools.tokens / f"{workload.tokens}.tokens", **workload.args, **workload.but.get(server.name, {})}
    if workload.feed and not floor:
        args["feed"] = server.feed("r0")
    if tools.server_core is not None:
        args["core"] = tools.server_core
    command = [str(x) for k, v in args.items() for x in (f"--{k}", v)]
    for label, pids in server.pids.items():
        command += [x for pid in pids for x in ("--pid", f"{label}:{pid}")]
    return command


def figures(raw, workload):
    """What a report of bench_load means: microseconds an operation, bytes a connection."""
    spent = {}
    grown = {}
    for p in raw["processes"]:
        parts = spent.setdefault(p["label"], {"cpu": 0, "user": 0, "system": 0})
        for k in parts:
            parts[k] += p[k]
        grown[p["label"]] = grown.get(p["label"], 0) + p["private_after"] - p["private_before"]
    own = {k: spent["server"][k] + spent.get("supervisor", {}).get(k, 0) for k in ("cpu", "user", "system")}
    each = 1e6 / max(raw["ops"], 1)
    ticks = own["user"] + own["system"] or 1
    found = {
        "cpu_us": own["cpu"] * each, "user_us": own["cpu"] * each * own["user"] / ticks,
        "system_us": own["cpu"] * each * own["system"] / ticks,
        "supervisor_us": spent.get("supervisor", {"cpu": 0})["cpu"] * each, "core_us": raw["core"]["busy"] * each,
        "others": max(0.0, raw["core"]["busy"] - own["cpu"]) / raw["seconds"], "stolen": raw["core"]["stolen"] / raw["seconds"],
        "ops_per_second": raw["ops_per_second"], "generator_busy": raw["generator_busy"],
    }
    if "redis" in spent:
        found["redis_us"] = spent["redis"]["cpu"] * each
        found["total_us"] = found["cpu_us"] + found["redis_us"]
    times = raw.get("latency_us") or raw["entry_us"]
    found |= {f"{k}_us": times[k] for k in ("p50", "p90", "p99", "p999")}
    if workload.mode == "idle":
        found["bytes"] = grown["server"] / raw["ops"]
        if "redis" in grown:
            found["redis_bytes"] = grown["redis"] / raw["ops"]
    if workload.mode == "storm":
        found["grown_bytes"] = grown["server"]
        found["seconds"] = raw["seconds"]
    return {k: float(f"{v:.5g}") for k, v in found.items()}


def distance(tools):
    """Nanoseconds between the two cores and back; None where there is but one."""
    if tools.server_core is None:
        return None
    done = subprocess.run([tools.build / "tests/bench_cores", str(tools.load_core), str(tools.server_core)],
                          capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else None


def await_nearness(tools, patience):
    """Virtual processors come and go: waits until these two are as near as they have been seen. Returns how near they are."""
    end = time.monotonic() + patience
    while True:
        now = distance(tools)
        if now is None:
            return None
        tools.nearest = min(now, getattr(tools, "nearest", now))
        if alike(now, tools.nearest) or time.monotonic() > end:
            return now
        time.sleep(0.3)


def one_run(workload, server, tools, patience=0):
    """{figures} or {"failed": why}; with how far apart the cores were before and after."""
    with tempfile.TemporaryDirectory(prefix="heliod-bench-", dir="/tmp") as directory:
        try:
            server.start(directory, workload.nodes if server.meets else 1)
        except (RuntimeError, OSError) as e:
            return {"failed": f"did not start: {e}"}
        try:
            before = None if workload.mode == "idle" else await_nearness(tools, patience)
            done = subprocess.run([tools.build / "tests/bench_load", workload.mode, *options(workload, server, tools)],
                                  capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return {"failed": "not done within 300 s"}
        finally:
            server.stop()
    if done.returncode == 1 or not done.stdout:
        return {"failed": done.stderr.strip() or f"bench_load ended {done.returncode}"}
    raw = json.loads(done.stdout)
    wrong = {k: v for k, v in raw["errors"].items() if v}
    if done.returncode:
        return {"failed": ", ".join(f"{v} {k}" for k, v in wrong.items()) + (f" ({raw['why']})" if raw["why"] else "")}
    if not raw["ops"]:
        return {"failed": "nothing was done in the measured time"}
    found = figures(raw, workload)
    return found | ({"core_distance_ns": [before, distance(tools)]} if before else {})


def best_run(workload, server, tools, patience, tries):
    """The first run that nobody disturbed; the least disturbed one if there is none. A failure is not tried away."""
    runs = []
    for _ in range(tries):
        run = one_run(workload, server, tools, patience)
        if "failed" in run or workload.mode == "idle" or (is_quiet(run) and is_steady(run) and is_near(run, tools)):
            return run
        runs.append(run)
    return min(runs, key=lambda r: (not is_steady(r), not is_near(r, tools), r["others"]))


def spread(values):
    return {"min": min(values), "median": float(f"{statistics.median(values):.5g}"), "max": max(values), "n": len(values)}


def key_of(mode):
    """The figure that a workload is about."""
    return "bytes" if mode == "idle" else "cpu_us"


def is_quiet(run):
    return run.get("others", 0) <= DISTURBED and run.get("stolen", 0) <= DISTURBED


def alike(a, b):
    return max(a, b) <= 1.6 * min(a, b)


def is_steady(run):
    """The cores were not moved between."""
    return alike(*run["core_distance_ns"]) if "core_distance_ns" in run else True


def is_near(run, tools):
    return "core_distance_ns" not in run or alike(run["core_distance_ns"][0], tools.nearest)


def apart(run):
    return math.sqrt(math.prod(run["core_distance_ns"])) if "core_distance_ns" in run else 1


def modes(runs):
    """The distances that the steady runs fall into: [(least, most)]."""
    found = []
    for d in sorted(apart(r) for r in runs):
        if found and alike(d, found[-1][1]):
            found[-1] = (found[-1][0], d)
        else:
            found.append((d, d))
    return found


def ratios(mine, others, key):
    """Of the runs of a round where both are there, else of all with all."""
    pairs = [(a, b) for a, b in zip(mine, others) if a and b] or [(a, b) for a in mine for b in others if a and b]
    return [float(f"{a[key] / b[key]:.4g}") for a, b in pairs if a.get(key, 0) > 0 and b.get(key, 0) > 0]


def of_mode(workload, runs, mode):
    """Rows and ratios of the runs in one mode; undisturbed ones where there are any."""
    rows, kept = {}, {}
    for name, list_ in runs.items():
        here = [r if "failed" not in r and is_steady(r) and mode[0] <= apart(r) <= mode[1] else None for r in list_]
        quiet = [r if r and (is_quiet(r) or workload.mode == "idle") else None for r in here]  # memory is not disturbed
        kept[name] = quiet if any(quiet) else here
        good = [r for r in kept[name] if r]
        rows[name] = {k: spread([r[k] for r in good]) for k in (good[0] if good else ()) if k != "core_distance_ns"}
        rows[name]["disturbed"] = not any(quiet)
    found = {}
    for name in runs:
        for k in (key_of(workload.mode), "total_us"):
            list_ = ratios(kept.get("heliod", []), kept[name], k) if name != "heliod" else []
            if list_:
                found.setdefault(name, {})[k] = spread(list_)
    return {"core_distance_ns": [round(x) for x in mode], "servers": rows, "heliod_ratio_to": found}


def summary(workload, runs):
    """runs: {server: [run of round 0, …]}. Figures of different modes are never put together: the mode that most servers were
    seen in is the one shown, the others stand beside it."""
    good = [r for list_ in runs.values() for r in list_ if "failed" not in r and is_steady(r)]
    all_ = [of_mode(workload, runs, m) for m in modes(good)]
    all_.sort(key=lambda m: (-sum(len(r) > 1 for r in m["servers"].values()), m["core_distance_ns"]))
    shown = all_[0] if all_ else {"servers": {n: {"disturbed": True} for n in runs}, "heliod_ratio_to": {}}
    for name, list_ in runs.items():
        shown["servers"][name]["runs"] = list_
    return {"what": workload.what, "mode": workload.mode, "unit": workload.unit, "floor": workload.floor, **shown,
            "other_modes": all_[1:]}


def machine():
    """Facts of the machine, no names of it."""
    import os
    import platform
    import re
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    virtual = "hypervisor" in info
    cc = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return {"processors": os.cpu_count(), "model": model.group(1).strip() if model else platform.machine(), "virtual": virtual,
            "memory_gib": round(int(memory.group(1)) / 2**20), "kernel": re.match(r"[\d.]+", platform.release()).group(), "congestion_control": cc,
            "load_before": round(os.getloadavg()[0], 2)}
