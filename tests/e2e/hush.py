"""What no log and no output of helioctl may hold: tokens, tickets, sessions, keys and payloads, noted as the helpers see them go by.

Broker.close() listens to all that was logged and shown. Something is known by the words it consists of, and a long word by its
beginning, because a line may cut the rest off. What is short, or says nothing, is not listened for: it would be found everywhere."""
import json
import re
from urllib.parse import parse_qsl, unquote, urlsplit

WORD = re.compile(r"[A-Za-z0-9_-]{10,}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # ids are no secrets
START = 16
LONGEST = 64 << 10  # bytes of a message that is looked into
SECTIONS = {"key", "secret", "password", "credential"}  # of the configuration

known = {}  # the beginning of a word: what it belongs to


def words(text):
    found = [w.strip("-") for w in WORD.findall(text)]  # ----- is PEM's
    return [w[:START] for w in found if len(w) > 9 and len(set(w)) > 4 and not UUID.fullmatch(w)]


def keep(kind, *texts):
    for text in texts:
        if isinstance(text, str):
            known.update(dict.fromkeys(words(text), kind))


def heard(text):
    """What of it should not be there."""
    return {w: known[w] for w in set(words(text)) & known.keys()}


# ---- what goes by ----

def strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


def opened(path, headers=None, subprotocols=()):
    """A request: its URL, its header fields."""
    for name, value in parse_qsl(urlsplit(path).query):
        if name in ("token", "session"):
            keep(name, value)
    keep("token", *(v.split()[-1] for k, v in (headers or {}).items() if k.lower() == "authorization" and v.split()))
    keep("token", *(unquote(s).removeprefix("token.") for s in subprotocols or () if s.startswith("token.")))


def said(message):
    """A client's message, of any protocol."""
    try:
        m = json.loads(message) if isinstance(message, str) and len(message) <= LONGEST else None
    except ValueError:
        return
    if not isinstance(m, dict):
        return
    event = m.get("event")
    if event == "authenticate":
        keep("token", *strings(m.get("data")))
    elif event == "publish":
        keep("payload", *(strings(m["data"].get("data")) if isinstance(m.get("data"), dict) else []))
    elif event not in ("join", "leave"):
        members = m if "type" in m else {"data": m.get("data")}
        keep("payload", *(s for k, v in members.items() if k not in ("type", "to", "before", "id", "event") for s in strings(v)))


def told(message):
    """What the broker tells a client: credentials made for it alone."""
    if isinstance(message, str) and '"credential"' in message[:LONGEST]:
        servers = json.loads(message).get("iceServers") or []
        keep("credential", *(s["credential"] for s in servers if "credential" in s))


def answered(body):
    """A back end's answer to a hook."""
    if isinstance(body, dict):
        keep("key", body.get("sessionKey"))
        sends = body.get("send") if isinstance(body.get("send"), list) else []
        keep("payload", *(s for one in sends if isinstance(one, dict) for s in strings(one.get("data"))))


def notified(body):
    """The body of POST /api/notifications."""
    if isinstance(body, dict) and isinstance(body.get("notification"), dict):
        keep("payload", *(s for k, v in body["notification"].items() if k != "id" for s in strings(v)))


def configured(value, name=""):
    if isinstance(value, dict):
        for k, v in value.items():
            configured(v, k)
    elif isinstance(value, list):
        for v in value:
            configured(v, name)
    elif name in SECTIONS:
        keep("key", value)
    elif name == "url" and isinstance(value, str) and "@" in value:
        keep("key", urlsplit(value).password)


def commanded(args, output):
    """helioctl: what is sent, and what it makes."""
    if "send" in args or "notify" in args:
        keep("payload", args[-1])
    if "ticket" in args or "token" in args:
        keep("ticket", *(w for w in output.replace('"', " ").split() if w.startswith("tk_")))
