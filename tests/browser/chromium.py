"""A headless Chromium, driven over its DevTools protocol: what a page asked for, and what it says."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.browser.servers import stop

_GONE = ("Inspected target navigated or closed", "Cannot find default execution context")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_START_S, _WAIT_S, _SETTLE_S = 60.0, 90.0, 30.0
# nothing that the browser does on its own account may be taken for a request of the page
_QUIET = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--window-size=1280,1600",
)


class _GoneError(Exception):
    """The page that was asked was left before it answered."""


@dataclass
class Page:
    """One tab; `requests` are the addresses it asked for, refused ones too."""

    _socket: ClientConnection
    requests: list[str] = field(default_factory=list[str])
    _calls: int = 0

    def open(self, url: str) -> None:
        """Go to an address; does not wait for what the page loads afterwards."""
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:  # noqa: ANN401  (whatever the script gives)
        """Give the value of a JavaScript expression on the page."""
        while True:
            try:
                answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
            except _GoneError:  # the page left while it was asked: ask the one that comes
                continue
            return answer["result"].get("value")

    def text(self) -> str:
        """Give the text that the page shows."""
        return self.evaluate("document.body ? document.body.innerText : ''") or ""

    def wait_for(self, text: str, *, seconds: float = _WAIT_S) -> str:
        """Wait until the page shows `text`; give all that it shows."""
        return self.wait_until(f"document.body.innerText.includes({json.dumps(text)})", seconds)

    def wait_until(self, condition: str, seconds: float = _WAIT_S) -> str:
        """Wait until a JavaScript condition holds; give all that the page shows."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"Boolean(document.body && ({condition}))"):
            assert time.monotonic() < until, f"not within {seconds} s: {condition}\n{self.text()}"
            time.sleep(0.2)
        return self.text()

    def wait_for_none(self, script: str, *, seconds: float = _SETTLE_S) -> None:
        """Wait until a JavaScript expression gives an empty list, as it does once all has its place."""
        until = time.monotonic() + seconds
        while (found := self.evaluate(script)) != []:
            assert time.monotonic() < until, found
            time.sleep(0.2)

    def address(self) -> str:
        """Give the address of the page."""
        return self.evaluate("location.href")

    def click(self, text: str, *, within: str = "") -> None:
        """Click the link, button or tab that shows `text`, as soon as there is one, and stay in this tab."""
        root = f"document.querySelector('[data-testid={within}]')" if within else "document"
        find = (
            f"[...({root} || document).querySelectorAll('a, button, [role=tab]')].find("
            f"each => each.checkVisibility() && each.innerText.trim().endsWith({json.dumps(text)}))"
        )
        # what was found may be drawn anew before it is clicked
        script = f"(at => at && (at.target = '', at.click(), true))({find})"
        is_clicked = False
        while not is_clicked:
            self.wait_until(find)
            try:
                answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
            except _GoneError:  # the next page came before the answer
                return
            is_clicked = bool(answer["result"].get("value"))

    def type(self, text: str, *, into: str) -> None:
        """Replace what the field of this label holds, as soon as there is one."""
        field = f"input[aria-label={json.dumps(into)}]"
        find = f"document.querySelector({json.dumps(field)})"
        self.wait_until(find)
        self.evaluate(f"(at => {{ at.focus(); at.select(); }})({find})")
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=9)

    def resize(self, width: int, *, scheme: str) -> None:
        """Be a window of this width, of a person who likes light or dark colors."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=1600,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, file: Path) -> None:
        """Keep what the window shows, once nothing of it is a placeholder."""
        waits = "[data-testid=stSkeleton], [data-testid=stAppSkeleton]"
        self.wait_until(f"!document.querySelector('{waits}')")
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def call(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401  (of each method)
        """Call a method of the protocol, and give its answer."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_WAIT_S))
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self._calls:
                if message.get("error", {}).get("message") in _GONE:
                    raise _GoneError
                assert "error" not in message, message
                return message["result"]


@contextlib.contextmanager
def browser(folder: Path) -> Generator[Page]:
    """Start Chromium with an empty profile below `folder`, and give its tab.

    Fails if no Chromium is installed (Debian's package is called `chromium`).
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    assert program, f"none of {', '.join(_NAMES)} is installed; `apt-get install chromium`"
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # it cannot be had as root
    started = subprocess.Popen(
        [program, *_QUIET, *sandbox, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        tab = _tab(folder / "profile" / "DevToolsActivePort")
        # a browser that does not answer for a while on a busy machine is waited for by each call
        with connect(tab, max_size=None, open_timeout=_START_S, ping_interval=None) as socket:
            page = Page(socket)
            for domain in ("Page", "Network", "Runtime"):
                page.call(f"{domain}.enable")
            yield page
    finally:
        stop(started)


def _tab(port_file: Path) -> str:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, StopIteration):
            port = int(port_file.read_text().splitlines()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                return next(_pages(json.load(answer)))
        time.sleep(0.1)
    message = f"Chromium did not start within {_START_S} s"
    raise AssertionError(message)


def _pages(targets: list[dict[str, str]]) -> Iterator[str]:
    return (each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
