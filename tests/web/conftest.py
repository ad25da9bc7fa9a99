"""One exported folder, one browser and one loaded page for all tests of the web page: loading the model takes longest."""

import functools
import shutil
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from yoso.export.web_folder import fill_folder
from yoso.inference.loading import load
from yoso.serve.page import open_page_model
from yoso.weights.layout import bundled_models

MODEL = "facades-mnv2"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
SEGMENT_MS = 60_000
"""Longest time that an image may take on a busy machine."""


class Handler(SimpleHTTPRequestHandler):
    """A plain static host. `headers_sent` are those of the exported example file, or none."""

    headers_sent: dict[str, str] = {}

    def log_message(self, format, *args):
        """Say nothing."""

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


@pytest.fixture(scope="session")
def onnx_file():
    return bundled_models()[MODEL] / "model.onnx"


@pytest.fixture(scope="session")
def predictor(onnx_file):
    return load(onnx_file, "cpu")


@pytest.fixture(scope="session")
def host_folder(tmp_path_factory, onnx_file):
    """A host's folder with the page two levels below it."""
    root = tmp_path_factory.mktemp("host")
    folder = root / "demos" / "facades"
    folder.mkdir(parents=True)
    fill_folder(folder, [open_page_model(MODEL, onnx_file)])
    return root


@pytest.fixture(scope="session")
def site(host_folder):
    return host_folder / "demos" / "facades"


@pytest.fixture(scope="session")
def address(host_folder):
    with hosted(host_folder) as root:
        yield f"{root}/demos/facades/"


@pytest.fixture(scope="session")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def launch(playwright):
    """Start a browser with more arguments."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("the tests of the web page need Chromium; install it: apt-get install chromium", pytrace=False)
    return lambda *more: playwright.chromium.launch(executable_path=found, args=[*ARGUMENTS, *more])


@pytest.fixture(scope="session")
def browser(launch):
    running = launch()
    yield running
    running.close()


@pytest.fixture(scope="session")
def context(browser):
    made = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light", accept_downloads=True)
    yield made
    made.close()


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
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.problems.append(said.text))
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

    def saved(self, button) -> Path:
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


@pytest.fixture(scope="session")
def loaded(context, address):
    """The page on a plain host, below a sub-path: no isolation, so one thread."""
    return PageDriver(context, address)
