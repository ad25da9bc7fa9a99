"""Measures the page of `yoso export --format web` in Chromium: time to the first result, per image, and download size.

    python benchmarks/browser.py [--repeats 10] [--screenshots FOLDER] [--json FILE]

Output: JSON; with --json the figures, with --screenshots pictures of the page (light, dark, phone)

The page comes from a host on this machine, so times do not include a network. "Cold" is a browser without any cache,
"warm" a reload. It needs Chromium and the package playwright.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "web"))

from page_driver import ARGUMENTS, PageDriver, chromium, hosted  # noqa: E402

from yoso.export.web_folder import HEADERS, fill_folder  # noqa: E402
from yoso.serve.page import open_page_model  # noqa: E402
from yoso.weights.layout import bundled_models  # noqa: E402

MODEL = "facades-mnv2"
VIEWS = {"light": ("light", 1280, 800), "dark": ("dark", 1280, 800), "phone": ("light", 390, 844)}


def show_sample(driver: PageDriver) -> None:
    """Segment the first sample image, from the empty page or again."""
    thumbs = driver.page.is_visible("#toolbar")
    driver.segment(lambda: driver.page.click("#sample-thumbs button" if thumbs else "#sample-list button"))


def measured(browser: Any, address: str, repeats: int) -> dict[str, float]:
    """Return seconds to the first result, cold and warm, and milliseconds per image after it."""
    context = browser.new_context()
    start = time.perf_counter()
    driver = PageDriver(context, address)
    show_sample(driver)
    cold = time.perf_counter() - start
    driver.wait("html[data-offline=ready]")
    start = time.perf_counter()
    driver.page.reload()
    driver.wait("html[data-ready]")
    show_sample(driver)
    warm = time.perf_counter() - start
    times = []
    for _ in range(repeats):
        show_sample(driver)
        times.append(float(driver.page.locator("html").get_attribute("data-milliseconds")))
    threads = driver.page.text_content("#status-text")
    context.close()
    return {"cold_seconds": cold, "warm_seconds": warm, "image_ms": statistics.median(times), "status": threads}


def take_screenshots(browser: Any, address: str, folder: Path) -> None:
    """Write a picture of the page with a result for each of `VIEWS`."""
    for name, (scheme, width, height) in VIEWS.items():
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        driver = PageDriver(context, address)
        show_sample(driver)
        driver.page.mouse.move(0, 0)
        driver.page.screenshot(path=folder / f"web_{name}.png")
        context.close()


def main() -> None:
    """Measure, or take pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        fill_folder(folder, [open_page_model(MODEL, bundled_models()[MODEL] / "model.onnx")])
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        if args.screenshots:
            with hosted(folder) as address:
                take_screenshots(browser, f"{address}/", args.screenshots)
            return
        document = json.loads((folder / "page.json").read_text(encoding="utf-8"))
        entries = [document["runtime"], *document["models"]]
        results: dict[str, Any] = {"browser": browser.version, "download_bytes": sum(one["bytes"] for one in entries)}
        for kind, headers in (("plain host", {}), ("isolated", HEADERS)):
            with hosted(folder, headers) as address:
                results[kind] = measured(browser, f"{address}/", args.repeats)
        browser.close()
    print(json.dumps(results, indent=1))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
