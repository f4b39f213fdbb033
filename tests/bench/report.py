"""Results as files, as the README's table, and beside a baseline."""
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- scripts/bench writes from here -->", "<!-- to here -->"
PEERS = [("nchan", "Nchan"), ("ws", "ws"), ("bun", "Bun"), ("ignis", "Ignis helper")]


def read(path):
    return json.loads(pathlib.Path(path).read_text())


def newest():
    found = sorted(RESULTS.glob("*.json"))
    return found[-1] if found else None


def write(path, results):
    """Workloads measured earlier on the same day with the same programs stay."""
    path = pathlib.Path(path)
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        old = read(path)
        if all(old.get(k) == results[k] for k in ("date", "versions", "schema")):
            results["workloads"] = {**old["workloads"], **results["workloads"]}
            results["missing"] = {**old["missing"], **results["missing"]}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def number(v):
    return f"{v:,.0f}" if v >= 100 else f"{v:.3g}"


def shown(s):
    """Median and, where rounds differ by more than a tenth, the least and the most."""
    if s["max"] <= 1.1 * max(s["min"], 1e-9):
        return number(s["median"])
    return f"{number(s['median'])} ({number(s['min'])}–{number(s['max'])})"


def has_failed(row):
    return any("failed" in r for r in row.get("runs", []))


def cell(row, key):
    if row is None:
        return "–"
    if key not in row:
        return "failed" if has_failed(row) else "?"
    return shown(row[key]) + ("\\*" if row["disturbed"] and not key.endswith("bytes") else "")


def ratio(w, name, key):
    s = w["heliod_ratio_to"].get(name, {}).get(key)
    row = w["servers"].get(name)
    if s:
        disturbed = row["disturbed"] or w["servers"]["heliod"]["disturbed"]
        return f"{s['median']:.2f}" + ("\\*" if disturbed and key != "bytes" else "")
    if row is not None and key not in row and has_failed(row):
        return "failed"
    return "–" if row is None or key not in w["servers"].get("heliod", {}) else "?"


def head(results):
    m, v = results["machine"], results["versions"]
    kind = "virtual " if m["virtual"] else ""
    versions = ", ".join(f"{title} {v[name]}" for name, title in [("heliod", "heliod"), *PEERS] if v.get(name))
    seen = [d for w in results["workloads"].values() for d in w.get("core_distance_ns", [])]
    apart = f", {min(seen)} to {max(seen)} ns apart" if seen and max(seen) > 1 else ""
    unpaired = "; `?`: never seen with the cores as far apart as here"
    return (f"{results['date']}, {results['rounds']} rounds, {m['processors']} {kind}processors ({m['model']}), Linux {m['kernel']}; "
            f"{versions}. The server has one core, the load generator the other{apart}. `*`: others took more than 15 % of the server's core, "
            f"the figure is too high{unpaired if seen else ''}.")


def table(results):
    peers = [(n, t) for n, t in PEERS if n not in results["missing"]]
    lines = [head(results), "",
             "| workload | heliod: CPU µs per operation | user + system | p99, ms | heliod ÷ floor | " +
             " | ".join(f"÷ {t}" for _, t in peers) + " |", "|---|" + "---|" * (4 + len(peers))]
    for name, w in results["workloads"].items():
        row = w["servers"].get("heliod")
        if w["mode"] == "idle" or not row:
            continue
        split = f"{number(row['user_us']['median'])} + {number(row['system_us']['median'])}" if "user_us" in row else "–"
        late = number(row["p99_us"]["median"] / 1000) if "p99_us" in row else "–"
        lines.append(f"| {w['what']} | {cell(row, 'cpu_us')} | {split} | {late} | {ratio(w, w['floor'], 'cpu_us')} | " +
                     " | ".join(ratio(w, n, "cpu_us") for n, _ in peers) + " |")
        if "total_us" in row:
            if w["mode"] == "rooms" and "ignis" in w["servers"] and "floor-coalesce" not in w["servers"]:
                lines.append(f"| … with Redis | {cell(row, 'total_us')} | | | | " +
                             " | ".join(ratio(w, n, "total_us") for n, _ in peers) + " |")
    idle = [(n, w) for n, w in results["workloads"].items() if w["mode"] == "idle"]
    if idle:
        lines += ["", "| bytes per connection, user space | heliod | Redis' share | " + " | ".join(t for _, t in peers) + " |",
                  "|---|---|---|" + "---|" * len(peers)]
        for name, w in idle:
            row = w["servers"].get("heliod", {})
            redis = cell(row, "redis_bytes") if "events" in name and "redis_bytes" in row else "–"
            lines.append(f"| {w['what']} | {cell(row, 'bytes')} | {redis} | " +
                         " | ".join(cell(w["servers"].get(n), "bytes") for n, _ in peers) + " |")
    for name, why in results["missing"].items():
        lines += ["", f"Not measured: {name} ({why})."]
    return "\n".join(lines)


def into_readme(results):
    text = README.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("README.md has no place for the table")
    README.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")


def modes_of(w):
    return [w, *w.get("other_modes", [])]


def same_mode(was, w):
    """The first two modes, one of either, in which the cores were equally far apart."""
    for a in modes_of(was):
        for b in modes_of(w):
            x, y = (sum(m.get("core_distance_ns", [1])) / len(m.get("core_distance_ns", [1])) for m in (a, b))
            if max(x, y) <= 1.6 * min(x, y) and "heliod" in a["servers"] and "heliod" in b["servers"]:
                return a, b
    return None


def compare(old, new):
    """heliod now ÷ heliod then: of its own figures, and of its ratios to the floor, which another day's machine moves less."""
    print(f"\n{'workload':24} {'then':>10} {'now':>10} {'now/then':>9}   ÷ floor then, now, now/then")
    for name, w in new["workloads"].items():
        both = same_mode(old["workloads"][name], w) if name in old["workloads"] else None
        key = "bytes" if w["mode"] == "idle" else "cpu_us"
        try:
            then, now = (m["servers"]["heliod"][key]["median"] for m in both)
        except (KeyError, TypeError):
            print(f"{name:24} " + ("not with cores equally far apart" if name in old["workloads"] else "not there then"))
            continue
        line = f"{name:24} {number(then):>10} {number(now):>10} {now / then:9.2f}"
        to_floor = [m["heliod_ratio_to"].get(w["floor"], {}).get(key, {}).get("median") for m in both]
        if all(to_floor):
            line += f"   {to_floor[0]:.2f}, {to_floor[1]:.2f}, {to_floor[1] / to_floor[0]:.2f}"
        print(line)
