"""A WebSocket client on a bare socket, for everything a library would not send."""
import base64
import os
import socket
import struct

import hush


def mask(payload, key):
    n = len(payload)
    pattern = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(n, "little")


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None, key=None):
    """length: (marker, bytes) to lie about the encoding."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    n = len(payload)
    bit = 0x80 if masked else 0
    if length is not None:
        head += bytes([bit | length[0]]) + length[1]
    elif n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if not masked:
        return head + payload
    key = key if key is not None else os.urandom(4)
    return head + key + mask(payload, key)


REQUEST = ("GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n")


class Raw:
    def __init__(self, port, timeout=30, rcvbuf=None):
        """rcvbuf: a small one makes a slow reader, whose sender is soon held up."""
        self.s = socket.socket()
        if rcvbuf:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.s.settimeout(timeout)
        self.s.connect(("127.0.0.1", port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.may_rsv = 0  # reserved bits an extension has given a meaning
        self.rsv = 0      # of the last frame

    def send(self, data):
        self.s.sendall(data)
        return self

    def more(self):
        chunk = self.s.recv(1 << 20)
        self.data += chunk
        return bool(chunk)

    def head(self):
        """One HTTP response head: (status, fields, the head's text)."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return 0, {}, ""
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        fields = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        return int(lines[0].split()[1]), fields, head.decode()

    def response(self):
        """(status, fields, body)"""
        status, fields, _ = self.head()
        n = int(fields.get("content-length", 0))
        while len(self.data) < n and self.more():
            pass
        body, self.data = self.data[:n], self.data[n:]
        return status, fields, body.decode()

    def open(self, path="/echo", more=""):
        hush.opened(path)
        self.send(REQUEST.format(path=path, more=more).encode())
        status, _, text = self.head()
        assert status == 101, text
        return self

    def take(self, n):
        while len(self.data) < n:
            if not self.more():
                return None
        out, self.data = self.data[:n], self.data[n:]
        return out

    def frame(self):
        """(fin, opcode, payload); None at the end of the stream."""
        head = self.take(2)
        if head is None:
            return None
        fin, opcode, n = head[0] >> 7, head[0] & 15, head[1]
        assert not n & 0x80, "a server must not mask"
        self.rsv = head[0] >> 4 & 7
        assert not self.rsv & ~self.may_rsv, "reserved bits"
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
        payload = self.take(n) if n else b""
        return None if payload is None else (fin, opcode, payload)

    def closing(self):
        """(code, reason) of the Close frame that comes next (1005: empty). Other frames are an error."""
        got = self.frame()
        assert got is not None, "the stream ended without a Close frame"
        fin, opcode, payload = got
        assert opcode == 8, f"opcode {opcode} {payload[:80]!r} instead of a Close frame"
        assert fin and len(payload) != 1
        return (struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")

    def close_code(self):
        """As closing(), the code only; then the stream must end, and by a FIN."""
        code, _ = self.closing()
        self.s.shutdown(socket.SHUT_WR)
        assert self.ended(), "something after the Close frame"
        return code

    def ended(self):
        """The stream ends here: a FIN, no reset (that is an exception), no byte before it."""
        return not self.data and not self.more()

    def eof(self):
        try:
            return not self.more()
        except ConnectionResetError:
            return True

    def close(self):
        self.s.close()
