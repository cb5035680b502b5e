"""A headless Chromium without network, driven through a pipe: what a test of a page needs, and no more."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_NETWORK = "127.0.0.1:9"  # a proxy that is not there
FLAGS = (
    f"--headless=new --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe --proxy-server={NO_NETWORK}"
)


class Page:
    """One page of the browser."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer, self._number, self._rest = reader, writer, 0, b""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = ""
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._call("Page.enable", {})

    def _call(self, method: str, values: dict[str, Any]) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": values}
        if getattr(self, "_session", ""):
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._reader, 2**20)
                assert part, "the browser has ended"
                self._rest += part
            text, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def size(self, width: int, height: int) -> None:
        values = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._call("Emulation.setDeviceMetricsOverride", values)

    def open(self, address: str) -> None:
        self._call("Page.navigate", {"url": "about:blank"})
        self._call("Page.navigate", {"url": address})

    def run(self, code: str) -> Any:
        """The value of an expression of JavaScript; a promise is awaited."""
        result = self._call("Runtime.evaluate", {"expression": code, "returnByValue": True, "awaitPromise": True})
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"{condition} is still false; the page says: {self.run(STATUS)}"
            time.sleep(0.05)

    def press(self, *places: tuple[float, float]) -> None:
        """Press the mouse at the first place, in pixels of the page, move it along the others, and release it."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1)]
        for kind, (x, y) in [*zip(kinds, places, strict=True), ("mouseReleased", places[-1])]:
            values = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self._call("Input.dispatchMouseEvent", values)

    def picture(self, path: Path) -> None:
        """Save what is seen of the whole page."""
        made = self._call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(made["data"]))


STATUS = "document.getElementById('status')?.textContent"


@contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A page of a new browser, whose profile lies in `folder`."""
    assert CHROMIUM
    (child_in, ours_out), (ours_in, child_out) = os.pipe(), os.pipe()
    words = (
        f"exec {shlex.quote(CHROMIUM)} {FLAGS} --user-data-dir={shlex.quote(str(folder))} 3<&{child_in} 4>&{child_out}"
    )
    process = subprocess.Popen(
        ["bash", "-c", words], pass_fds=(child_in, child_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(child_in), os.close(child_out)
    try:
        yield Page(ours_in, ours_out)
    finally:
        os.close(ours_in), os.close(ours_out)
        process.terminate()
        process.wait(20)
