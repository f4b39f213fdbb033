"""A3, A4, A6: the state machine, its timers, its ends."""
import asyncio
import json
import time

from rawws import Raw, frame
from rows import row
from sides import UUID


async def ending(c):
    heard = [await c.get()]
    while not heard[-1].startswith("closed "):
        heard.append(await c.get())
    return heard


@row("A3")
async def connected_has_its_shape(s):
    seen = {}
    for token in ["user u1", "user é \"x\"\n😀", "anonymous", "user "]:
        c = await s.open()
        await c.say("authenticate", {"token": token})
        text = await asyncio.wait_for(c.ws.recv(), 20)
        id_ = json.loads(text)["data"]["id"]
        assert UUID.fullmatch(id_)
        seen[token] = s.rename(text).replace(id_, "<id>")
    return seen


@row("A3")
async def an_empty_user_is_reached_by_nobody(s):
    c = await s.enter("user ")
    s.app.emit("toUser", userId="", event="x", data=1)
    s.app.emit("toUser", userId="undefined", event="x", data=1)
    return {"heard": await s.drain(c), "user": c.connected["userId"]}


@row("A3")
async def credentials_are_passed_as_they_are(s):
    texts = ["", ',"data":null', ',"data":{}', ',"data":5', ',"data":"text"', ',"data":[1,{"a":null}]', ',"data":false',
             ',"data":0', ',"data":""',
             ',"data":{"type":"Bearer","n":{"m":[1.5]}}']
    seen = {}
    for text in texts:
        c = await s.open()
        await c.raw('{"event":"authenticate"%s}' % text)
        seen[text] = json.loads(await c.ws.recv())["data"]["userId"]
    seen["told"] = [x["data"] for x in s.calls() if x["hook"] == "authenticate"]
    return seen


@row("A6")
async def refusals(s):
    seen = {}
    for token in ["null", "false", "throw", "reject", "", "unknown"]:
        c = await s.open()
        await c.say("authenticate", {"token": token})
        seen[token] = await ending(c)
    return seen


@row("A3")
async def nothing_behind_a_refusal(s):
    c = await s.open()
    await c.say("authenticate", {"token": "null"})
    await c.say("authenticate", {"token": "user u1"})
    first = await ending(c)
    told = [x for x in s.calls() if x["hook"] == "authenticate"]
    return {"ending": [t for t in first if "Already" not in t], "asked": len(told)}


@row("A3", early=(['{"event":"told","data":{"userId":"u1","event":"x"}}'], ['{"event":"error","data":{"message":"Not authenticated"}}'],
                  "A3 Q: right behind `authenticate` a message may be early"))
async def right_behind_authenticate(s):
    """Both in one segment, so that the check of the first is not over when the second is read."""
    r = Raw(s.port()).open("/ws").send(frame(1, b'{"event":"authenticate","data":{"token":"user u1"}}') + frame(1, b'{"event":"x"}'))
    heard = [r.frame()[2].decode() for _ in range(2)]
    r.close()
    return {"early": [h for h in heard if "connected" not in h], "connected": any(h.startswith('{"event":"connected"') for h in heard)}


@row("A3")
async def the_application_is_told(s):
    c = await s.enter("user u1")
    d = await s.enter("anonymous")
    first = await s.calls_like("plain", "connected", "connected")
    await c.ws.close(1000, "bye")
    gone = await s.calls_like("plain", "disconnected")
    d.ws.transport.abort()
    lost = await s.calls_like("plain", "disconnected")
    return {"connected": sorted(first, key=str), "left": gone, "lost": lost}


@row("A3")
async def gone_while_authenticating(s):
    c, watcher = await s.open(), await s.enter("user watcher")
    await s.calls_like("plain", "connected")
    await c.say("authenticate", {"token": "sleep 150 ghost"})
    await c.flush()
    c.ws.transport.abort()
    await asyncio.sleep(0.4)  # longer than the authenticator needs: nothing may follow
    s.app.emit("toUser", userId="ghost", event="x", data=1)
    return {"told": [x for x in s.calls() if x["hook"] == "connected"], "watcher": await s.drain(watcher)}


# ---- A4 ----


@row("A4")
async def authentication_times_out(s):
    c = await s.open("timers")
    begin = time.monotonic()
    heard = []
    while c.ws.open and time.monotonic() - begin < 10:  # nothing of this extends it
        await asyncio.sleep(0.05)
        try:
            await c.raw('{"event":"heartbeat"}', "x", '{"event":"x"}')
        except Exception:
            break
    while not heard or not heard[-1].startswith("closed"):
        heard.append(await c.get())
    elapsed = time.monotonic() - begin
    return {"end": heard[-1], "between": sorted(set(heard[:-1])), "not early": elapsed > 0.35, "not late": elapsed < 5}


@row("A4")
async def authenticating_times_out_three_times_later(s):
    c = await s.open("timers")
    await asyncio.sleep(0.2)
    begin = time.monotonic()
    await c.say("authenticate", {"token": "sleep 4000 u1"})
    end = await ending(c)
    elapsed = time.monotonic() - begin
    return {"end": end, "not early": elapsed > 1.1, "not late": elapsed < 3.5}


@row("A4")
async def a_slow_authenticator_succeeds(s):
    c = await s.open("timers")
    await c.enter("sleep 640 slow")  # 1.6 × authTimeout
    return {"connected": c.connected["userId"], "after": await c.heard()}


@row("A4")
async def silence_ends_the_connection(s):
    silent, beating, listening = [await s.enter(profile="timers") for _ in range(3)]
    begin = time.monotonic()

    async def keep(do):
        while time.monotonic() - begin < 2.4:
            await do()
            await asyncio.sleep(0.1)

    async def ping():
        if silent.ws.open:
            await silent.ws.ping()

    async def send():
        if listening.ws.open:
            s.app.emit("toClient", clientId=listening.id, event="x", data=1)

    running = asyncio.gather(keep(lambda: beating.raw('{"event":"heartbeat"}')), keep(ping), keep(send), return_exceptions=True)
    end = await silent.get()
    elapsed = time.monotonic() - begin
    heard = await ending(listening)
    await running
    return {"silent": end, "not early": elapsed > 0.85, "not late": elapsed < 5, "listening": heard[-1],
            "beating": await beating.heard()}


@row("A4")
async def what_counts_as_activity(s):
    texts = {"heartbeat": '{"event":"heartbeat"}', "custom": '{"event":"x"}', "garbage": "x", "binary": b"{}", "object": "{}"}
    clients = {name: await s.enter(profile="timers") for name in texts}
    for _ in range(18):
        await asyncio.sleep(0.1)
        for name, c in clients.items():
            await c.raw(texts[name])
    return {name: c.ws.open for name, c in clients.items()}


@row("A4")
async def only_the_authenticated_are_swept(s):
    c = await s.open("timers")
    await c.say("authenticate", {"token": "sleep 1100 u1"})  # longer than the heartbeat timeout, shorter than 3 × authTimeout
    connected = await c.get()
    return {"connected": connected[:20], "then": await c.get()}
