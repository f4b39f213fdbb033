"""What stands between a client and its server: certificates, a TLS terminator, a proxy that cuts what is idle."""
import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NO_ENCRYPTION = serialization.NoEncryption()


@contextlib.contextmanager
def loop_in_a_thread():
    """submit(coroutine) runs it there and returns its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)
    finally:
        async def end():
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# ── certificates ──

def san(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Cert:
    """A certificate with its key, and who issued it (None: itself). names: whom it is for; days: from and until, from now."""

    def __init__(self, common_name, issuer=None, names=(), days=(-1, 30), ca=False):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.datetime.utcnow()
        first, last = (now + datetime.timedelta(days=d) for d in days)
        builder = (x509.CertificateBuilder().subject_name(self.name).issuer_name(issuer.name if issuer else self.name)
                   .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(first).not_valid_after(last)
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([san(n) for n in names]), critical=False)
        self.cert = builder.sign((issuer or self).key, hashes.SHA256())

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    def save(self, path):
        path.write_bytes(self.pem)
        return str(path)

    def context(self, path, chain=()):
        """A server's, that sends this and the certificates of the chain."""
        key = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, NO_ENCRYPTION)
        path.write_bytes(self.pem + b"".join(c.pem for c in chain) + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


# ── proxies ──

class Proxy:
    """Passes bytes on to 127.0.0.1:port; 502 when nobody is there. tls: spoken to clients. cut_s: a connection without a byte
    for so long is dropped, FIN and nothing else, as balancers and NAT boxes do; freeze: it stays, but nothing passes any more.
    life_s: dropped so long after its begin, whatever it says. edit: what becomes of bytes from a client."""

    def __init__(self, port, cut_s=None, life_s=None, freeze=False, edit=bytes):
        self.target, self.cut_s, self.life_s, self.freeze, self.edit = port, cut_s, life_s, freeze, edit
        self.writers = set()

    async def serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            return
        state = {"busy": time.monotonic(), "frozen": False}
        mine = {writer, up_writer}
        self.writers |= mine
        tasks = [asyncio.ensure_future(t) for t in (
            self.pump(reader, up_writer, state, self.edit), self.pump(up_reader, writer, state), self.watch(state, time.monotonic()))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.writers -= mine
        for w in mine:
            w.close()

    @staticmethod
    async def pump(reader, writer, state, edit=bytes):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                state["busy"] = time.monotonic()
                if not state["frozen"]:
                    writer.write(edit(data))
                    await writer.drain()

    async def watch(self, state, begin):
        while True:
            now = time.monotonic()
            is_idle = self.cut_s and now - state["busy"] > self.cut_s
            state["frozen"] |= bool(is_idle and self.freeze)
            if is_idle and not self.freeze or self.life_s and now - begin > self.life_s:
                return
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def proxy(port, tls=None, **how):
    """A running Proxy; its own port is .port; .die() drops all connections, and nobody listens any more."""
    p = Proxy(port, **how)
    with loop_in_a_thread() as submit:
        server = submit(asyncio.start_server(p.serve, "127.0.0.1", 0, ssl=tls))
        p.port = server.sockets[0].getsockname()[1]

        async def die():
            server.close()
            for w in p.writers:
                w.transport.abort()

        p.die, p.submit = lambda: submit(die()), submit
        yield p
        submit(die())
