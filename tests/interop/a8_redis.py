"""A8: what is published on Redis, and what is done with what is published there."""
import json
import re

import redis

from rows import row


class Ear:
    """Everything on channels ws:*, server ids by name."""

    def __init__(self, s):
        self.s = s
        self.r = redis.Redis(port=s.redis_port)
        self.sub = self.r.pubsub()
        self.sub.psubscribe("ws:*")
        while (self.sub.get_message(timeout=5) or {}).get("type") != "psubscribe":
            pass

    def until_fence(self):
        self.r.publish("ws:fence", "fence")
        heard = []
        while (m := self.sub.get_message(timeout=10))["channel"] != b"ws:fence":
            heard.append([m["channel"].decode(), m["data"].decode()])
        return [[self.s.rename(x) for x in h] for h in heard]


def by_server(heard):
    return [[channel, re.sub(r'"serverId":"[^"<]{36}"', '"serverId":"<server>"', text)] for channel, text in heard]


SENDS = [{"room": "public-rr", "event": "news", "data": "text"}, {"room": "public-rr", "event": "é", "data": None},
         {"event": "news", "data": {"n": 1}}, {"room": "ws-default", "event": "x", "data": False},
         {"room": "u1", "event": "x", "data": [1, "é"]},
         {"room": "public-rr", "event": "x", "data": {"a": {"b": [1.5, -2, True]}}}]


@row("A8")
async def envelopes_of_a_sending_application(s):
    """The application sends in answer to a client's event; the original calls `send`, heliod has it by hook."""
    c = await s.enter()
    await c.join("public-rr")
    ear = Ear(s)
    seen = {}
    for send in SENDS + [{"client": c.id, "event": "direct", "data": {"n": 1}}]:
        heard = await c.told(json.dumps({"event": "order", "data": [send]}))
        seen[s.rename(json.dumps(send))] = [heard, by_server(ear.until_fence())[:1]]
    return seen


@row("A8")
async def nothing_else_is_published(s):
    ear = Ear(s)
    c = await s.open()
    await c.heard('{"event":"x"}', '{"event":"heartbeat"}')
    await c.enter()
    await c.join("public-a")
    await c.leave("public-a")
    await c.heard('{"event":"authenticate"}', '{"event":"heartbeat"}')
    d = await s.open()
    await d.say("authenticate", {"token": "null"})
    await d.get()
    await d.get()
    await c.ws.close()
    await s.calls_like("plain", "disconnected")
    return {"published": ear.until_fence(), "by": c.connected["userId"]}


async def published(s, *payloads, channel="ws:broadcast"):
    """What two clients of users u1 and u2 hear: the first is <c1>, whose id stands for {c1} in the payloads."""
    c, d = await s.enter("user u1"), await s.enter("user u2")
    await c.join("public-a")
    await d.join("public-a")
    r = redis.Redis(port=s.redis_port)
    seen = {}
    for payload in payloads:
        text = payload.replace("{c1}", c.id) if isinstance(payload, str) else payload
        r.publish(channel, text)
        seen[s.rename(text) if isinstance(text, str) else repr(text)] = await s.drain(c, d)
    return seen


E = '"serverId":"s","event":"x"'
GOOD = [
    '{"serverId":"s","type":"broadcast","event":"x","data":{"a":1}}', '{"serverId":"s","type":"broadcast","event":"x"}',
    '{"serverId":"s","type":"broadcast","event":"x","data":null}', '{"serverId":"s","type":"broadcast","event":"x","data":false}',
    '{"serverId":"s","type":"broadcast","event":"","data":0}', '{"serverId":"","type":"broadcast","event":"x","data":""}',
    ' { "data" : "é" , "event":"x","type":"broadcast" , "serverId":"s"} ',
    '{"serverId":"s","type":"broadcast","event":"x","data":1,"more":2,"id":3}',
    '{"serverId":"s","type":"broadcast","event":"connected","data":{"id":"x"}}', '{"serverId":"s","type":"broadcast","event":"error"}',
    '{"serverId":"s","type":"broadcast","event":"heartbeat"}', '{"serverId":"s","type":"broadcast","event":"encrypted","data":1}',
    '{"serverId":"s","type":"broadcast","target":"x","event":"x"}', '{"serverId":"s","type":"broadcast","target":5,"event":"x"}',
    '{"serverId":"emitter","type":"broadcast","event":"x"}', '{"serverId":"heliod","type":"broadcast","event":"x"}',
    '{"serverId":"s","type":"room","target":"public-a","event":"x","data":[]}',
    '{"serverId":"s","type":"room","target":"{c1}","event":"x"}',
    '{"serverId":"s","type":"client","target":"{c1}","event":"x","data":1}',
    '{"serverId":"s","type":"user","target":"u1","event":"x","data":1}',
    '{"serverId":"s","type":"user","target":"u2","event":"é\\n\\"","data":"😀"}',
    '{"serverId":"s","type":"user","target":"{c1}","event":"x"}',
    '{"serverId":"s","type":"room","target":"u1","event":"x"}', '{"serverId":"s","type":"client","target":"u1","event":"x"}',
    '{"serverId":"s","type":"client","target":"public-a","event":"x"}', '{"serverId":"s","type":"room","target":"nobody","event":"x"}',
]


@row("A8 receiving")
async def good_envelopes(s):
    return await published(s, *GOOD)


EXCLUDES = ['["{c1}"]', '["{c1}","{c1}","y"]', "[]", "null", '["u1"]', '["x"]', "5", "true", '{"a":1}', '["{c1}",5,null]', "[[]]",
            '""', '"abc"', "0", "false", '{"length":0}']


@row("A8 receiving")
async def excludes(s):
    kinds = ['"type":"room","target":"public-a"', '"type":"broadcast"', '"type":"client","target":"{c1}"', '"type":"user","target":"u1"']
    return await published(s, *["{%s,%s,\"exclude\":%s}" % (E, k, e) for k in kinds for e in EXCLUDES])


UNUSABLE = '{%s,"type":"broadcast","exclude":{"length":9}}' % E


@row("A9", at={UNUSABLE: ([[], []], [['{"event":"x"}']] * 2, "A9 Q, A12: an unusable exclude excludes nobody")})
async def an_exclude_with_a_length(s):
    """The original's Redis reader throws and leaves what came in the same packet: it is asked something before the next is sent."""
    c, d = await s.enter("user u1"), await s.enter("user u2")
    redis.Redis(port=s.redis_port).publish("ws:broadcast", UNUSABLE)
    for _ in range(3):
        s.app.control("calls", server="nobody")
    return {UNUSABLE: await s.drain(c, d)}


BAD = [
    "", "x", "5", "null", "[]", "{}", '""', "{", '{"serverId":"s"}', '{"serverId":"s","type":"broadcast"}',
    '{"type":"broadcast","event":"x"}',
    '{"serverId":5,"type":"broadcast","event":"x"}', '{"serverId":null,"type":"broadcast","event":"x"}',
    '{"serverId":"s","type":"broadcast","event":5}', '{"serverId":"s","type":"broadcast","event":null}',
    '{"serverId":"s","type":"Broadcast","event":"x"}', '{"serverId":"s","type":"broadcast ","event":"x"}', '{"serverId":"s","event":"x"}',
    '{"serverId":"s","type":["broadcast"],"event":"x"}', '{"serverId":"s","type":null,"event":"x"}',
    '{"serverId":"s","type":5,"event":"x"}',
    '{"serverId":"s","type":"room","event":"x"}', '{"serverId":"s","type":"room","target":"","event":"x"}',
    '{"serverId":"s","type":"room","target":null,"event":"x"}', '{"serverId":"s","type":"room","target":["public-a"],"event":"x"}',
    '{"serverId":"s","type":"client","target":"","event":"x"}', '{"serverId":"s","type":"user","target":"","event":"x"}',
    '{"serverId":"s","type":"user","target":["u1"],"event":"x"}', '{"serverId":"s","type":"broadcast","event":"x","data":NaN}',
    '{"serverId":"s","type":"broadcast","event":"x"} x', '\ufeff{"serverId":"s","type":"broadcast","event":"x"}',
    '{"serverId":"s","type":"broadcast","event":"x","data":01}', '{"serverId":"s","type":"room","target":"PUBLIC-A","event":"x"}',
]


LIST = '{"serverId":"s","type":"room","target":["public-a"],"event":"x"}'


@row("A8 receiving", at={LIST: ([['{"event":"x"}']] * 2, [[], []],
                                "A8: non-string targets reach nobody; the original takes a list of one name for it")})
async def bad_envelopes(s):
    return await published(s, *BAD)


@row("A8 receiving")
async def the_channel_is_not_looked_at(s):
    texts = ['{%s,"type":"room","target":"public-a"}' % E, '{%s,"type":"client","target":"{c1}"}' % E,
             '{%s,"type":"user","target":"u2"}' % E]
    return {f"{channel} {text}": heard for channel in ["ws:broadcast", "ws:user:u1", "ws:room:ws-default", "ws:room:public-a"]
            for text, heard in (await published(s, *texts, channel=channel)).items()}


PASSED = '{"event":"x","data":%s}'
NUMBERS = {"9007199254740993": "9007199254740992", "1e400": "null", "1.0": "1", "1E2": "100", "-0": "0", '"\\u00e9\\/"': '"é/"',
           "[ 1 , 2 ]": "[1,2]"}
UNTOUCHED = "A8 Q, A12: the bytes of data pass through untouched"


@row("A8 receiving", at={n: ([PASSED % m], [PASSED % n], UNTOUCHED) for n, m in NUMBERS.items()})
async def data_is_read_and_written(s):
    c = await s.enter()
    r = redis.Redis(port=s.redis_port)
    seen = {}
    for number in [*NUMBERS, '"\\ud800"', "12345678901234", "0.1", '"😀"']:
        r.publish("ws:broadcast", '{"serverId":"s","type":"broadcast","event":"x","data":%s}' % number)
        seen[number] = await s.drain(c)
    return seen


INTERNAL = '{%s,"type":"room","target":"ws:internal:broadcast"}' % E


@row("A9", heard=(['{"event":"x"}'], [], "A9 Q: the internal topic is nobody's room"))
async def the_internal_topic(s):
    c = await s.enter()
    redis.Redis(port=s.redis_port).publish("ws:broadcast", INTERNAL)
    return {"heard": await s.drain(c)}


@row("A9", at={"client, unauthorized": (['{"event":"x"}'], [], "A9 row 3, A12: nothing but errors before authentication"),
               "room, unauthorized": (['{"event":"x"}'], [], "A9 row 3, A12: nothing but errors before authentication"),
               "client, authenticating": (['{"event":"x"}'], [], "A9 row 3, A12: nothing but errors before authentication")})
async def delivery_before_authentication(s):
    """The test knows the ids; a client cannot."""
    r = redis.Redis(port=s.redis_port)
    before = set(s.ids())
    c = await s.open()
    await c.heard()
    (id_,) = set(s.ids()) - before
    kinds = {"client": '{%s,"type":"client","target":"%s"}', "room": '{%s,"type":"room","target":"%s"}',
             "broadcast": '{%s,"type":"broadcast","x":"%s"}',
             "room, exclude": '{%s,"type":"room","target":"%s","exclude":["y"]}'}
    seen = {}
    watcher = await s.enter("user watcher")

    async def hear(state, *names):
        for name in names:
            r.publish("ws:broadcast", kinds[name] % (E, id_))
            await s.drain(watcher)
            seen[f"{name}, {state}"] = await c.heard()

    await hear("unauthorized", *kinds)
    await c.say("authenticate", {"token": "sleep 1500 u1"})
    await hear("authenticating", "client", "broadcast")
    return {**seen, "connected": (await c.get())[:20]}


@row("A8")
async def a_thousand_in_order(s):
    c, d = await s.enter("user u1"), await s.enter("user u2")
    await c.join("public-a")
    pipe = redis.Redis(port=s.redis_port).pipeline(transaction=False)
    kinds = [("ws:broadcast", '"type":"broadcast"'), ("ws:room:public-a", '"type":"room","target":"public-a"'),
             ("ws:user:u1", '"type":"user","target":"u1"'),
             (f"ws:client:{c.id}", f'"type":"client","target":"{c.id}"'), (f"ws:room:{c.id}", f'"type":"room","target":"{c.id}"'),
             ("ws:room:ws-default", '"type":"room","target":"ws-default","exclude":["%s"]' % d.id)]
    for i in range(1000):
        channel, kind = kinds[i % len(kinds)]
        pipe.publish(channel, '{"serverId":"s",%s,"event":"n","data":%d}' % (kind, i))
    pipe.execute()
    first, second = await s.drain(c, d)
    return {"first": [json.loads(t)["data"] for t in first], "second": [json.loads(t)["data"] for t in second]}


@row("A8")
async def of_the_genuine_emitter(s):
    c, d = await s.enter("user u1"), await s.enter("user u2")
    await c.join("public-a")
    await d.join("public-a")
    emits = [("toClient", {"clientId": c.id, "event": "x", "data": None}), ("toUser", {"userId": "u1", "event": "x"}),
             ("toRoom", {"room": "public-a", "event": "x", "data": {"a": 1}, "exclude": [c.id]}),
             ("toRoom", {"room": "public-a", "event": "x", "data": "é"}),
             ("broadcast", {"event": "x", "data": "é"}), ("toUser", {"userId": "u3", "event": "x", "data": 1})]
    ear, seen = Ear(s), {}
    for to, q in emits:
        s.app.emit(to, **q)
        seen[s.rename(json.dumps([to, q]))] = [ear.until_fence(), await s.drain(c, d)]
        ear.until_fence()
    return seen
