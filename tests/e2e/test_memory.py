"""helioctl show memory: every part is there, follows what happens, and adds up; the kernel's view stands beside it. What is given back
after a storm is measured with a Release build: tests/bench/idle.py --storm."""
from client import entered
from crowd import until

PARTS = ["connection_bytes", "queued", "partial", "lists", "recycled", "hub", "protocols", "unexplained"]


def memory(b):
    return b.rows("show", "memory")


async def test_show_memory(broker):
    b = broker(workers=2)
    empty = memory(b)
    assert sorted(r["slot"] for r in empty) == [0, 1]
    clients = [await entered(b.url) for _ in range(60)]
    full = memory(b)
    assert sum(r["connections"] for r in full) == 60
    pids = {w["slot"]: w["pid"] for w in b.workers()}
    for was, now in zip(sorted(empty, key=lambda r: r["slot"]), sorted(full, key=lambda r: r["slot"])):
        assert now["pid"] == pids[now["slot"]]
        assert now["rss"] >= now["private"] > 0
        assert 300 * now["connections"] <= now["connection_bytes"] <= 450 * now["connections"]
        assert now["protocols"] - was["protocols"] >= 32 * now["connections"]
        assert now["connections"] == 0 or now["hub"] > was["hub"]
        # an allocator of a sanitizer's tells nothing: in_use is 0
        assert now["in_use"] == sum(now[p] for p in PARTS) or now["unexplained"] == 0, now
    for c in clients:
        await c.ws.close()
    await until(lambda: sum(r["connections"] + r["protocols"] for r in memory(b)) == 0, 5, "nothing is held")


def test_shown_as_a_card(broker):
    text = broker().ctl("show", "memory").stdout
    for line in ("their structs", "unsent to them", "rooms, users, topics", "anything else", "= malloc, in use", "private", "resident"):
        assert text.count(f"\n{line} ") == 1, text
