"""A headless Chromium, driven over a pipe in its own protocol (DevTools): nothing to install but the browser.

    with Browser.started(folder) as browser:
        browser.open(page, width=400, dark=True)
        browser.evaluate("document.title")
        browser.errors          # what its console has said of errors and warnings since

The folder is that of its profile, empty before.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
_SECONDS = 60


class Browser:
    """One page of one browser."""

    def __init__(self, reads, writes):
        self._reads, self._writes, self._count, self._session = reads, writes, 0, None
        self._rest, self._events = b"", []
        (target,) = [one for one in self._ask("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        told = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = told["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self.errors = []

    @classmethod
    @contextmanager
    def started(cls, folder):
        """Start one, and end it in the end, however that comes."""
        to_it, writes = os.pipe()
        reads, from_it = os.pipe()
        # it reads from 3 and writes to 4; the shell puts the pipes there, whatever numbers they have here
        line = f'exec "$@" 3<&{to_it} 4>&{from_it}'
        flags = [*_FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = ["bash", "-c", line, "bash", PROGRAM, *flags]
        process = subprocess.Popen(command, pass_fds=(to_it, from_it), **quiet)
        os.close(to_it)
        os.close(from_it)
        try:
            yield cls(reads, writes)
        finally:
            with suppress(OSError):
                os.close(writes)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(reads)

    def open(self, page, width=1280, height=900, dark=False):
        """Open a file, or a link, on a screen of this size, and wait until all of it is there."""
        mobile = {"deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, **mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self.errors, self._events = [], []
        told = self._ask("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        assert "errorText" not in told, told
        until = time.monotonic() + _SECONDS
        while not any(one["method"] == "Page.loadEventFired" for one in self._events):
            assert time.monotonic() < until, f"{page} was not loaded in {_SECONDS} s"
            self._read()

    def evaluate(self, code):
        """Return the value of an expression in the page, awaited where it is a promise."""
        told = self._ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key, code, number, text=""):
        """Press a key and let it go."""
        about = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self._ask("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, selector):
        """Click in the middle of the first element that a selector finds, scrolled into view, with the mouse."""
        scrolled = f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})"
        self.evaluate(scrolled)
        box = f"JSON.stringify(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        at = json.loads(self.evaluate(box))
        where = {"x": at["x"] + at["width"] / 2, "y": at["y"] + min(at["height"] / 2, 100)}
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def picture(self, path):
        """Write what is on the screen as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))

    def _ask(self, method, **arguments):
        self._count += 1
        number, message = self._count, {"id": self._count, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == number:
                assert "error" not in told, (method, told["error"])
                return told["result"]

    def _read(self):
        """Return one message; keep events, and what is an error among them."""
        while b"\0" not in self._rest:
            data = os.read(self._reads, 1 << 20)
            assert data, "the browser has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        told = json.loads(line)
        if "method" in told:
            self._events.append(told)
            self._note(told["method"], told["params"])
        return told

    def _note(self, method, about):
        if method == "Runtime.exceptionThrown":
            self.errors.append(about["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(about["args"])
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"])
        elif method == "Network.loadingFailed":
            self.errors.append(about)
