"""The scripts that decide in Redis, alone on a real redis-server and on a clock of the test's: random operations beside a model,
keys of which a part is lost, and what other programs may have left there."""
import json
import pathlib
import random
import re
import shutil
import tempfile
import uuid

import pytest
import redis

from conftest import ROOT, Redis

START = 2_000_000_000_000_000  # microseconds: later than any clock here, so that nothing expires but by the script
PREFIX = "p:"


@pytest.fixture(scope="module")
def db():
    path = pathlib.Path(tempfile.mkdtemp(prefix="heliod-", dir="/tmp"))
    server = Redis(path)
    yield server.client()
    server.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def _empty(db):
    db.flushall()


class Clocked:
    """A script whose TIME is ours."""

    def __init__(self, db, path):
        text, n = re.subn(r"(redis\.)?call\('TIME'\)", "{redis.call('GET', 'clock:s'), redis.call('GET', 'clock:us')}",
                          (ROOT / path).read_text())
        assert n <= 1, "a script asks for the time once"
        self.db, self.run, self.now = db, db.register_script(text), START
        self.advance(0)

    def advance(self, us):
        self.now += us
        self.db.mset({"clock:s": self.now // 1_000_000, "clock:us": self.now % 1_000_000})

    def __call__(self, keys, *args):
        return self.run(keys=keys, args=[PREFIX, *args])


class Ear:
    """All that is published."""

    def __init__(self, db):
        self.p = db.pubsub(ignore_subscribe_messages=True)
        self.p.psubscribe("*")
        self.db = db
        self.n = 0

    def heard(self):
        """Since the last time, in order: (channel, text)."""
        self.n += 1
        end = f"end-{self.n}"
        self.db.publish("end", end)
        out = []
        while True:
            m = self.p.get_message(timeout=10)
            assert m or self.p.subscribed
            if not m:
                continue
            channel, text = m["channel"].decode(), m["data"].decode()
            if (channel, text) == ("end", end):
                return out
            out.append((channel, text))

    def close(self):
        self.p.close()


@pytest.fixture
def ear(db):
    e = Ear(db)
    yield e
    e.close()


# ── inboxes ──

CAPACITY, MAX_AGE = 6, 3_600_000_000
ALL = ["p:heliod:inbox:all:order", "p:heliod:inbox:all:texts"]


def keys_of(user):
    return [f"p:heliod:inbox:{{u:{user}}}:{part}" for part in ("order", "texts", "unread", "state")]


class Inboxes:
    """What there must be, by a model that knows no Redis."""

    def __init__(self, db, ear, step=1000):
        self.db, self.ear, self.step, self.script = db, ear, step, Clocked(db, "worker/hub/inbox.lua")
        self.all, self.boxes = [], {}  # (score, id); user: {id: (score, is_read)}
        self.cursor, self.version, self.told = {}, {}, {}

    def ask(self, operation, user, *more):
        self.script.advance(self.step)
        keys = ALL if operation == "broadcast" else keys_of(user) + ALL
        return self.script(keys, operation, CAPACITY, MAX_AGE, 1 << 20, user, *more)

    def fresh(self, entries):
        return sorted((s, i) for s, i in entries if s > self.script.now - MAX_AGE)[-CAPACITY:]

    def trim(self, user):
        box = self.boxes.setdefault(user, {})
        kept = self.fresh((s, i) for i, (s, _) in box.items())
        self.boxes[user] = {i: box[i] for _, i in kept}

    def merge(self, user):
        """What was said to everybody since, but not what was said before the inbox was there."""
        self.trim(user)
        box, last = self.boxes[user], max(self.all)[0] if self.all else 0
        for score, i in self.all:
            if user in self.cursor and score > self.cursor[user] and score > self.script.now - MAX_AGE and i not in box:
                box[i] = (score, False)
        self.cursor[user] = last

    def broadcast(self, i):
        assert self.ask("broadcast", "", i, json.dumps(i), ',"n":1') == b"ok"
        self.all = self.fresh(self.all)
        if i not in [e[1] for e in self.all]:
            self.all.append((int(self.db.zscore(ALL[0], i)), i))
        self.all = self.fresh(self.all)

    def publish(self, user, i):
        assert self.ask("publish", user, i, json.dumps(i), ',"n":1') == b"ok"
        self.merge(user)
        if i not in self.boxes[user]:
            self.boxes[user][i] = (int(self.db.zscore(keys_of(user)[0], i)), False)
        self.trim(user)

    def read(self, user, ids, answer):
        self.merge(user)
        self.trim(user)
        box = self.boxes[user]
        for i in box.keys() if ids is None else ids & box.keys():
            box[i] = (box[i][0], True)
        self.check_state(user, answer, [])

    def check_state(self, user, answer, unread):
        state = json.loads(answer)
        assert list(state) == ["version", "count", "unread"]
        assert state["count"] == self.count(user) and [n["id"] for n in state["unread"]] == unread

    def in_order(self, user):
        return [i for i, _ in sorted(self.boxes[user].items(), key=lambda e: (e[1][0], e[0]))]

    def count(self, user):
        return sum(not is_read for _, is_read in self.boxes[user].values())

    def unread(self, user, limit):
        answer = self.ask("unread", user, -1, limit)
        self.merge(user)
        self.trim(user)
        want = [i for i in self.in_order(user) if not self.boxes[user][i][1]]
        self.check_state(user, answer, want[-limit:] if limit else [])

    def list(self, user, limit, before):
        answer = self.ask("list", user, limit, *([before] if before else []))
        self.merge(user)
        self.trim(user)
        ids = self.in_order(user)[::-1]
        if before and before not in ids:
            assert answer is None
            return
        behind = ids[ids.index(before) + 1:] if before else ids
        got = json.loads(answer)
        assert [(n["id"], n["read"]) for n in got["notifications"]] == [(i, self.boxes[user][i][1]) for i in behind[:limit]]
        assert got["more"] == (len(behind) > limit)

    def follow(self):
        """What was published: each user's versions rise, and the last count is the count."""
        for channel, text in self.ear.heard():
            if channel == "p:heliod:nb":
                continue
            user = channel.removeprefix("p:heliod:n:")
            kind, version, rest = text[0], *text[1:].split(" ", 1)
            assert int(version) > self.version.get(user, 0), (channel, text)
            self.version[user] = int(version)
            if kind == "c":
                self.told[user] = int(rest)
            else:
                assert kind == "n" and json.loads(rest)["notification"]["read"] is False

    def check(self, user):
        order, texts, unread, _ = keys_of(user)
        stored = {i.decode(): int(s) for i, s in self.db.zrange(order, 0, -1, withscores=True)}
        assert stored == {i: s for i, (s, _) in self.boxes[user].items()}
        assert {i.decode() for i in self.db.hkeys(texts)} == stored.keys()
        assert {i.decode() for i in self.db.smembers(unread)} == {i for i, (_, r) in self.boxes[user].items() if not r}
        assert self.told.get(user, 0) == self.count(user)
        for key in self.db.keys("p:*"):
            assert self.db.pttl(key) > 0, f"{key} lives for ever"


@pytest.mark.parametrize("seed", range(3))
def test_inboxes_beside_a_model(db, ear, seed):
    rng, box = random.Random(seed), Inboxes(db, ear, step=0)
    users, ids = ["ann", "bob"], ["i%d" % i for i in range(12)] + ['Z","read":', "é\\"]
    for _ in range(500):
        user, i = rng.choice(users), rng.choice(ids)
        box.script.advance(rng.choice([0, 0, 1, 1000, MAX_AGE // 9]))
        act = rng.choice(["publish"] * 3 + ["broadcast", "read", "read_all", "unread", "list", "list"])
        if act == "publish":
            box.publish(user, i)
        elif act == "broadcast":
            box.broadcast(i)
            user = None
        elif act == "read":
            box.read(user, {i}, box.ask("read", user, i))
        elif act == "read_all":
            box.read(user, None, box.ask("read_all", user))
        elif act == "unread":
            box.unread(user, rng.choice([0, 1, 3, 50]))
        else:
            box.list(user, rng.choice([1, 2, 100]), rng.choice([None, i]))
        box.follow()
        if user:
            box.check(user)


def sound(db, user):
    """Whatever happened before: the parts agree, and the answers with them."""
    order, texts, unread, _ = keys_of(user)
    ids = {i.decode() for i in db.zrange(order, 0, -1)}
    assert {i.decode() for i in db.hkeys(texts)} == ids
    assert {i.decode() for i in db.smembers(unread)} <= ids
    assert len(ids) <= CAPACITY
    return ids


def operations(box, rng, user):
    i = f"n{rng.randrange(10**9)}"
    return rng.choice([("publish", user, i, json.dumps(i), ""), ("list", user, 100), ("unread", user, -1, 100), ("read", user, i),
                       ("read_all", user)])


@pytest.mark.parametrize("lost", [{0}, {1}, {2}, {3}, {4}, {5}, {0, 2}, {1, 2}, {0, 3}, {4, 1}])
def test_an_inbox_of_which_redis_evicted_a_part(db, ear, lost):
    """As Redis does when its memory is full, if it is told so. What is whole is left; nothing is wrong, or for ever so."""
    rng, box = random.Random(str(lost)), Inboxes(db, ear)
    for _ in range(20):
        for n in range(4):
            box.ask("broadcast" if n % 2 else "publish", "ann", i := f"n{rng.randrange(10**9)}", json.dumps(i), "")
        box.ask("unread", "ann", -1, 0)
        for k in lost:
            db.delete((keys_of("ann") + ALL)[k])
        box.ask(*operations(box, rng, "ann"))
        ids = sound(db, "ann")
        listed = json.loads(box.ask("list", "ann", 100))["notifications"]
        assert {n["id"] for n in listed} == ids
        state = json.loads(box.ask("unread", "ann", -1, 100))
        assert state["count"] == len(state["unread"]) == sum(not n["read"] for n in listed)
        box.ask("publish", "ann", "last", '"last"', "")
        assert "last" in sound(db, "ann")
        box.ask("broadcast", "", i := f"b{rng.randrange(10**9)}", json.dumps(i), "")
        box.ask("unread", "ann", -1, 0)
        assert i in sound(db, "ann"), "what is said to everybody comes no more"
        box.follow()


NUMBERS = ["", "abc", "-1", "1e300", "inf", "-inf", "nan", "0x10", "99999999999999999999999", "1.5"]


@pytest.mark.parametrize("field", ["version", "told", "cursor"])
@pytest.mark.parametrize("value", NUMBERS)
def test_an_inbox_with_a_strange_state(db, ear, field, value):
    box = Inboxes(db, ear)
    box.ask("unread", "ann", -1, 0)
    box.ask("publish", "ann", "a", '"a"', "")
    ear.heard()
    db.hset(keys_of("ann")[3], field, value)
    box.ask("publish", "ann", "b", '"b"', "")
    box.ask("broadcast", "", "c", '"c"', "")
    state = json.loads(box.ask("unread", "ann", -1, 10))
    assert isinstance(state["version"], int) and 0 < state["version"] < 2**53
    assert state["count"] == 3 and {n["id"] for n in state["unread"]} == {"a", "b", "c"}
    box.follow()
    assert box.told["ann"] == 3


@pytest.mark.parametrize("score", ["inf", "-inf", "1e300", "-5", "1.5"])
@pytest.mark.parametrize("which", [0, 4])
def test_an_inbox_with_an_entry_of_nobody(db, ear, which, score):
    box = Inboxes(db, ear)
    box.ask("unread", "ann", -1, 0)
    box.ask("broadcast", "", "a", '"a"', "")
    db.zadd((keys_of("ann") + ALL)[which], {"stranger": score})
    box.ask("unread", "ann", -1, 0)
    box.ask("broadcast", "", "b", '"b"', "")
    box.ask("publish", "ann", "c", '"c"', "")
    assert {n["id"] for n in json.loads(box.ask("list", "ann", 10))["notifications"]} == {"a", "b", "c"} == sound(db, "ann")


@pytest.mark.parametrize("which", range(6))
def test_an_inbox_key_of_another_type(db, ear, which):
    """An error, until somebody takes it away; then all is well."""
    box = Inboxes(db, ear)
    key = (keys_of("ann") + ALL)[which]
    db.lpush(key, "stranger")
    wrong = 0
    for operation in (("publish", "ann", "a", '"a"', ""), ("list", "ann", 10), ("unread", "ann", -1, 10), ("read_all", "ann")):
        try:
            box.ask(*operation)
        except redis.ResponseError as e:
            assert "WRONGTYPE" in str(e)
            wrong += 1
    assert wrong > 0 and db.lrange(key, 0, -1) == [b"stranger"]
    db.delete(key)
    box.ask("publish", "ann", "b", '"b"', "")
    assert "b" in sound(db, "ann")


# ── signaling rooms ──

LEASE = 6_000
ROOM = "p:heliod:sig:/call:room-1"
STEM = "heliod:sigw:/call:"
PEER = r"[0-9a-f-]{36}/[A-Za-z0-9._~-]+/[0-9a-f-]{36}/\d{1,4}"
LINE = re.compile(rf"in [0-9a-f-]{{36}} ([0-9a-f-]{{36}}|-) {PEER}( {PEER})*|all (|{PEER}( {PEER})*)|"
                  r"out [0-9a-f-]{36} \d{4} (left|lost|replaced|kicked)|away [0-9a-f-]{36} \d+")


class Worker:
    def __init__(self, rng):
        self.id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        self.mine = {}  # id: (role, who, session) of those that are in
        self.is_alive, self.renewed = True, None


class Rooms:
    """Workers, and what somebody knows of the room who has only read its log."""

    def __init__(self, db, ear, seed=0, room_size=3, role_size=1, grace=0):
        self.db, self.ear, self.rng, self.script = db, ear, random.Random(seed), Clocked(db, "worker/protocols/signaling.lua")
        self.sizes, self.grace = (room_size, role_size), grace
        self.workers = [Worker(self.rng) for _ in range(3)]
        self.listening = db.pubsub()
        self.told, self.probes = {}, []  # told: id: role
        self.forgotten = False  # Redis has lost the room
        for w in self.workers:
            self.listen(w)

    def listen(self, w, there=True):
        (self.listening.subscribe if there else self.listening.unsubscribe)("p:" + STEM + w.id)
        w.is_alive, w.renewed = there, self.script.now
        while (m := self.listening.get_message(timeout=10)) is None or m["type"] not in ("subscribe", "unsubscribe"):
            pass

    def close(self):
        self.listening.close()

    def ask(self, w, verb, *more):
        answer = self.script([ROOM], verb, w.id, STEM, LEASE, self.grace, *self.sizes, *more).decode()
        self.follow()
        self.check()
        return answer

    def advance(self, ms):
        self.script.advance(ms * 1000)
        ends = self.db.pexpiretime(ROOM)
        assert ends != -1, "the room lives for ever"
        if ends != -2 and ends <= self.script.now // 1000:
            self.db.delete(ROOM)
            self.forgotten = bool(self.told)

    def entries(self):
        return {i.decode(): e.decode().split(" ") for i, e in self.db.hgetall(ROOM).items()}

    # what the log says

    def follow(self):
        for channel, line in self.ear.heard():
            if channel != ROOM:
                self.probes.append((channel, line))
                continue
            assert LINE.fullmatch(line), line
            word, *rest = line.split(" ")
            getattr(self, "heard_" + word)(*rest)

    def list_is(self, peers):
        peers = [p.split("/") for p in peers if p]
        now = {p[0]: p[1] for p in peers}
        assert len(now) == len(peers)
        return now

    def gone(self, i, may_be_lost):
        for w in self.workers:
            was_in = w.mine.pop(i, None)
            assert not was_in or may_be_lost or not self.is_punctual(w), f"{i} is lost, but its worker is there"

    def heard_in(self, i, was, *peers):
        assert i not in self.told and (was == "-" or was in self.told)
        if was != "-":
            del self.told[was]
            self.gone(was, True)
        now = self.list_is(peers)
        self.told[i] = now[i]
        assert now == self.told or (self.forgotten and now.items() <= self.told.items())
        self.told, self.forgotten = now, False

    def heard_all(self, *peers):  # "all " when there is nobody
        self.told, self.forgotten = self.list_is(peers), False

    def heard_out(self, i, code, reason):
        assert i in self.told or reason == "replaced"
        self.told.pop(i, None)
        self.gone(i, reason != "lost")

    def heard_away(self, i, ms):
        assert i in self.told and int(ms) == self.grace
        self.gone(i, False)

    # what must be so at any moment

    def check(self):
        entries = self.entries()
        if not self.forgotten:
            assert {i: e[0] for i, e in entries.items()} == self.told, "the log says something else"
        assert len(entries) <= self.sizes[0]
        for role in {e[0] for e in entries.values()}:
            assert sum(e[0] == role for e in entries.values()) <= self.sizes[1]
        assert not entries or self.db.pttl(ROOM) > 0

    def is_punctual(self, w):
        return w.is_alive and self.script.now - w.renewed < LEASE * 1000

    # what workers do

    def enter(self, w, role, who="-", session="-", *replaceable):
        i = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        w.mine[i] = (role, who, session)
        self.probes.clear()
        answer = self.ask(w, "enter", i, role, who, session, *replaceable)
        entries = self.entries()
        assert (answer == "in") == (i in entries)
        if answer != "in":
            del w.mine[i]
            self.check_refusal(w, i, role, who, session, replaceable, answer.split(" "), entries)
        return answer, i

    def check_refusal(self, w, i, role, who, session, replaceable, answer, entries):
        holders = {h: e for h, e in entries.items() if e[0] == role}
        if answer == ["full"]:
            assert len(entries) >= self.sizes[0] and len(holders) < self.sizes[1]
            return
        assert answer[0] == "taken" and set(answer[1:]) == holders.keys() and len(holders) == self.sizes[1]
        assert {(c, m) for c, m in self.probes} == {
            (f"p:{STEM}{e[1]}", f"probe room-1 {h} {w.id} {i}") for h, e in holders.items()}
        listening = {o.id for o in self.workers if o.is_alive}
        for h, (_, its, his, hers, deadline, code, _) in holders.items():
            late = self.script.now // 1000 - int(deadline)  # who listens is given a second lease
            may_be_late = its in listening or his == "?"  # ?: for whom a place is kept
            assert h not in replaceable and code == "0" and (late < 0 or late < LEASE and may_be_late)
            assert (who == "-" or who != his) and (session == "-" or session != hers)

    def leave(self, w, reason):
        if not w.mine:
            return
        i = self.rng.choice(sorted(w.mine))
        del w.mine[i]
        was_in = i in self.entries()
        answer = self.ask(w, "leave", i, {"left": 1000, "kicked": 4411, "lost": 1006}[reason], reason)
        assert answer == ("left" if was_in else "gone")
        assert i not in self.entries() or (reason == "lost" and self.grace > 0)

    def renew(self, w):
        members = [x for i, (role, who, session) in w.mine.items() for x in (i, role, w.id, who, session)]
        others = [x for o in self.workers if o is not w for i, (role, _, _) in o.mine.items() for x in (i, role, o.id, "-", "-")]
        w.renewed = self.script.now
        assert self.ask(w, "renew", self.rng.choice("01"), *members, *others) == "renewed"
        entries = self.entries()
        for i in w.mine:
            assert int(entries[i][4]) == self.script.now // 1000 + LEASE and entries[i][1] == w.id


@pytest.mark.parametrize("grace", [0, 4_000])
@pytest.mark.parametrize("room_size,role_size", [(2, 1), (3, 2), (4, 4)])
def test_rooms_beside_their_log(db, ear, room_size, role_size, grace):
    rooms = Rooms(db, ear, f"{room_size}{role_size}{grace}", room_size, role_size, grace)
    rng = rooms.rng
    for _ in range(400):
        w = rng.choice([w for w in rooms.workers if w.is_alive])
        act = rng.choice(["enter"] * 4 + ["leave", "leave", "renew", "renew", "wait", "wait", "kill"])
        if act == "enter":
            replaceable = rng.sample(sorted(rooms.told), min(len(rooms.told), rng.choice([0, 0, 0, 1, 2])))
            rooms.enter(w, rng.choice("ab"), rng.choice(["-", "-", "u1", "u2"]), rng.choice(["-", "-", "s1"]), *replaceable)
        elif act == "leave":
            rooms.leave(w, rng.choice(["left", "lost", "kicked"]))
        elif act == "renew":
            rooms.renew(w)
        elif act == "wait":
            rooms.advance(rng.choice([1, 500, LEASE // 3, LEASE // 3, LEASE, 3 * LEASE]))
        elif sum(w.is_alive for w in rooms.workers) > 1:
            rooms.listen(w, False)
            w.mine.clear()
            if rng.random() < 0.5:  # its supervisor tells the others; else they find out
                rooms.ask(next(o for o in rooms.workers if o.is_alive), "bury", w.id)
            rooms.workers.append(Worker(rng))
            rooms.listen(rooms.workers[-1])
    for w in rooms.workers:
        w.mine.clear()
        rooms.ask(rooms.workers[-1], "bury", w.id)
    rooms.advance(LEASE + grace)
    rooms.ask(rooms.workers[-1], "renew", "1")
    assert rooms.told == {} and not db.exists(ROOM)
    rooms.close()


W = "11111111-2222-4333-8444-555555555555"
FAR = "9" * 15
STRANGE = ["", "x", "a b c", f"a {W} - - 1 0 1 extra", f"a {W} - - -1 0 1", f"a {W} - - {FAR} 0 {FAR}", f"a ? ? - {'9' * 40} 0 1",
           f"a {W} ? - {FAR}000 0 1", f'"a" {W} - - {FAR} 0 1', f"a not-a-worker - - {FAR} 0 1", f"a {W} - - {FAR} 99999 1", f"é {W} - - {FAR} 0 1",
           f"{'r' * 129} {W} - - {FAR} 0 1", "a\0b"]


@pytest.mark.parametrize("field", ["6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "stranger", "a b", "a/b", ""])
@pytest.mark.parametrize("entry", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize("verb", ["enter", "renew", "bury"])
def test_a_room_in_which_others_wrote(db, ear, field, entry, verb):
    """What cannot be an entry is taken away; what could be one is not kept for longer than one of ours could be."""
    rooms = Rooms(db, ear, room_size=2)
    db.hset(ROOM, field, entry)
    text = ["enter", W.replace("1", "2"), "b", "-", "-"] if verb == "enter" else [verb, "1"] if verb == "renew" else [verb, W]
    rooms.script([ROOM], text[0], rooms.workers[0].id, STEM, LEASE, 0, 2, 1, *text[1:])
    for channel, line in ear.heard():
        assert channel != ROOM or LINE.fullmatch(line), line
    assert not db.exists(ROOM) or db.pttl(ROOM) > 0
    rooms.script.advance(2 * LEASE * 1000)
    rooms.told = {i: e[0] for i, e in rooms.entries().items()}
    assert rooms.enter(rooms.workers[0], "a")[0] == "in" and rooms.enter(rooms.workers[1], "c")[0] == "in"
    assert rooms.told.keys() == rooms.entries().keys() and len(rooms.told) == 2
    rooms.close()


def test_a_room_of_another_type(db, ear):
    rooms = Rooms(db, ear)
    db.set(ROOM, "stranger")
    for verb in (["enter", W, "a", "-", "-"], ["leave", W, "1000", "left"], ["renew", "1"], ["bury", W]):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            rooms.script([ROOM], verb[0], rooms.workers[0].id, STEM, LEASE, 0, 2, 1, *verb[1:])
    assert db.get(ROOM) == b"stranger" and ear.heard() == []
    db.delete(ROOM)
    assert rooms.enter(rooms.workers[0], "a")[0] == "in"
    rooms.close()


# ── the stream ──

STREAM, BODY_MAX = "p:heliod:notify", 100


def netstrings(data):
    out = []
    while data:
        n, data = data.split(b":", 1)
        assert data[int(n):int(n) + 1] == b","
        out.append(data[:int(n)])
        data = data[int(n) + 1:]
    return out


class Stream:
    def __init__(self, db):
        self.db, self.script = db, db.register_script((ROOT / "worker/hub/inbox_stream.lua").read_text())
        self.added, self.owed = {}, {}  # id: what is to be said of it; id: who has it

    def take(self, worker, *dealt_with, abandoned=0):
        for i in dealt_with:
            del self.added[i], self.owed[i]
        parts = netstrings(self.script([STREAM], [PREFIX, worker, 4, BODY_MAX, abandoned, *dealt_with]))
        entries = list(zip(*[iter(parts)] * 4))
        assert len(parts) == 4 * len(entries) and len(entries) <= 4
        for i, *said in entries:
            assert said == self.added[i] and (i not in self.owed or abandoned)
            self.owed[i] = worker
        assert self.db.xlen(STREAM) == len(self.added)
        assert self.db.xpending(STREAM, "heliod")["pending"] == len(self.owed)
        return [i for i, *_ in entries]

    def add(self, *pairs):
        """Repeated fields, too: what redis-py's XADD cannot say."""
        i = self.db.execute_command("XADD", STREAM, "*", *pairs)
        field = dict(zip(pairs[::2], pairs[1::2]))
        body, own = field.get(b"body"), field.get(b"id", b"")
        wrong = (b"it has no field body" if body is None else b"its body is longer than 100 bytes" if len(body) > BODY_MAX else
                 b"its id is too long" if len(own) > 256 else b"")
        self.added[i] = [wrong] + ([b"", b""] if wrong else [body, own])


ENTRIES = [(b"body", b"{}"), (b"body", b"{}", b"id", b"7"), (b"id", b"7"), (b"body", b""), (b"body", b"x" * 101), (b"body", b"x" * 100),
           (b"body", b"1", b"body", b"2"), (b"Body", b"{}"), (b"body", b"\xff\0\r\n5:a,"), (b"body", b"{}", b"id", b"i" * 257),
           (b"", b""), (b"body", b"{}", b"more", b"y" * 1000, b"id", b"\xff")]


@pytest.mark.parametrize("seed", range(2))
def test_a_stream_is_shared_out(db, seed):
    """Workers that take, die and come; each entry is taken until somebody has dealt with it, and then no more."""
    rng, stream = random.Random(seed), Stream(db)
    workers, last = ["w1", "w2", "w3"], []
    for n in range(300):
        for _ in range(rng.choice([0, 0, 1, 1, 5])):
            stream.add(*rng.choice(ENTRIES))
        worker = rng.choice(workers)
        mine = [i for i, w in stream.owed.items() if w == worker]
        if rng.random() < 0.1:  # its successor has another name
            workers[workers.index(worker)] = f"w{n + 10}"
        else:
            last = stream.take(worker, *rng.sample(mine, rng.randint(0, len(mine))), abandoned=rng.choice([0, 0, 600_000]))
    for _ in range(1000):
        if not stream.added:
            break
        db.execute_command("XCLAIM", STREAM, "heliod", "dead", 0, *stream.owed, "IDLE", 3_600_000) if stream.owed else None
        last = stream.take("last", abandoned=600_000)
        stream.take("last", *last)
    assert not stream.added and db.xlen(STREAM) == 0


def test_a_stream_that_vanishes(db):
    """Or of which somebody else took an entry: the others go on."""
    stream = Stream(db)
    assert stream.take("w1") == []
    stream.add(b"body", b"1")
    assert len(stream.take("w1")) == 1
    db.delete(STREAM)
    stream.added, stream.owed = {}, {}
    stream.add(b"body", b"2")
    assert len(taken := stream.take("w2")) == 1
    db.xdel(STREAM, taken[0])
    del stream.added[taken[0]]
    db.execute_command("XCLAIM", STREAM, "heliod", "w2", 0, taken[0], "IDLE", 3_600_000)
    stream.owed.clear()
    stream.add(b"body", b"3")
    assert len(stream.take("w1")) == 1
    db.delete(STREAM)
    db.set(STREAM, "stranger")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        stream.take("w1")


# ── the register of workers ──

REGISTER = ["p:heliod:{workers}", "p:heliod:{workers}:about"]


def test_the_register_beside_a_model(db, ear):
    """Who renews is in it; who does not, or left, is not; nothing lives for ever."""
    rng, script = random.Random("register"), Clocked(db, "worker/hub/cluster.lua")
    ends = {}
    for n in range(600):
        worker = f"w{rng.randrange(6)}"
        script.advance(rng.choice([0, 1000, 500_000, LEASE * 500]))
        now = script.now // 1000
        if rng.random() < 0.1:
            db.zadd(REGISTER[0], {"stranger": rng.choice(["-inf", -1, 1.5, now])})
        about, question = rng.choice(["{}", '{"n":1}', "{}", ""]), rng.choice(["", '{"ask":%d}' % n])
        answer = script(REGISTER, worker, about, LEASE, question).decode()
        ends = {w: e for w, e in ends.items() if e > now and w != worker}
        if about:
            ends[worker] = now + LEASE
        assert {i.decode(): int(e) for i, e in db.zrange(REGISTER[0], 0, -1, withscores=True)} == ends
        assert {i.decode() for i in db.hkeys(REGISTER[1])} == ends.keys()
        assert ear.heard() == ([("p:heliod:w", question)] if question else [])
        assert {line.split(" ")[0] for line in answer.split("\n") if line} == (ends.keys() if question else set())
        assert all(db.pttl(key) > 0 for key in db.keys("p:*"))
