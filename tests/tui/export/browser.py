"""Chromium without a window, driven over WebDriver: what a page shows, says to its console, and asks of the network."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_START, _ANSWER = 60.0, 120.0  # seconds; only a machine under load takes long
KEYS = {"left": "\ue012", "right": "\ue014", "home": "\ue011", "end": "\ue010", "escape": "\ue00c", "tab": "\ue004"}


def missing() -> str:
    """Why there is no browser; "" where there is one."""
    for names in (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)):
        if not any(map(shutil.which, names)):
            return f"{names[0]} is not installed"
    return ""


class Browser:
    """One session."""

    def __init__(self, port: int, preferences: list[str]) -> None:
        self._root = f"http://127.0.0.1:{port}"
        binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        chosen = {
            "goog:chromeOptions": {"binary": binary, "args": ["--headless=new", "--no-sandbox", *preferences]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._wait()
        answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": chosen}})
        self._session = f"/session/{answer['sessionId']}"

    def open(self, path: Path) -> None:
        """Loads a file."""
        self._post("/url", {"url": path.as_uri()})

    def run(self, script: str, *values: object) -> Any:
        """What the body of a function returns in the page."""
        return self._post("/execute/sync", {"script": script, "args": list(values)})

    def press(self, *keys: str) -> None:
        """Types keys, by the names of `KEYS` or themselves."""
        strokes = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def point(self, x: float, y: float) -> None:
        """Moves the pointer."""
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        self._post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def resize(self, width: int, height: int) -> None:
        """Gives the window another size."""
        self._post("/window/rect", {"width": width, "height": height})

    def complaints(self) -> list[str]:
        """What the console has said since the last call."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._post("/se/log", {"type": "performance"})]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def picture(self) -> bytes:
        """The page as a PNG."""
        return b64decode(self._send("GET", self._session + "/screenshot"))

    def close(self) -> None:
        """Ends the session."""
        self._send("DELETE", self._session)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._send("POST", self._session + path, body)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:2000]) from error

    def _wait(self) -> None:
        end = time.monotonic() + _START
        while True:
            try:
                if self._send("GET", "/status")["ready"]:
                    return
            except OSError:
                assert time.monotonic() < end, "the driver does not answer"
            time.sleep(0.05)


@contextmanager
def browser(folder: Path, *preferences: str) -> Iterator[Browser]:
    """A browser whose files lie in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        session = Browser(port, ["--window-size=1100,800", *preferences])
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.terminate()
        driver.wait(_START)
