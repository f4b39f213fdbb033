"""What only shows in the original's own time (A1, server ping): INTEROP_SLOW=1 has it wait a minute."""
import os
import threading
import time

import pytest

from rawws import Raw


def watch(s, seen):
    """A client that says nothing, not even pongs: when it is pinged, when it is dropped without a Close frame."""
    _, path = s.address("patient")
    r = Raw(s.port("patient"), timeout=90).open(path)
    begin = time.monotonic()
    opcode = r.frame()[1]
    seen.append([opcode, time.monotonic() - begin])
    seen.append([r.frame(), time.monotonic() - begin])


if os.environ.get("INTEROP_SLOW"):
    def test_native_pings(genuine, heliod):
        sides = (genuine, heliod)
        seen = {s.name: [] for s in sides}
        threads = [threading.Thread(target=watch, args=(s, seen[s.name])) for s in sides]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for name, ((opcode, ping_s), (end, end_s)) in seen.items():
            print(f"{name}: opcode {opcode} after {ping_s:.1f} s, {end} after {end_s:.1f} s")
            assert opcode == 9 and end is None, name
            assert ping_s == pytest.approx(44, abs=5) and end_s == pytest.approx(60, abs=5), name
