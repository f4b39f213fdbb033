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
        return self.script(keys, operation, CAPACITY, MAX_AGE, user, *more)

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
