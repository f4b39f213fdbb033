"""A5: rooms."""
import json

from rows import row


async def members(s, room, *clients, **more):
    """Which of the clients a message to the room reaches."""
    s.app.emit("toRoom", room=room, event="to", data=room, **more)
    heard = await s.drain(*clients)
    heard = [heard] if len(clients) == 1 else heard
    for h in heard:
        assert h in ([], [s.rename('{"event":"to","data":%s}' % json.dumps(room, ensure_ascii=False))]), h
    return [c.name for c, h in zip(clients, heard) if h]


@row("A5")
async def automatic_rooms(s):
    a, b = await s.enter(), await s.enter("anonymous")
    c = await s.enter(profile="lobby")
    return {room: await members(s, room, a, b, c) for room in ["ws-default", "ws-notification", "lobby", "u1", "public-a",
                                                               "ws:internal"]} | {
        "own": [await members(s, x.id, a, b, c) for x in (a, b, c)]}


BAD_JOINS = [None, 5, "public-a", [], {}, {"rooms": None}, {"rooms": "public-a"}, {"rooms": {"0": "public-a"}}, {"rooms": {}},
             {"rooms": 7},
             {"rooms": [5, None, "", "ws:x", "ws:", {"a": 1}, ["public-a"], True]}, {"rooms": []}, {"Rooms": ["public-a"]}]


@row("A5")
async def what_is_ignored(s):
    c = await s.enter()
    seen = {}
    for data in BAD_JOINS:
        text = json.dumps({"event": "join", "data": data})
        seen[text] = await c.told(text, text.replace("join", "leave"))
    await c.told('{"event":"join"}', '{"event":"leave"}')
    return {**seen, "asked": [x for x in s.calls() if x["hook"] == "rooms"], "public-a": await members(s, "public-a", c)}


NAMES = ["public-a", "public-A", "public-é", "public-😀", "public-*", "public-[a]", "public-?", "public-a b\n", 'public-"',
         "public-" + "x" * 249,
         "public-" + "ü" * 249, "public-" + "😀" * 124 + "x"]
TOO_LONG = ["public-" + "x" * 250, "public-" + "😀" * 125]


@row("A5")
async def names_are_literal(s):
    c, d = await s.enter(), await s.enter()
    for name in NAMES + TOO_LONG:
        await c.join(name)
    seen = {name: await members(s, name, c, d) for name in NAMES + TOO_LONG + ["public-b", "PUBLIC-A", "public-"]}
    return {**seen, "asked": [x["rooms"] for x in s.calls() if x["hook"] == "rooms"]}


@row("A5", at={"not asked for": (["c1"], [], "A10: names not asked for are ignored")})
async def the_room_check_decides(s):
    c = await s.enter()
    await c.join("public-a", "private", "ws:x", 5, "public-b", "public-a")
    await c.join("private")
    await c.join("public-c", "public-throw")
    await c.join("public-d", "public-null")
    await c.join("public-e", "public-more")
    seen = {f"public-{x}": await members(s, f"public-{x}", c) for x in "abcde"}
    seen["not asked for"] = await members(s, "public-not-asked-for", c)
    return {**seen, "private": await members(s, "private", c), "asked": [x for x in s.calls() if x["hook"] == "rooms"]}


@row("A5")
async def without_a_room_check_nothing_is_joined(s):
    c = await s.enter(profile="bare")
    await c.say("join", {"rooms": ["public-a"]})
    await c.flush()
    return {"public-a": await members(s, "public-a", c), "own": await members(s, c.id, c),
            "ws-default": await members(s, "ws-default", c)}


@row("A5")
async def joining_twice_is_joining_once(s):
    c = await s.enter()
    await c.join("public-a", "public-a")
    await c.join("public-a")
    twice = await members(s, "public-a", c)
    await c.leave("public-a")
    return {"in": twice, "out": await members(s, "public-a", c)}


@row("A5")
async def leaving(s):
    c = await s.enter()
    await c.join("public-a", "public-b")
    await c.say("leave", {"rooms": ["public-a", "never joined", 7, None, "ws-default", "ws:internal:broadcast", c.id]})
    await c.flush()
    seen = {r: await members(s, r, c) for r in ["public-a", "public-b", "ws-default", "ws-notification"]}
    seen["own"] = await members(s, c.id, c)
    s.app.emit("toClient", clientId=c.id, event="direct", data=1)
    s.app.emit("toUser", userId="u1", event="user", data=1)
    seen["direct, and the fence"] = await s.drain(c)
    await c.join("ws-default", c.id)
    seen["not again"] = await members(s, "ws-default", c) + await members(s, c.id, c)
    s.app.control("permit", rooms=["ws-default", c.id])
    await c.join("ws-default", c.id)
    seen["again"] = await members(s, "ws-default", c) + await members(s, c.id, c)
    return seen


@row("A5")
async def the_room_of_another(s):
    c, d = await s.enter(), await s.enter("user u2")
    await c.join(d.id)
    refused = await members(s, d.id, c, d)
    s.app.control("permit", rooms=[d.id])
    await c.join(d.id)
    joined = await members(s, d.id, c, d)
    s.app.emit("toClient", clientId=d.id, event="direct", data=1)
    return {"refused": refused, "joined": joined, "direct": await s.drain(c, d)}


@row("A5")
async def a_join_is_effective_for_what_follows(s):
    c = await s.enter()
    heard = []
    for i in range(20):
        texts = [json.dumps(m) for m in [{"event": "join", "data": {"rooms": [f"public-{i}"]}},
                                         {"event": "order", "data": [{"room": f"public-{i}", "event": "in", "data": i}]},
                                         {"event": "leave", "data": {"rooms": [f"public-{i}"]}},
                                         {"event": "order", "data": [{"room": f"public-{i}", "event": "out", "data": i}]}]]
        heard += await c.told(*texts)
    return {"heard": heard}


@row("A5")
async def those_who_left_are_gone(s):
    c, d = await s.enter(), await s.enter()
    await c.join("public-a")
    await d.join("public-a")
    await c.ws.close()
    await s.calls_like("plain", "disconnected")
    return {"left": await members(s, "public-a", d), "direct": [s.app.emit("toClient", clientId=c.id, event="x", data=1),
                                                                await s.drain(d)][1]}


@row("A5")
async def a_hundred_names_at_once(s):
    c = await s.enter()
    await c.join(*[f"public-{i}" for i in range(100)])
    return {str(i): await members(s, f"public-{i}", c) for i in (0, 50, 99)}
