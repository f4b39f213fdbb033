"""Chromium, driven over the pipe of its DevTools protocol: a browser, its pages, what they log, and nothing in between."""
import base64
import fcntl
import http.server
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

WAIT = 30 * float(os.environ.get("HELIOD_SLACK", "3"))
FLAGS = [
    "--headless=new", "--no-sandbox", "--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync", "--mute-audio",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns,Translate,MediaRouter", "--remote-debugging-pipe",
]


def high_pipe():
    """Out of the way of the descriptors 3 and 4, which the pipes become in Chromium."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high


class Browser:
    """One Chromium with a profile of its own. Commands are answered in order of need; what else comes is kept for its page."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="heliod-chromium-", dir="/tmp")
        (theirs_in, self.out), (self.into, theirs_out) = high_pipe(), high_pipe()
        self.proc = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-', "bash", "chromium", *FLAGS,
             f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out), start_new_session=True, env={**os.environ, "TMPDIR": self.profile},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.profile + "/stderr", "wb"))
        os.close(theirs_in)
        os.close(theirs_out)
        self.last, self.unread, self.answers, self.pages = 0, b"", {}, {}
        self.ask("Browser.getVersion")

    def ask(self, method, session=None, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        return self.wait(lambda number=self.last: self.answers.pop(number, None), method)

    def wait(self, check, what):
        end = time.monotonic() + WAIT
        while not (found := check()):
            if not select.select([self.into], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"Chromium: no {what} in time")
            self.read(what)
        return found

    def read(self, what="event"):
        data = os.read(self.into, 1 << 20)
        if not data:
            raise AssertionError(f"Chromium ended before {what}: {pathlib.Path(self.profile, 'stderr').read_text()[-2000:]}")
        *messages, self.unread = (self.unread + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            elif message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].heard(message["method"], message["params"])

    def page(self, url="about:blank", width=1280, height=800, apart=False, first=""):
        """A new tab; apart: with cookies and storage of its own; first: a script that runs before those of any document."""
        context = {"browserContextId": self.result("Target.createBrowserContext")["browserContextId"]} if apart else {}
        target = self.result("Target.createTarget", url="about:blank", **context)["targetId"]
        session = self.result("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log"):
            page.ask(domain + ".enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        if first:
            page.ask("Page.addScriptToEvaluateOnNewDocument", source=first)
        if url != "about:blank":
            page.goto(url)
        return page

    def result(self, method, session=None, **params):
        answer = self.ask(method, session, **params)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def kill(self):
        """As a crash: the browser and all its processes, at once."""
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()

    def close(self):
        self.kill()
        os.close(self.out)
        os.close(self.into)
        end = time.monotonic() + WAIT
        while os.path.exists(self.profile) and time.monotonic() < end:  # its other processes may be writing still
            shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session
        self.console, self.loaded = [], 0

    def ask(self, method, **params):
        return self.browser.result(method, self.session, **params)

    def heard(self, method, params):
        if method == "Page.loadEventFired":
            self.loaded += 1
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append("uncaught: " + details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.console.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method == "Runtime.consoleAPICalled":
            self.console.append(params["type"] + ": " + " ".join(str(a.get("value", a.get("description"))) for a in params["args"]))

    def goto(self, url):
        before = self.loaded
        answer = self.ask("Page.navigate", url=url)
        assert not answer.get("errorText"), f"{url}: {answer['errorText']}"
        self.browser.wait(lambda: self.loaded > before, f"load of {url}")
        return self

    def reload(self):
        before = self.loaded
        self.ask("Page.reload")
        self.browser.wait(lambda: self.loaded > before, "reload")

    def js(self, source):
        """The value of an expression; promises are awaited."""
        answer = self.ask("Runtime.evaluate", expression=source, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"].get("exception", {}).get("description", answer)
        return answer["result"].get("value")

    def until(self, source, what=None, seconds=WAIT):
        """Waits until the expression is truthy; gives its value."""
        end = time.monotonic() + seconds
        while not (value := self.js(source)):
            assert time.monotonic() < end, f"not reached: {what or source}; console: {self.console[-20:]}"
            time.sleep(0.05)
        return value

    def screenshot(self, path, whole=True):
        self.ask("Page.bringToFront")  # what is behind is not painted
        picture = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(picture))

    def close(self):
        self.browser.result("Target.closeTarget", targetId=self.target)


class Site:
    """A small web server of another origin. pages: {path: html}."""

    def __init__(self, pages):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = pages.get(self.path.split("?")[0], "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
