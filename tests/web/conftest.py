"""One exported folder, one browser and one loaded page for all tests of the web page: loading takes longest."""

import pytest
from page_driver import ARGUMENTS, PageDriver, chromium, hosted

from yoso.export.web_folder import fill_folder
from yoso.inference.loading import load
from yoso.serve.page import open_page_model
from yoso.weights.layout import bundled_models

MODEL = "facades-mnv2"


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
    found = chromium()
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


@pytest.fixture(scope="session")
def loaded(context, address):
    """The page on a plain host, below a sub-path: no isolation, so one thread."""
    return PageDriver(context, address)
