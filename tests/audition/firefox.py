"""Debian's Firefox, headless, driven by its own Marionette protocol: a socket and JSON.

Playwright drives only a Firefox of its own build, which a distribution does not have.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.programs import needs

from .browsing import Waiting

NAMES = ("firefox-esr", "firefox")
START_SECONDS = 120.0
PREFERENCES = {
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "marionette.port": 0,
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.default": 0,
    # No sound card is needed, and its start takes as long as a real one's.
    "media.cubeb.force_mock_context": True,
    "media.cubeb.slow_stream_init_ms": 150,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "privacy.reduceTimerPrecision": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "ArrowUp": "\ue013", "Tab": "\ue004", "Space": " "}
ERRORS = """
const [address] = arguments;
return Services.console.getMessageArray()
  .filter((m) => m instanceof Ci.nsIScriptError && m.sourceName.startsWith(address))
  .map((m) => m.errorMessage);
"""


@dataclass
class Firefox:
    """A browser with one tab.

    Attributes
    ----------
    connection : socket
        To Marionette.
    """

    connection: socket.socket
    pending: bytes = b""
    count: int = 0

    def send(self, name: str, **parameters: Any) -> Any:
        """Send a command and wait for what it returns; an error of the browser is raised."""
        self.count += 1
        text = json.dumps([0, self.count, name, parameters]).encode()
        self.connection.sendall(b"%d:%s" % (len(text), text))
        _, number, error, result = json.loads(self.receive())
        assert number == self.count
        assert error is None, f"{name}: {error['message']}\n{error['stacktrace']}"
        return result.get("value", result) if isinstance(result, dict) else result

    def receive(self) -> bytes:
        """Return the next message of the browser."""
        while b":" not in self.pending:
            self.more()
        length, self.pending = self.pending.split(b":", 1)
        while len(self.pending) < int(length):
            self.more()
        message, self.pending = self.pending[: int(length)], self.pending[int(length) :]
        return message

    def more(self) -> None:
        """Read what has come, at least a byte."""
        content = self.connection.recv(1 << 16)
        assert content, "Firefox closed the connection"
        self.pending += content

    def privileged(self, script: str, *values: Any) -> Any:
        """Run a script as the browser itself."""
        self.send("Marionette:SetContext", value="chrome")
        try:
            return self.send(
                "WebDriver:ExecuteScript", script=script, args=values, sandbox="system"
            )
        finally:
            self.send("Marionette:SetContext", value="content")

    def element(self, selector: str) -> str:
        """Return the reference of an element."""
        found = self.send("WebDriver:FindElement", using="css selector", value=selector)
        return next(iter(found.values()))


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """A Firefox with a profile of its own; the test is skipped where none is installed."""
    path = needs(next(filter(None, map(shutil.which, NAMES)), None), "firefox")
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")
    words = [
        path,
        "--headless",
        "--marionette",
        "--remote-allow-system-access",
        "--no-remote",
        "--profile",
        str(profile),
    ]
    with open(profile / "output.txt", "wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        browser = Firefox(_connect(profile, process))
        browser.send("WebDriver:NewSession", capabilities={})
        browser.send("WebDriver:SetTimeouts", script=120_000, pageLoad=60_000)
        yield browser
        browser.connection.close()
    finally:
        process.terminate()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _connect(profile: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    """Wait for the port that Marionette listens at, connect, and read its greeting."""
    end = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, (profile / "output.txt").read_text(errors="replace")
        assert time.monotonic() < end, "Firefox did not start"
        try:
            port = int((profile / "MarionetteActivePort").read_text())
            connection = socket.create_connection(("127.0.0.1", port), START_SECONDS)
            break
        except (OSError, ValueError):
            time.sleep(0.05)
    greeting = Firefox(connection)
    assert json.loads(greeting.receive())["marionetteProtocol"] == 3
    return connection


@dataclass
class FirefoxPage(Waiting):
    """A page open in Firefox, with the functions that the tests use of any browser."""

    browser: Firefox
    address: str
    words: list[str] = field(default_factory=list)

    def run(self, script: str, argument: Any = None) -> Any:
        """Evaluate an expression or function in the page."""
        text = (
            "const [argument, done] = arguments; (async () => {"
            f" const found = ({script}); return typeof found === 'function' ? found(argument)"
            " : found; })().then((value) => done([value === undefined ? null : value]),"
            " (error) => done(String(error)));"
        )
        found = self.browser.send("WebDriver:ExecuteAsyncScript", script=text, args=[argument])
        assert isinstance(found, list), found
        return found[0]

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        value = KEYS.get(key, key)
        actions = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
        self.browser.send(
            "WebDriver:PerformActions", actions=[{"type": "key", "id": "keys", "actions": actions}]
        )

    def type(self, selector: str, text: str) -> None:
        """Put a text in a field in place of what it holds, key by key, and press Enter."""
        element = self.browser.element(selector)
        self.run("(s) => document.querySelector(s).select()", selector)
        self.browser.send("WebDriver:ElementSendKeys", id=element, text=text + KEYS["Enter"])

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        self.browser.send("WebDriver:ElementClick", id=self.browser.element(selector))

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list."""
        self.run(
            "([s, v]) => { const e = document.querySelector(s); e.value = v;"
            " e.dispatchEvent(new Event('change', { bubbles: true })); }",
            [selector, value],
        )

    def collect(self) -> list[str]:
        """Return the errors and warnings that the browser has of this page."""
        self.words = list(self.browser.privileged(ERRORS, self.address))
        return self.words


@contextmanager
def open_in_firefox(browser: Firefox, address: str) -> Iterator[FirefoxPage]:
    """A page in the browser's tab."""
    browser.privileged("Services.console.reset();")
    browser.send("WebDriver:Navigate", url=address)
    yield FirefoxPage(browser, address)
    browser.send("WebDriver:Navigate", url="about:blank")
