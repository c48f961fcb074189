"""A real browser for the tests: Debian's chromium, headless, with a profile of its own."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffconsole.audition.bundle import bundle
from tests.programs import needs, needs_module

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_SECONDS = 120.0


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser context of Playwright; the test is skipped where a part is missing."""
    api = needs_module("playwright.sync_api")
    path = needs(next(filter(None, map(shutil.which, NAMES)), None), "chromium")
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=path, headless=True, args=list(ARGUMENTS),
            viewport={"width": 1280, "height": 900}, accept_downloads=True,
        )  # fmt: skip
        yield context
        context.close()


class Waiting:
    """What the tests wait for in a page of any browser."""

    words: list[str]

    def run(self, script: str, argument: Any = None) -> Any:
        """Evaluate an expression or function in the page."""
        raise NotImplementedError

    def wait(self, condition: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until an expression is true; the page's policy forbids Playwright's own way."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} did not come true; {self.words}"
            time.sleep(0.02)

    def ready(self) -> None:
        """Wait until it can play."""
        self.wait("window.audition && !document.getElementById('play').disabled")

    def rendered(self) -> None:
        """Wait until every version has its audio."""
        self.wait(
            "audition.session.versions.every(v => v.peaks) && audition.session.rendering.size === 0"
        )


@dataclass
class Opened(Waiting):
    """A page that is open, and all that it said and asked for.

    Attributes
    ----------
    tab : playwright Page
        The tab.
    words : list of str
        Console messages and errors.
    requests : list of str
        Addresses.
    """

    tab: Any
    words: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def run(self, script: str, argument: Any = None) -> Any:
        """Evaluate an expression or function in the page."""
        return self.tab.evaluate(script, argument)

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        self.tab.keyboard.press(key)

    def type(self, selector: str, text: str) -> None:
        """Put a text in a field in place of what it holds, key by key, and press Enter."""
        self.tab.locator(selector).select_text()
        self.tab.keyboard.type(text)
        self.tab.keyboard.press("Enter")

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        self.tab.click(selector)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list."""
        self.tab.select_option(selector, value)

    def collect(self) -> list[str]:
        """Return the console messages and errors so far."""
        return self.words


@contextmanager
def open_page(context: Any, address: str) -> Iterator[Opened]:
    """A page in a new tab."""
    tab = context.new_page()
    opened = Opened(tab)
    tab.on("console", lambda message: opened.words.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: opened.words.append(f"error: {error}"))
    tab.on("request", lambda request: opened.requests.append(request.url))
    tab.goto(address)
    try:
        yield opened
    finally:
        tab.close()


@contextmanager
def loopback(folder: Path) -> Iterator[str]:
    """A server for a folder, on this computer alone: its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            """Say nothing."""

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


def cpu_seconds() -> float | None:
    """Processor time of every browser process below this one; None where it cannot be read.

    A computer that does other things beside would measure them with the clock on the wall.
    """
    processes: dict[int, tuple[str, int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = path.read_text().split(" (", 1)[1].rsplit(") ", 1)
        except (OSError, IndexError):
            continue
        words = rest.split()
        ticks = int(words[11]) + int(words[12])
        processes[int(path.parent.name)] = (name, int(words[1]), ticks / os.sysconf("SC_CLK_TCK"))
    below = {os.getpid()}
    for pid in sorted(processes):
        if processes[pid][1] in below:
            below.add(pid)
    found = [
        processes[p][2] for p in below if p in processes and processes[p][0].startswith("chrom")
    ]
    return sum(found) if found else None


def in_modules(tab: Any, entry: str, function: str, argument: Any = None) -> Any:
    """Run a function ``(exports, argument) => …`` on what a module exports."""
    script = (
        f"async (argument) => {{ {bundle(entry)}\nreturn await ({function})(entry, argument); }}"
    )
    return tab.evaluate(script, argument)


def floats(values: Any) -> np.ndarray:
    """Numbers that came as a list."""
    return np.asarray(values, np.float64)
