"""A page in headless Chromium, driven over WebDriver (W3C, JSON over HTTP) with the standard library alone."""

import base64
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that WebDriver's standard names elements by
FLAGS = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
KEYS = {"right": "\ue014", "left": "\ue012", "up": "\ue013", "down": "\ue015", "home": "\ue011", "end": "\ue010"}


class Browser:
    def __init__(self, session: str) -> None:
        self.session = session

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.session + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise RuntimeError(f"{method} {path}: {json.load(error)['value']}") from None

    def open(self, path: Path, width: int, height: int) -> None:
        """Show the page in a viewport of this size, phone-narrow ones too, and wait until it has drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        self.call("POST", "/url", {"url": path.as_uri()})
        self.wait("document.body.dataset.ready === 'yes'")

    def run(self, expression: str) -> Any:
        return self.call("POST", "/execute/sync", {"script": f"return ({expression})", "args": []})

    def wait(self, condition: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.05)

    def find(self, selector: str) -> str:
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def press(self, selector: str, *keys: str) -> None:
        """Send keys to an element as a keyboard would."""
        text = "".join(KEYS.get(key, key) for key in keys)
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def hover(self, selector: str, dx: int, dy: int) -> None:
        """Move the mouse to (dx, dy) pixels from the middle of an element, in two steps."""
        origin = {ELEMENT: self.find(selector)}
        moves = [
            {"type": "pointerMove", "duration": 50, "origin": origin, "x": dx + shift, "y": dy} for shift in (-2, 0)
        ]
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def choose(self, select: str, value: str) -> None:
        self.call("POST", f"/element/{self.find(f'{select} option[value={value!r}]')}/click", {})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Entries since the last call: `browser` is the console, `performance` holds requests."""
        return self.call("POST", "/se/log", {"type": kind})

    def requests(self) -> list[str]:
        entries = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty `profile`; its end ends its processes."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    found = None
    while found is None and (line := driver.stdout.readline()):
        found = re.search(r"on port (\d+)\.$", line.strip())
    assert found, "chromedriver said no port"
    root = Browser(f"http://127.0.0.1:{found[1]}")
    options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    try:
        session = root.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        page = Browser(f"{root.session}/session/{session}")
        page.call("POST", "/timeouts", {"script": 100_000, "pageLoad": 100_000})  # software draws 3D slowly
        try:
            yield page
        finally:
            page.call("DELETE", "")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGTERM)  # with what it started, also where a page hangs
        driver.wait(10)
