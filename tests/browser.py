"""A headless Chromium over its debugging pipe: what a page draws, and what it would fetch.

Protocol: https://chromedevtools.github.io/devtools-protocol/, each message a JSON text that ends in a zero byte, on
descriptor 3 into the browser and on 4 out of it.
"""

import base64
import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Browser:
    """One page of a browser, and every request that it made."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out, self._rest, self._number = into, out, b"", 0
        self._session = ""
        self._loaded: set[str] = set()
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **given: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, url: str) -> None:
        # By its own name: an event of the page before may still be on its way, and its own may come before the answer.
        loader = self.call("Page.navigate", url=url)["loaderId"]
        while loader not in self._loaded:
            self._note(self._next())

    def ask(self, script: str) -> Any:
        """Run a script beside the page, which the page's own policy does not forbid to a debugger."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        if event.get("method") == "Page.lifecycleEvent" and event["params"]["name"] == "load":
            self._loaded.add(event["params"]["loaderId"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._out, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def browser(width: int = 1100) -> Iterator[Browser]:
    """Start Chromium, which is installed where it is not there."""
    subprocess.run(["sh", ROOT / "scripts/packages.sh", "chromium=chromium"], check=True, timeout=600)
    into, ours = os.pipe()
    theirs, out = os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        words += [f"--user-data-dir={profile}", f"--window-size={width},900", "--no-first-run", "--disable-extensions"]
        words += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-sync",
        ]
        child = subprocess.Popen(
            ["chromium", *words],
            pass_fds=(3, 4),
            preexec_fn=lambda: _where_it_wants_them(into, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(into)
        os.close(out)
        try:
            yield Browser(ours, theirs)
        finally:
            child.kill()
            child.wait()
            os.close(ours)
            os.close(theirs)


def _where_it_wants_them(into: int, out: int) -> None:
    first, second = (fcntl.fcntl(one, fcntl.F_DUPFD, 100) for one in (into, out))
    os.dup2(first, 3)
    os.dup2(second, 4)
