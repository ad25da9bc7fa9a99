"""The page of the server in a real browser: the server segments, with and without a key, under the strict policy."""

import shutil

import pytest
from small_server import running, settings, small_image

KEY = "a-key-of-some-length"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("the tests of the web page need Chromium; install it: apt-get install chromium", pytrace=False)
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield launched
        launched.close()


def opened(browser, address):
    """Open the page; return it and what the browser complains about."""
    page, problems = browser.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: said.type in ("error", "warning") and problems.append(said.text))
    page.goto(address)
    return page, problems


def give_image(page):
    file = {"name": "a.png", "mimeType": "image/png", "buffer": small_image(160, 120)}
    page.set_input_files("#file", file)


def test_the_server_segments(browser, server):
    page, problems = opened(browser, server[0])
    assert page.is_checked("[name=place][value=server]")
    give_image(page)
    page.wait_for_selector("html[data-job]", state="attached", timeout=30_000)
    legend = page.inner_text("#legend").lower()
    assert all(name in legend for name in ("square", "sky", "ground"))
    assert problems == []
    page.close()


def test_the_page_asks_for_the_key(browser):
    with running(settings(key=KEY)) as (address, _, _):
        page, _ = opened(browser, address)
        give_image(page)
        page.wait_for_selector("#note[data-kind=error]:not([hidden])", timeout=30_000)
        assert "API key" in page.inner_text("#note-text")
        page.fill("#key", KEY)
        page.dispatch_event("#key", "change")
        page.wait_for_selector("html[data-job]", state="attached", timeout=30_000)
        page.close()
