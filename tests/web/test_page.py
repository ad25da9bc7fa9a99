"""The exported page in a real browser: it finds what `yoso predict` finds, and every control does what it says."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yoso.files import read_image
from yoso.serve.page import CONTENT_SECURITY_POLICY, PAGE_JSON, page_files

ROOT = Path(__file__).parents[2]
BUILDING = ROOT / "examples" / "building.jpg"


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def pixels():
    """Part of the building, small enough to be quick."""
    return read_image(BUILDING)[100:356, 100:420]


@pytest.fixture
def driver(loaded, pixels):
    """The page, showing `pixels` with the default settings."""
    if "part.png" not in loaded.page.text_content("#caption"):
        loaded.segment(lambda: loaded.give("part.png", png(pixels)))
    loaded.problems.clear()
    yield loaded
    assert loaded.problems == []


def archive(path):
    with zipfile.ZipFile(path) as members:
        assert members.testzip() is None
        return {name: members.read(name) for name in members.namelist()}


def downloaded(driver):
    """The id map and the annotation that the page gives for download."""
    path, name = driver.saved("#save-panoptic")
    assert name.endswith(".panoptic.zip")
    members = archive(path)
    content = json.loads(members["panoptic.json"])
    (annotation,) = content["annotations"]
    mask = np.asarray(Image.open(io.BytesIO(members[f"panoptic/{annotation['file_name']}"])).convert("RGB"), np.int32)
    return mask @ np.array([1, 256, 65536], np.int32), annotation["segments_info"], content


TIED = 1e-4
"""Share of pixels where two segments tie, because sums in WebAssembly and on this processor differ in the last bit."""


def assert_equal(driver, expected, categories):
    ids, infos, content = downloaded(driver)
    assert np.mean(ids != expected["segmentation"]) <= TIED
    assert content["categories"] == categories.to_json()
    assert len(infos) == len(expected["segments_info"]) > 0
    for found, wanted in zip(infos, expected["segments_info"], strict=True):
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-5)
        assert found["category_id"] == categories[wanted["label_id"]].id
        assert found["id"] == wanted["id"]
        assert found["area"] == np.count_nonzero(ids == found["id"])


def test_the_page_finds_what_predict_finds(driver, predictor, pixels):
    assert_equal(driver, predictor(pixels), predictor.categories)


def test_a_sample_is_credited_and_its_jpeg_is_read_as_predict_reads_it(driver, predictor):
    driver.segment(lambda: driver.page.click("#sample-thumbs button"))
    assert "Daniel Büchele, CC BY 2.0" in driver.page.text_content("#caption")
    assert_equal(driver, predictor(read_image(BUILDING)), predictor.categories)


def test_thresholds_are_those_of_predict(driver, predictor, pixels):
    driver.segment(lambda: driver.slide("#object-mask", 0.4))
    driver.segment(lambda: driver.slide("#overlap", 0.8))
    expected = predictor(pixels, object_mask_threshold=0.4, overlap_threshold=0.8)
    assert_equal(driver, expected, predictor.categories)
    driver.segment(lambda: driver.slide("#object-mask", 1))
    assert "none found" in driver.page.text_content("#count")
    driver.segment(lambda: driver.page.click("#defaults"))
    assert driver.page.text_content("#object-mask-value") == "0.70"


def test_the_legend_counts_and_isolates(driver, predictor, pixels):
    infos = predictor(pixels)["segments_info"]
    page = driver.page
    assert page.text_content("#count") == str(len(infos))
    window = page.locator(".class", has_text="window")
    count = sum(info["label"] == "window" for info in infos)
    assert window.get_attribute("aria-label").startswith(f"window, {count} segments, ")
    window.click()
    assert window.get_attribute("aria-pressed") == "true"
    assert page.locator(".chip").count() == count
    page.locator(".chip").first.click()
    assert window.get_attribute("aria-pressed") == "false"
    page.click("#show-all")
    assert page.locator(".chip").count() == 0


SUM = """name => {
  const canvas = document.getElementById(name);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.reduce((sum, value) => sum + value, 0);
}"""


def test_opacity_outlines_and_labels(driver):
    page = driver.page
    page.mouse.move(0, 0)
    driver.slide("#opacity", 20)
    assert page.evaluate("document.getElementById('fill').style.opacity") == "0.2"
    for box, canvas in (("#outlines", "lines"), ("#labels", "names")):
        assert page.evaluate(SUM, canvas) > 0
        page.uncheck(box)
        assert page.evaluate(SUM, canvas) == 0
        page.check(box)
    driver.slide("#opacity", 55)


def test_overlay_and_cutouts(driver, pixels):
    path, name = driver.saved("#save-overlay")
    assert name == "part.overlay.png"
    overlay = np.asarray(Image.open(path).convert("RGB"))
    assert overlay.shape == pixels.shape
    assert np.mean(np.any(overlay != pixels, axis=2)) > 0.05
    _, infos, _ = downloaded(driver)
    path, _ = driver.saved("#save-cutouts")
    pictures = [np.asarray(Image.open(io.BytesIO(content))) for content in archive(path).values()]
    assert [np.count_nonzero(picture[..., 3]) for picture in pictures] == [info["area"] for info in infos]
    left, top, width, height = infos[0]["bbox"]
    inside = pictures[0][..., 3] > 0
    assert np.array_equal(pictures[0][inside][:, :3], pixels[top : top + height, left : left + width][inside])


def test_the_folder_is_small_and_complete(site):
    content = json.loads((site / PAGE_JSON).read_text())
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 25e6
    for entry in (content["runtime"], *content["models"]):
        assert (site / entry["file"].split("?")[0]).stat().st_size == entry["bytes"]
    assert (site / "runtime" / "LICENSE").is_file()
    assert CONTENT_SECURITY_POLICY in (site / "index.html").read_text()


def test_the_service_worker_keeps_every_small_file():
    kept = set(re.findall(r'"([\w./-]+)"', page_files()["sw.js"].read_text().split("];")[0]))
    scripts = {name for name in page_files() if name.endswith((".js", ".css", ".svg"))} - {"sw.js"}
    assert scripts <= kept
