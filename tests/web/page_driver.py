"""The exported page on a host of this machine, driven in a browser as a user does."""

import functools
import shutil
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]

SEGMENT_MS = 60_000
"""Longest time that an image may take on a busy machine."""


def chromium():
    """Return the path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Handler(SimpleHTTPRequestHandler):
    """A plain static host that sends some headers; while `down` is set, no host answers."""

    down: ClassVar[bool] = False
    headers_sent: ClassVar[dict[str, str]] = {}

    def log_message(self, format, *args):
        """Say nothing."""

    def do_GET(self):
        """Answer, unless the hosts are down."""
        if not Handler.down:
            super().do_GET()

    def end_headers(self):
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()


@contextmanager
def hosted(folder, headers=None):
    """Serve a folder on this machine, and yield its address."""
    handler = type("Host", (Handler,), {"headers_sent": headers or {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class PageDriver:
    """A page with its model loaded, driven as a user does.

    Attributes:
        page: Playwright's.
        problems: what the browser reported: uncaught errors, blocked content.
        requests: addresses that the page asked for.
    """

    def __init__(self, context, address):
        self.page = context.new_page()
        self.problems = []
        self.requests = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.problems.append(said.text))
        context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.wait("html[data-ready]")

    def wait(self, selector, timeout=SEGMENT_MS):
        self.page.wait_for_selector(selector, state="attached", timeout=timeout)

    def segment(self, action):
        """Do something that segments an image, and wait for the result."""
        job = self.page.locator("html").get_attribute("data-job")
        action()
        self.wait("html[data-job]" if job is None else f'html[data-job]:not([data-job="{job}"])')
        self.wait("#status[data-state=ready]")

    def give(self, name, content, kind="image/png"):
        self.page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})

    def slide(self, selector, value):
        self.page.locator(selector).evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }",
            str(value),
        )

    def saved(self, button) -> tuple[Path, str]:
        with self.page.expect_download() as found:
            self.page.click(button)
        return found.value.path(), found.value.suggested_filename

    def refused(self, action):
        """Do something that the page refuses, and return what it says."""
        action()
        self.wait("#note[data-kind=error]:not([hidden])")
        text = self.page.inner_text("#note-text")
        self.page.click("#note-close")
        return text
