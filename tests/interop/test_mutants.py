"""Texts and envelopes with bytes changed at random, to both servers: what one takes for JSON, an event, an envelope, so does the other."""
import json
import os
import random

import redis

from sides import NOT_JSON

MUTANTS, SEED = int(os.environ.get("INTEROP_MUTANTS", 1500)), int(os.environ.get("INTEROP_SEED", 0))
NOT_AUTHENTICATED = '{"event":"error","data":{"message":"Not authenticated"}}'
PIECES = ["", " ", ",", ":", '"', "\\", "{", "}", "[", "]", "null", "true", "false", "0", "-", "1", "e5", ".5", "\\u0041",
          "\\ud83d", "\\n", "é", "😀",
          "\t", "\n", "\u0000", "event", "heartbeat", "data", "//", "\u2028", "\ufeff", "NaN", "1e999", "\\/", "\\x", "'", "+1", "00"]


GENTLE = [" ", "\n", "x", "1", "\\n", "\\u0041", "é", "\\\\"]


def mutants(seed, texts):
    r = random.Random(seed + 10 * SEED)
    for _ in range(MUTANTS):
        text = list(r.choice(texts))
        pieces, cuts = (GENTLE, [0]) if r.random() < 0.4 else (PIECES, [0, 0, 1, 1, 2, 6])
        for _ in range(r.choice([1, 1, 1, 2])):
            at = r.randrange(len(text) + 1)
            text[at:at + r.choice(cuts)] = [r.choice(pieces)]
        yield "".join(text)


MESSAGES = ['{"event":"custom","data":{"a":[1,2.5e3,"x"],"b":null}}', '{"event":"heartbeat"}',
            '{ "event":"heartbeat" , "data" : [ "x" , { } ] }', ' {"data":-0.1E+2 , "id":"7","event":"join"} ',
            '{"event":"a\\u00e9\\"\\\\","data":"é😀"}', '[{"event":"x"}]', '{"event":true}', '{"data":{"event":"x"},"event":"leave"}']


async def answers(s, texts):
    """Per text the answer, if any. Two texts behind each, with known and different answers, keep them apart."""
    c = await s.begin().open()
    seen = []
    for start in range(0, len(texts), 100):
        for text in texts[start:start + 100]:
            await c.raw(text, '{"event":"fence"}', "fence")
        for _ in texts[start:start + 100]:
            first, second = await c.get(), await c.get()
            if (first, second) == (NOT_AUTHENTICATED, NOT_JSON):
                seen.append(None)
                continue
            seen.append(first)
            rest = [second, await c.get()]
            assert rest == [NOT_AUTHENTICATED, NOT_JSON], (first, rest)
    return seen


def is_no_event(text):
    """JSON, but no object with a string for an event: dropped by the original or taken for an event, `Invalid message format` from heliod
    (A2 rows 2, 3, 7; A12)."""
    m = json.loads(text)
    return not isinstance(m, dict) or not isinstance(m.get("event"), str) or not m["event"]


async def test_messages(genuine, heliod, record_property):
    texts = [t for t in mutants(1, MESSAGES) if "authenticate" not in t]
    kinds = {}
    for text, theirs, ours in zip(texts, await answers(genuine, texts), await answers(heliod, texts)):
        if theirs != ours:
            assert ours == NOT_JSON and is_no_event(text), (text, theirs, ours)
        kinds[str(theirs), theirs == ours] = kinds.get((str(theirs), theirs == ours), 0) + 1
    assert all(kinds.get((k, True), 0) > 20 for k in ("None", NOT_JSON, NOT_AUTHENTICATED)), kinds
    record_property("mutants messages", f"{sum(n for (_, same), n in kinds.items() if same)} the same; otherwise, as intended: "
                                        f"{sum(n for (_, same), n in kinds.items() if not same)} that are JSON but no event")


ENVELOPES = ['{"serverId":"s","type":"broadcast","event":"x","data":{"a":[1,"é"]}}',
             '{"serverId":"s","type":"room","target":"public-a","event":"x"}',
             '{"serverId":"s","type":"user","target":"u1","event":"x","data":null}',
             '{"serverId":"s","type":"room","target":"public-a","event":"x","exclude":["y"]}',
             ' { "event" : "x\\n" , "data" : [ ] , "type" : "broadcast" , "serverId" : "t" } ']


def same(theirs, ours):
    """Equal as a JSON reader sees them; the original writes anew what heliod passes on as it came (A12)."""
    return theirs == ours or [json.loads(t, parse_int=float) for t in theirs] == [as_read(json.loads(t, parse_int=float)) for t in ours]


def as_read(v):
    if isinstance(v, dict):
        return {k: as_read(x) for k, x in v.items()}
    if isinstance(v, list):
        return [as_read(x) for x in v]
    return None if v in (float("inf"), float("-inf")) else v


async def test_envelopes(genuine, heliod, app, redis_server, record_property):
    g, h = await genuine.begin().enter("user u1"), await heliod.begin().enter("user u1")
    await g.join("public-a")
    await h.join("public-a")
    r, delivered, dropped = redis.Redis(port=redis_server.port), 0, 0
    for text in mutants(2, ENVELOPES):
        r.publish("ws:broadcast", text)
        r.publish("ws:broadcast", '{"serverId":"s","type":"broadcast","event":"fence","data":null}')
        theirs, ours = [await c.until('{"event":"fence","data":null}') for c in (g, h)]
        assert same(theirs, ours), (text, theirs, ours)
        delivered += bool(theirs)
        dropped += not theirs
    assert delivered > 100 and dropped > 100
    record_property("mutants envelopes", f"{delivered} delivered by both, {dropped} by neither")
