"""Wrong input, made at random out of right input, and an independent opinion of what it is: JSON or not, and what it says."""
import copy
import json
import re

BAD = object()      # not JSON
MISSING = object()  # no such member
DEPTH = 64


class Object(list):
    """Members in their order, with their repetitions."""

    def last(self, name):
        return next((v for n, v in reversed(self) if n == name), MISSING)

    def count(self, name):
        return sum(n == name for n, _ in self)

    def names(self):
        return {n for n, _ in self}

    def repeats(self):
        return len(self.names()) < len(self)


class Number(tuple):
    """As it was written."""


class Raw(str):
    """Goes into a text as it is."""


def number(text):
    return Number((text,))


def whole(v, most):
    """A number from 1 to most, written without a fraction; else None."""
    return int(v[0]) if isinstance(v, Number) and re.fullmatch(r"[0-9]{1,18}", v[0]) and 1 <= int(v[0]) <= most else None


def text(v):
    """As a text travels: half a character becomes U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", v)


def depth(v):
    if isinstance(v, Object):
        return 1 + max((depth(x) for _, x in v), default=0)
    if isinstance(v, list):
        return 1 + max(map(depth, v), default=0)
    return 0


def refuse(word):
    raise ValueError(word)


def judge(data):
    """RFC 8259, at most 64 deep."""
    try:
        v = json.loads(data.decode(), object_pairs_hook=Object, parse_int=number, parse_float=number, parse_constant=refuse)
    except (ValueError, RecursionError):
        return BAD
    return v if depth(v) <= DEPTH else BAD


# ── making it ──

STRANGE = [None, True, False, "", "x", "ping", "é\0\n", "\ud800", "ws:x", "r-1", [], Object(), [[]], ["x"], [None, "r-1"], Object([("room", "r-1")]),
           Object([("", 1)]), 0, -1, 1, 100, 101] + [Raw(t) for t in (
               "1e400", "-0", "1.5", "1" * 400, "NaN", "-Infinity", "01", "+1", ".5", "0x10", "'x'", "undefined", '"\\x"', '"\\u12"', '"\t"',
               "[" * 70 + "]" * 70, '{"a":' * 63 + "1" + "}" * 63, '"' + "y" * 5000 + '"', "[1,]", "{,}", "tru", "")]
NAMES = ["", "x", "type", "to", "from", "id", "event", "data", "user", "users", "Type", " type", "type\0", "__proto__", "é", "\ud800"]
PIECES = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b" ", b"\n", b"null", b"1"]


def tree(v):
    if isinstance(v, dict):
        return Object((n, tree(x)) for n, x in v.items())
    return [tree(x) for x in v] if isinstance(v, list) else v


def write(v, rng):
    if isinstance(v, Raw):
        return v
    if isinstance(v, Object):
        return "{" + ",".join(f"{word(n, rng)}:{write(x, rng)}" for n, x in v) + "}"
    if isinstance(v, list):
        return "[" + ",".join(write(x, rng) for x in v) + "]"
    return word(v, rng) if isinstance(v, str) else json.dumps(v)


def word(s, rng):
    """Sometimes with an escape that is not needed."""
    out = json.dumps(s)
    if rng.random() < 0.15 and s and ord(s[0]) < 128:
        out = f'"\\u{ord(s[0]):04X}' + json.dumps(s[1:])[1:]
    return out


def places(v, found):
    """All that can be changed: (container, index)."""
    for i, x in enumerate(v):
        found.append((v, i))
        inner = x[1] if isinstance(v, Object) else x
        if isinstance(inner, list):
            places(inner, found)
    return found


def strange(rng):
    return copy.deepcopy(rng.choice(STRANGE))


def change(v, rng):
    found = places(v, [])
    if not found:
        return strange(rng)
    at, i = rng.choice(found)
    name, value = at[i] if isinstance(at, Object) else (None, at[i])
    put = (lambda n, x: (n, x)) if isinstance(at, Object) else (lambda n, x: x)
    act = rng.randrange(8)
    if act < 3:
        at[i] = put(name, strange(rng))
    elif act == 3:
        del at[i]
    elif act == 4:
        at.insert(rng.randrange(len(at) + 1), put(name, rng.choice([copy.deepcopy(value), strange(rng)])))
    elif act == 5:
        at[i] = put(rng.choice(NAMES), value)
    elif act == 6:
        at.insert(rng.randrange(len(at) + 1), put(rng.choice(NAMES), strange(rng)))
    else:
        at[i] = put(name, rng.choice([[value], Object([(name or "x", value)])]))
    return v


def spoil(data, rng):
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(out) + 1)
        act = rng.randrange(4)
        if act == 0:
            out[i:i] = rng.choice(PIECES)
        elif act == 1:
            del out[i:i + rng.randint(1, 5)]
        elif act == 2:
            out[i:i + 1] = bytes([rng.randrange(256)])
        else:
            del out[i:]
    return bytes(out)


def wrong(rng, right):
    """Bytes; some are still right."""
    v = tree(rng.choice(right))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        v = change(v, rng) if isinstance(v, list) else v
    data = write(v, rng).encode("utf-8", "surrogatepass")
    if b"\xed" in data and judge(data) is not BAD:
        raise AssertionError("half a character, unescaped, is no UTF-8")
    return spoil(data, rng) if rng.random() < 0.3 else data
