"""A browser that may reach nothing but the report, and that remembers every complaint."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here")
    with api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page with the report open, and what went wrong in it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.page = browser.new_page(**({"viewport": {"width": 1300, "height": 900}} | options))
        self.complaints: list[str] = []
        self.base = address.rpartition("/")[0]
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.goto(address)

    def _console(self, message: Any) -> None:
        # That canvases are read back is the doing of the tests.
        if message.type in {"error", "warning"} and "willReadFrequently" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"request: {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def ready(self) -> Any:
        """Wait until the run is drawn, and give the page."""
        self.page.wait_for_selector("html[data-ready=yes]", timeout=20_000)
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.page

    def explained(self) -> Any:
        """Wait until the section "why" is filled, and give it."""
        self.page.wait_for_selector("#why .detail:not([aria-busy])", timeout=20_000)
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.page.locator("#why")


@pytest.fixture
def open_report(chromium: Any) -> Iterator[Any]:
    """Open ``folder/index.html`` (from disk, unless an address is given); at the end nothing may have gone wrong."""
    opened: list[Opened] = []

    def open_(folder: Path, address: str = "", **options: Any) -> Opened:
        opened.append(Opened(chromium, address or (folder / "index.html").as_uri(), **options))
        return opened[-1]

    yield open_
    complaints = [complaint for one in opened for complaint in one.complaints]
    for one in opened:
        one.page.close()
    assert complaints == []


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    """Serve a folder on the loopback and give its address."""
    servers: list[ThreadingHTTPServer] = []

    def serve_(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/index.html"

    yield serve_
    for server in servers:
        server.shutdown()
        server.server_close()
