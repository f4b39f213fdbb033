"""One run of one server under one workload, and what the runs of all rounds come to."""
import json
import pathlib
import statistics
import subprocess
import tempfile

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


def one_run(workload, server, tools):
    """{figures} or {"failed": why}."""
    with tempfile.TemporaryDirectory(prefix="heliod-bench-", dir="/tmp") as directory:
        try:
            server.start(directory, workload.nodes if server.meets else 1)
        except (RuntimeError, OSError) as e:
            return {"failed": f"did not start: {e}"}
        try:
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
    return figures(raw, workload)


def spread(values):
    return {"min": min(values), "median": float(f"{statistics.median(values):.5g}"), "max": max(values), "n": len(values)}


def key_of(mode):
    """The figure that a workload is about."""
    return "bytes" if mode == "idle" else "cpu_us"


def is_quiet(run):
    return run.get("others", 0) <= DISTURBED and run.get("stolen", 0) <= DISTURBED


def summary(workload, runs):
    """runs: {server: [run of round 0, …]}. Medians over undisturbed runs where there are any; ratios pair the runs of a round."""
    key, found = key_of(workload.mode), {"what": workload.what, "mode": workload.mode, "unit": workload.unit,
                                          "floor": workload.floor, "servers": {}, "heliod_ratio_to": {}}
    for name, list_ in runs.items():
        good = [r for r in list_ if "failed" not in r]
        quiet = [r for r in good if is_quiet(r)] or good
        row = {"runs": list_, "disturbed": not any(map(is_quiet, good))}
        for k in quiet[0] if quiet else ():
            row[k] = spread([r[k] for r in quiet])
        found["servers"][name] = row
    def pairs(a, b, k):
        both = [(x[k], y[k], is_quiet(x) and is_quiet(y)) for x, y in zip(runs.get(a, []), runs.get(b, [])) if x.get(k, 0) > 0 and y.get(k, 0) > 0]
        return [x / y for x, y, q in both if q] or [x / y for x, y, _ in both]
    for name in runs:
        for k in (key, "total_us"):
            ratios = pairs("heliod", name, k) if name != "heliod" else []
            if ratios:
                row = found["heliod_ratio_to"].setdefault(name, {})
                row[k] = spread([float(f"{r:.4g}") for r in ratios])
    return found


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
            "memory_gib": round(int(memory.group(1)) / 2**20), "kernel": platform.release(), "congestion_control": cc,
            "load_before": round(os.getloadavg()[0], 2)}
