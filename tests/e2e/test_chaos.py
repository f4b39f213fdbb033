"""Everything at once, at random: kills, stops, reloads good and bad, drains, listeners and Redis coming and going. Whoever connects
meanwhile is served, nothing leaks, and in the end all is as the last good configuration says."""
import contextlib
import os
import random
import signal

import pytest

from conftest import eventually, free_port
from crowd import Connecting, children, echo_works


class Chaos:
    def __init__(self, b, seed):
        self.b, self.random = b, random.Random(seed)
        self.here, self.there = {"address": f"127.0.0.1:{b.port}"}, {"address": f"127.0.0.1:{free_port()}"}
        self.loops = [Connecting(b), Connecting(b)]

    def worker(self):
        return self.random.choice([w["pid"] for w in self.b.workers(None) if w["pid"]] or [0])

    def reload(self, **keys):
        self.b.write(**keys)
        self.b.ctl("reload", check=False)

    def kill_worker(self):
        pid = self.worker()
        with contextlib.suppress(ProcessLookupError):
            if pid:
                self.loops[0].kill(pid)
                self.loops[1].kills.append(self.loops[0].kills[-1])

    def let_one_sleep(self):
        pid = self.worker()
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGSTOP)
                self.b.signal(signal.SIGHUP)
                self.b.ctl("status")
                os.kill(pid, signal.SIGCONT)

    def change_workers(self):
        self.reload(workers=self.random.randint(1, 4))

    def change_listeners(self):
        more = [self.there, {"address": f"unix:{self.b.dir}/s.sock"}]
        self.reload(listeners=[self.here] + self.random.sample(more, self.random.randint(0, 2)))

    def bad_file(self):
        self.b.conf.write_text("workers: [")
        assert self.b.ctl("reload", check=False).returncode == 1
        self.b.write()

    def hang_up(self):
        self.b.signal(signal.SIGHUP)

    def drain(self):
        self.b.ctl("drain", str(self.random.randint(0, 3)), check=False)

    def kill_redis(self):
        for pid, name in children(self.b.proc.pid).items():
            if name.startswith("redis") and self.random.random() < 0.3:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def run(self, steps):
        deeds = [self.kill_worker, self.let_one_sleep, self.change_workers, self.change_workers, self.change_listeners,
                 self.bad_file, self.hang_up, self.drain, self.kill_redis]
        for _ in range(steps):
            self.random.choice(deeds)()
            assert self.b.proc.poll() is None

    def settle(self):
        self.b.write(workers=2, listeners=[self.here])
        eventually(lambda: self.b.ctl("reload", check=False).returncode == 0, 20, "a last reload")
        eventually(lambda: [w["state"] for w in self.b.workers(None)] == ["running", "running"], 60, "two workers, no other")
        generation = self.b.rows("status")[0]["generation"]
        eventually(lambda: {w["generation"] for w in self.b.workers()} == {generation}, 10, "agreed")
        eventually(lambda: self.b.rows("status")[0]["listeners"] == [self.here["address"]], 10, "one address")


@pytest.mark.parametrize("seed", [1, 2])
def test_chaos(broker, seed):
    b = broker(workers=2, retire_timeout="1s", reload_timeout="2s", shutdown_timeout="1s", client={"close_timeout": "300ms"})
    before = len(os.listdir(f"/proc/{b.proc.pid}/fd"))
    chaos = Chaos(b, seed)
    with contextlib.ExitStack() as stack:
        for loop in chaos.loops:
            stack.enter_context(loop)
        chaos.run(60)
        chaos.settle()
    for _ in range(20):
        echo_works(b.port)
    eventually(lambda: len(os.listdir(f"/proc/{b.proc.pid}/fd")) <= before + 2, 10, "no descriptor leaks")
    eventually(lambda: b.http()[0] == 200, 20, "the bus is back")
    assert b.stop() == 0
    assert not (b.dir / "run").exists()
