"""A2: the client envelope and its dispatch."""
import json

from rows import row
from sides import NOT_JSON

NOT_JSON_TEXTS = ["", " ", "\n", "\ufeff{}", "hello", '{"event":"x"} x', "NaN", '{"event":"x","data":NaN}', '{"event":"a\tb"}', "{",
                  '{"event":"x","data":01}', "{'event':'x'}", '{"event":"x",}', '{"event":"x","data":[1,]}', '{"event":"x"', "[", "nul",
                  '{"event":"x","data":+1}', '{"event":"x","data":.5}', '{"event":"x","data":1.}', '{"event":"x","data":"\\x"}',
                  '{"event":"x","data":"\\u12"}', '{"event":"x"/**/}', "undefined", "\u00a0{}", '{"event" "x"}', '{event:"x"}', "{}{}"]


@row("A2.1")
async def not_json(s):
    seen = {}
    c = await s.open()
    for state in ["unauthorized", "authenticated"]:
        for text in NOT_JSON_TEXTS:
            await c.raw(text)
            seen[f"{state} {text!r}"] = await c.get()
        if state == "unauthorized":
            await c.enter()
    return seen


NO_OBJECT = ["null", "5", "true", '"x"', "[]", "-0", '["event"]']
NO_EVENT = ["{}", '{"event":""}', '{"event":null}', '{"event":0}', '{"event":false}', '{"Event":"x"}', '{"data":{"event":"x"}}']
DROPPED = "A2 rows 2 and 3 Q, A12: answered, not dropped"


@row("A2.2", at={k: ([], [NOT_JSON], DROPPED) for k in NO_OBJECT})
async def json_but_no_object(s):
    c = await s.open()
    return {text: await heard_no_event(c, text) for text in NO_OBJECT}


@row("A2.3", at={k: ([], [NOT_JSON], DROPPED) for k in NO_EVENT})
async def no_event(s):
    c = await s.open()
    return {text: await heard_no_event(c, text) for text in NO_EVENT}


async def heard_no_event(c, text):
    """Fenced by an event that is not allowed yet, since the answer may be the one for what is not JSON."""
    await c.raw(text, '{"event":"fence"}')
    return await c.until('{"event":"error","data":{"message":"Not authenticated"}}')


EVENTS = ["join", "leave", "custom", "connected", "error", "disconnect", "encrypted", "Authenticate", " authenticate", "HEARTBEAT",
          "heartbeat ", "publish", "\u0000", "é", "authenticate\u0000"]


@row("A2.6")
async def not_authenticated(s):
    c = await s.open()
    return {repr(e): await c.heard(json.dumps({"event": e, "data": {"rooms": ["public-a"]}})) for e in EVENTS}


@row("A2.4")
async def heartbeats_are_never_answered(s):
    c = await s.open()
    texts = ['{"event":"heartbeat"}', '{"event":"\\u0068eartbeat"}', '{"event":"heartbeat","id":"1","data":[1]}',
             '{"id":1, "data" : {"event":"x"} , "event":"heartbeat"}']
    before = await c.heard(*texts)
    await c.enter()
    return {"before": before, "after": await c.heard(*texts)}


@row("A2.5")
async def authenticate_again(s):
    c = await s.open()
    await c.say("authenticate", {"token": "sleep 100 u1"})
    during = await c.heard('{"event":"authenticate"}', '{"event":"authenticate","data":{"token":"null"}}')
    connected = await c.get()
    return {"during": during, "connected": connected[:20], "after": await c.heard('{"event":"authenticate"}',
                                                                                  '{"event":"\\u0061uthenticate"}')}


@row("A2.6")
async def during_authentication(s):
    c = await s.open()
    await c.say("authenticate", {"token": "sleep 100 u1"})
    during = await c.heard('{"event":"custom"}', '{"event":"join","data":{"rooms":["public-a"]}}', '{"event":"heartbeat"}')
    return {"during": during, "connected": (await c.get())[:20]}


CUSTOM = [*EVENTS[3:], "a" * 1000, "order ", "__proto__", "ws:x"]


@row("A2.7")
async def custom_events_reach_the_application(s):
    c = await s.enter("user ü")
    return {repr(e): await c.told(json.dumps({"event": e, "data": {"rooms": ["public-a"]}})) for e in CUSTOM}


@row("A2.7")
async def the_application_sees_data_and_id(s):
    c = await s.enter()
    more = ['"data":null', '"data":false', '"data":0', '"data":""', '"data":[]', '"data":{"a":{"b":[1,"é\\u00e9\\n"]}}', '"id":"7"',
            '"id":7,"data":1', '"id":null', '"other":1,"event2":"y","data":"d"']
    seen = {m: await c.told('{"event":"x",%s}' % m) for m in more}
    seen["nothing"] = await c.told('{"event":"x"}')
    anonymous = await s.enter("anonymous")
    seen["anonymous"] = await anonymous.told('{"event":"x","data":1}')
    return seen


ORIGINAL_TRUTHY = "A2 row 7 Q, A12: an event is a string"


def told_event(event):
    return ['{"event":"told","data":{"userId":"u1","event":%s}}' % event]


@row("A2.7", at={e: (told_event(e), [NOT_JSON], ORIGINAL_TRUTHY) for e in ["5", "true", '{"a":1}', "[1]"]})
async def events_that_are_no_strings(s):
    c = await s.enter()
    return {e: await c.told('{"event":%s}' % e) for e in ["5", "true", '{"a":1}', "[1]"]}


@row("A2")
async def duplicate_members_the_last_wins(s):
    c = await s.enter()
    return {text: await c.told(text) for text in [
        '{"event":"heartbeat","event":"x"}', '{"event":"x","event":"heartbeat"}', '{"event":"x","data":1,"data":2}',
        '{"event":"x","\\u0065vent":"y"}', '{"event":"x","id":1,"id":"2"}']}


@row("A2")
async def a_failing_application_is_only_logged(s):
    c = await s.enter()
    return {"throws": await c.told('{"event":"throw"}'), "rejects": await c.told('{"event":"reject"}'),
            "both": await c.told('{"event":"reject"}', '{"event":"throw"}', '{"event":"x"}')}


@row("A2")
async def a_burst_keeps_its_order(s):
    c = await s.enter()
    heard = await c.told(*['{"event":"n","data":%d}' % i for i in range(300)])
    return {"data": [json.loads(h)["data"]["data"] for h in heard]}


@row("A2")
async def without_a_handler_events_are_dropped(s):
    c = await s.enter(profile="bare")
    return {"custom": await c.heard('{"event":"x"}', '{"event":"order","data":5}', '{"event":"connected"}')}


@row("A2")
async def two_hundred_errors_close_nothing(s):
    c = await s.open()
    await c.raw(*["x"] * 200)
    return {"errors": [await c.get() for _ in range(200)], "then": await c.heard()}
