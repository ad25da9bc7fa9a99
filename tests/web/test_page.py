"""The exported page in a real browser: it finds what `yoso predict` finds, and every control does what it says."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yoso.files import read_image

ROOT = Path(__file__).parents[2]
BUILDING = ROOT / "examples" / "building.jpg"


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def pixels():
    """Part of the building, small enough to be quick."""
    return read_image(BUILDING)[60:300, 60:380]


@pytest.fixture
def driver(loaded, pixels):
    """The page, showing `pixels` with the default settings."""
    if "part.png" not in loaded.page.text_content("#caption"):
        loaded.segment(lambda: loaded.give("part.png", png(pixels)))
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


def assert_equal(driver, expected, categories):
    ids, infos, content = downloaded(driver)
    assert np.array_equal(ids, expected["segmentation"])
    assert content["categories"] == categories.to_json()
    assert len(infos) == len(expected["segments_info"])
    for found, wanted in zip(infos, expected["segments_info"], strict=True):
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-5)
        assert found["category_id"] == categories[wanted["label_id"]].id
        assert (found["id"], found["area"], found["bbox"]) == (wanted["id"], wanted["area"], list(wanted["bbox"]))


def test_the_page_finds_what_predict_finds(driver, predictor, pixels):
    assert_equal(driver, predictor(pixels), predictor.categories)


def test_a_sample_is_credited_and_its_jpeg_is_read_as_predict_reads_it(driver, predictor):
    driver.segment(lambda: driver.page.click("#sample-thumbs button"))
    assert "Daniel Büchele, CC BY 2.0" in driver.page.text_content("#caption")
    assert_equal(driver, predictor(read_image(BUILDING)), predictor.categories)
