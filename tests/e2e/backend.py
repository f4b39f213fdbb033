"""The application's back end in a test: an HTTP server that records what the hooks send and answers as it is told."""
import hashlib
import hmac
import http.server
import json
import queue
import threading
import time

import hush


class Backend:
    """answers: hook name → (status, body) or a function of the request body that returns one. Every request is in .seen(name)."""

    def __init__(self, secret=None, **answers):
        self.answers, self.secret, self.requests, self.lock = answers, secret, [], threading.Lock()
        self.news = queue.Queue()
        self.connections = 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                owner.connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.record(self, body)
                answer = owner.answers.get(json.loads(body)["hook"], (204, None))
                status, out = answer(json.loads(body)) if callable(answer) else answer
                hush.answered(out)
                data = b"" if out is None else out if isinstance(out, bytes) else json.dumps(out).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    if 300 <= status < 400:
                        self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def record(self, request, body):
        if self.secret:
            fields = dict(x.split("=", 1) for x in request.headers["Heliod-Signature"].split(","))
            want = hmac.new(self.secret.encode(), fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
            assert fields["v1"] == want and abs(int(fields["t"]) - time.time()) < 60
        assert request.headers["Content-Type"] == "application/json"
        with self.lock:
            self.requests.append((json.loads(body), body.decode()))
        self.news.put(json.loads(body))

    def seen(self, hook):
        with self.lock:
            return [b for b, _ in self.requests if b["hook"] == hook]

    def raw(self, hook):
        with self.lock:
            return [r for b, r in self.requests if b["hook"] == hook]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
