"""signaling.lua alone, on a real Redis: whoever follows a room's log knows at every moment what Redis knows, whatever happens."""
import random
import time
import uuid

import pytest

from conftest import ROOT

SCRIPT = (ROOT / "worker/protocols/signaling.lua").read_text()
KEY = "p:heliod:sig:/s/{room}/{role}:r1"
STEM = "heliod:sigw:/s:"


def new_id():
    return str(uuid.uuid4())


def message(pubsub, seconds=10):
    """The next one as a text, or None; what Redis says of the subscription itself is passed over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if m := pubsub.get_message(timeout=0.05):
            return m["data"].decode()


class Room:
    """Workers that listen, a script to call, a log that is followed."""

    def __init__(self, redis, workers=3, lease=60000, grace=0, room_size=2, role_size=1):
        self.r = redis
        self.script = redis.register_script(SCRIPT)
        self.limits = [lease, grace, room_size, role_size]
        self.workers = [new_id() for _ in range(workers)]
        self.links = {}
        self.log = redis.pubsub(ignore_subscribe_messages=True)
        self.log.subscribe(KEY)
        for w in self.workers:
            self.listen(w)
        while redis.pubsub_numsub(KEY)[0][1] == 0:
            pass
        self.roster = {}  # id → role, as the log tells
        self.news = []

    def listen(self, worker):
        self.links[worker] = self.r.pubsub(ignore_subscribe_messages=True)
        self.links[worker].subscribe("p:" + STEM + worker)
        while self.r.pubsub_numsub("p:" + STEM + worker)[0][1] == 0:
            pass

    def die(self, worker):
        self.links.pop(worker).close()
        while self.r.pubsub_numsub("p:" + STEM + worker)[0][1]:
            pass

    def call(self, worker, verb, *args):
        return self.script(keys=[KEY], args=["p:", verb, worker, STEM, *self.limits, *args]).decode()

    def enter(self, worker, role, who="-", session="-", *replaceable, id=None):
        id = id or new_id()
        return id, self.call(worker, "enter", id, role, who, session, *replaceable)

    def leave(self, worker, id, code=1000, reason="left"):
        return self.call(worker, "leave", id, code, reason)

    def renew(self, worker, *members, asked="0"):
        flat = [word for id, role in members for word in (id, role, worker, "-", "-")]
        return self.call(worker, "renew", asked, *flat)

    def follow(self):
        """What is new in the log, without the lists of peers; the roster follows it."""
        mark = new_id()
        self.r.publish(KEY, mark)
        new = []
        while True:
            text = message(self.log)
            assert text, "the log is silent"
            if text == mark:
                self.news += new
                return new
            word, *rest = text.split(" ")
            if word == "in":
                if rest[1] != "-":
                    self.roster.pop(rest[1], None)
                peers = {p.split("/")[0]: p.split("/")[1] for p in rest[2:]}
                assert set(peers) == set(self.roster) | {rest[0]}, "a list that is no news but for the newcomer"
                self.roster = peers
                new.append(("in", rest[0], rest[1]))
            elif word == "all":
                self.roster = {p.split("/")[0]: p.split("/")[1] for p in rest if p}
                new.append(("all",))
            elif word == "out":
                self.roster.pop(rest[0], None)
                new.append(("out", rest[0], int(rest[1]), rest[2]))
            else:
                new.append((word, *rest))

    def entries(self):
        return {k.decode(): v.decode().split(" ") for k, v in self.r.hgetall(KEY).items()}

    def probes(self, worker):
        got = []
        while text := message(self.links[worker], 0.2):
            got.append(text)
        return got


@pytest.fixture
def room(redis_server):
    r = redis_server().client()
    return lambda **more: Room(r, **more)


def test_places(room):
    x = room(room_size=3, role_size=2)
    a, b, _ = x.workers
    one, two = x.enter(a, "doctor"), x.enter(b, "doctor")
    assert (one[1], two[1]) == ("in", "in")
    third = x.enter(a, "doctor")
    assert third[1] == f"taken {one[0]} {two[0]}"
    assert x.probes(a) == [f"probe r1 {one[0]} {a} {third[0]}"]
    assert x.probes(b) == [f"probe r1 {two[0]} {a} {third[0]}"]
    assert x.enter(b, "nurse")[1] == "in"
    assert x.enter(b, "patient")[1] == "full"
    assert x.enter(b, "nurse")[1] == "full"
    new, answer = x.enter(a, "doctor", "-", "-", two[0])
    assert answer == "in"
    assert x.follow()[-2:] == [("out", two[0], 4410, "replaced"), ("in", new, "-")]
    assert x.leave(b, two[0]) == "gone"
    assert set(x.roster) == set(x.entries())


@pytest.mark.parametrize("first, second, at_once", [
    (("u", "-"), ("u", "-"), True), (("-", "s"), ("-", "s"), True), (("u", "s"), ("v", "s"), True), (("u", "s"), ("u", "t"), True),
    (("u", "-"), ("v", "-"), False), (("-", "-"), ("-", "-"), False), (("u", "s"), ("-", "-"), False), (("-", "s"), ("-", "t"), False),
    (("s", "-"), ("-", "s"), False)])
def test_who_is_the_same(room, first, second, at_once):
    x = room()
    a, b, _ = x.workers
    old, _ = x.enter(a, "doctor", *first)
    new, answer = x.enter(b, "doctor", *second)
    assert answer == ("in" if at_once else f"taken {old}")
    assert x.follow() == [("in", old, "-")] + ([("out", old, 4410, "replaced"), ("in", new, "-")] if at_once else [])


@pytest.mark.parametrize("first, second, returns", [
    (("-", "-"), ("-", "-"), True), (("u", "-"), ("u", "-"), True), (("-", "s"), ("-", "s"), True),
    (("u", "-"), ("-", "-"), False), (("-", "-"), ("-", "s"), False), (("-", "s"), ("-", "t"), False)])
def test_who_returns(room, first, second, returns):
    x = room(grace=60000)
    a, b, _ = x.workers
    old, _ = x.enter(a, "doctor", *first)
    assert x.leave(a, old, 1006, "lost") == "left"
    assert x.follow()[1:] == [("away", old, "60000")]
    new, answer = x.enter(b, "doctor", *second)
    assert answer == "in"  # nobody has to be asked whether it answers
    assert x.follow() == ([] if returns else [("out", old, 1006, "lost")]) + [("in", new, old if returns else "-")]
    assert set(x.entries()) == {new}


def test_one_who_is_away_keeps_its_place(room):
    x = room(grace=300)
    a, b, _ = x.workers
    old, _ = x.enter(a, "doctor")
    x.enter(b, "patient")
    x.leave(a, old, 1012, "lost")
    assert x.enter(b, "nurse")[1] == "full"
    time.sleep(0.35)
    assert x.enter(b, "nurse")[1] == "in"
    assert ("out", old, 1012, "lost") in x.follow()


def test_the_dead_have_no_place(room):
    x = room(room_size=2)
    a, b, c = x.workers
    old, _ = x.enter(b, "doctor")
    other, _ = x.enter(c, "patient")
    x.die(b)
    new, answer = x.enter(a, "doctor")
    assert answer == "in"
    assert x.follow()[2:] == [("out", old, 1006, "lost"), ("in", new, "-")]
    assert x.call(a, "bury", c) == x.call(a, "bury", c) == "buried"
    assert x.follow() == [("out", other, 1006, "lost")]
    assert set(x.entries()) == {new}


def test_leases(room):
    x = room(lease=400)
    a, b, _ = x.workers
    one, _ = x.enter(a, "doctor")
    two, _ = x.enter(b, "patient")
    for _ in range(6):
        time.sleep(0.1)
        x.renew(a, (one, "doctor"))
    assert x.follow()[2:] == [("out", two, 1006, "lost")]
    x.renew(b, (two, "patient"))  # it stood still, and is back
    assert x.follow() == [("all",)] and set(x.roster) == {one, two}
    time.sleep(0.9)
    assert x.r.exists(KEY) == 0, "a room of the dead vanishes by itself"


def test_who_is_late_does_not_judge(room):
    """Redis stood still, or the whole machine: all leases are over at once."""
    x = room(lease=400)
    a, b, c = x.workers
    one, _ = x.enter(a, "doctor")
    two, _ = x.enter(b, "patient")
    time.sleep(0.45)
    assert x.enter(c, "doctor")[1] == f"taken {one}"  # its worker listens
    for _ in range(5):
        x.renew(a, (one, "doctor"))
    x.renew(b, (two, "patient"))
    assert len(x.follow()) == 2
    time.sleep(0.45)
    x.renew(a, (one, "doctor"))
    time.sleep(0.25)
    x.renew(a, (one, "doctor"))  # two has had its time
    assert x.follow() == [("out", two, 1006, "lost")]


def test_what_a_renewal_sets_right(room):
    x = room(room_size=3)
    a, b, c = x.workers
    one, _ = x.enter(a, "doctor")
    two, _ = x.enter(b, "patient")
    stray, _ = x.enter(a, "nurse")
    x.follow()
    x.renew(a, (one, "doctor"))  # no nurse here
    assert x.follow() == [("out", stray, 1006, "lost")]
    late, _ = x.enter(a, "nurse")
    x.renew(a, (one, "doctor"), (late, "-"))  # still entering: kept, but never put
    x.renew(a, (one, "doctor"), (late, "-"), (new_id(), "-"))
    assert x.follow() == [("in", late, "-")]
    x.renew(c, (bumped := new_id(), "doctor"))  # its place was taken meanwhile
    assert x.follow() == [("out", bumped, 4410, "replaced")]
    x.r.hset(KEY, "x", "nonsense")
    x.renew(b, (two, "patient"))
    assert set(x.entries()) == {one, two, late}


def test_redis_forgets(room):
    x = room(room_size=3, lease=500)
    a, b, c = x.workers
    one, _ = x.enter(a, "doctor")
    two, _ = x.enter(b, "patient", "u")
    three, _ = x.enter(c, "nurse")
    x.follow()
    x.r.flushall()
    x.call(a, "renew", "1", one, "doctor", a, "-", "-", two, "patient", b, "-", "-", three, "nurse", c, "-", "-")
    assert x.follow() == [("all",)] and set(x.roster) == {one, two, three}
    x.die(c)
    assert x.enter(a, "patient")[1] == f"taken {two}"
    assert set(x.entries()) == {one, two, three}, "nobody is dead before it has had the time to come back"
    x.call(b, "renew", "1", two, "patient", b, "u", "-", one, "doctor", a, "-", "-", new_id(), "ghost", a, "-", "-")
    assert x.follow() == [("all",)] and set(x.roster) == {one, two, three}
    assert x.enter(a, "patient", "u")[1] == "in"  # it is known again by its identity
    for _ in range(6):
        time.sleep(0.1)
        x.renew(a, (one, "doctor"))
    assert ("out", three, 1006, "lost") in x.follow()


@pytest.mark.parametrize("seed", range(4))
def test_the_log_tells_all(room, seed):
    """Random deeds of three workers: sizes hold, and the followed log is the hash."""
    rng = random.Random(seed)
    sizes = dict(room_size=rng.choice([1, 2, 3, 5]), role_size=rng.choice([1, 2]), grace=rng.choice([0, 40]), lease=250)
    x = room(**sizes)
    mine = {w: {} for w in x.workers}
    for _ in range(250):
        if not x.r.exists(KEY):
            x.roster = {}  # all leases ran out, and nobody came to say so
        w = rng.choice(x.workers)
        deed = rng.random()
        if deed < 0.4:
            role = rng.choice("abc")
            id, answer = x.enter(w, role, rng.choice(["-", "u", "v"]), rng.choice(["-", "s"]), *rng.sample(list(x.roster), min(1, len(x.roster))))
            if answer == "in":
                mine[w][id] = role
        elif deed < 0.6 and mine[w]:
            id = rng.choice(list(mine[w]))
            x.leave(w, id, *rng.choice([(1000, "left"), (1006, "lost"), (4411, "kicked")]))
            del mine[w][id]
        elif deed < 0.7:
            time.sleep(rng.random() * 0.1)
        elif deed < 0.73:
            mine[w].clear()
            x.call(rng.choice(x.workers), "bury", w)
        elif deed < 0.75:
            x.r.flushall()
            others = [word for v in x.workers for id, role in mine[v].items() for word in (id, role, v, "-", "-")]
            x.call(w, "renew", "1", *others)
        else:
            x.renew(w, *mine[w].items(), asked=rng.choice("01"))
        for line in x.follow():
            if line[0] == "out" and line[3] == "replaced" or line[0] == "in" and line[2] != "-":
                gone = line[1] if line[0] == "out" else line[2]
                for ids in mine.values():
                    ids.pop(gone, None)
        entries = x.entries()
        if entries:
            assert set(entries) == set(x.roster)
        roles = [e[0] for e in entries.values()]
        assert len(roles) <= sizes["room_size"] and all(roles.count(r) <= sizes["role_size"] for r in roles)
