"""Tiles through a predictor: more objects than queries, images of every size, and the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from yoso.apps.cli import main
from yoso.categories import Categories, Category
from yoso.errors import ConfigError
from yoso.inference.engine import Timings
from yoso.inference.predictor import Predictor
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.segments import Segment
from yoso.settings import InferenceConfig

CATEGORIES = Categories([Category(1, "cell", True, (9, 9, 9)), Category(2, "ground", False, (5, 5, 5))])
NUM_QUERIES = 6


class SeesBlocks:
    """An engine with few queries: each gray of an image is an object, 0 is ground, and queries go to the largest."""

    runtime, device, precision, has_embeddings = "torch", "cpu", "fp32", False

    def __init__(self):
        self.sizes = []

    def segment(self, pixels, request):
        self.sizes.append(pixels.shape[:2])
        assert request.output_size == pixels.shape[:2]
        grays = pixels[..., 0]
        numbers, counts = np.unique(grays, return_counts=True)
        kept = numbers[np.argsort(-counts, kind="stable")][:NUM_QUERIES]
        ids = np.zeros(grays.shape, np.int32)
        segments = []
        for number in kept.tolist():
            ids[grays == number] = len(segments) + 1
            area = int((grays == number).sum())
            segments.append(Segment(len(segments) + 1, int(number == 0), 0.9, area, (0, 0, 1, 1)))
        return PanopticArrays(ids, segments), Timings(0.0, 0.001, 0.002, 0.003)

    def logits(self, pixels, request):
        raise AssertionError("not needed")


@pytest.fixture
def sees_blocks():
    return Predictor(SeesBlocks(), CATEGORIES, InferenceConfig())


def crowd(height, width, step=16):
    """Return an image with a cell of a gray of its own every `step` pixels, and the number of cells."""
    image = np.zeros((height, width, 3), np.uint8)
    places = [(y, x) for y in range(2, height - 8, step) for x in range(2, width - 8, step)]
    for number, (y, x) in enumerate(places, 1):
        image[y : y + 8, x : x + 8] = number
    return image, len(places)


def things(result):
    return [info for info in result["segments_info"] if info["is_thing"]]


def test_tiles_find_more_objects_than_there_are_queries(sees_blocks):
    image, count = crowd(96, 160)
    assert count == 60
    assert len(things(sees_blocks(image))) == NUM_QUERIES - 1
    result = sees_blocks(image, tiles=(32, 16))
    assert len(things(result)) == count
    assert {info["area"] for info in things(result)} == {64}
    assert [info["label"] for info in result["segments_info"] if not info["is_thing"]] == ["ground"]
    assert len(np.unique(result["segmentation"][image[..., 0] == 0])) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 32), (64, 64), (20, 200)])
def test_every_image_size_gets_a_result_of_its_size(size, sees_blocks):
    image, count = crowd(*size)
    result, timings = sees_blocks.timed(image, tiles=32)
    assert result["segmentation"].shape == size
    assert len(things(result)) == count
    tiles = sees_blocks.engine.sizes
    assert set(tiles) == {(min(32, size[0]), min(32, size[1]))}
    assert timings.network_seconds == pytest.approx(0.002 * len(tiles))
    assert timings.merge_seconds >= 0.003 * len(tiles)


def test_tiles_larger_than_the_image_are_a_single_pass(tiny_predictor, tiny_image):
    whole, tiled = tiny_predictor(tiny_image), tiny_predictor(tiny_image, tiles=4096)
    assert (whole["segmentation"] > 0).tolist() == (tiled["segmentation"] > 0).tolist()
    assert [info["area"] for info in whole["segments_info"]] == [info["area"] for info in tiled["segments_info"]]
    assert [info["bbox"] for info in whole["segments_info"]] == [info["bbox"] for info in tiled["segments_info"]]
    assert [info["score"] for info in whole["segments_info"]] == [info["score"] for info in tiled["segments_info"]]


@pytest.fixture
def tiny_predictor(tiny_model):
    from yoso.inference.loading import load

    return load(tiny_model, "cpu")


@pytest.fixture
def tiny_image(tiny_dataset):
    return tiny_dataset / "val" / "0.png"


def test_another_output_size_is_refused(sees_blocks):
    with pytest.raises(ConfigError, match="output_size cannot be combined with tiles"):
        sees_blocks(crowd(32, 32)[0], tiles=16, output_size=(8, 8))
    with pytest.raises(ConfigError, match="tiles is 2; the side of a tile is at least 4 pixels"):
        sees_blocks(crowd(32, 32)[0], tiles=2)


def test_predict_in_tiles_on_the_command_line(tiny_model, tiny_dataset, tmp_path, capsys):
    words = [
        "predict",
        str(tiny_dataset / "val" / "0.png"),
        "--model",
        str(tiny_model),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--tiles", "64,16", "--json", "--no-overlay"]) == 0
    document = json.loads(capsys.readouterr().out)
    for image in document["images"]:
        with Image.open(image["panoptic"]) as png:
            assert (png.height, png.width) == (image["height"], image["width"])
    written = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert written["info"]["yoso"]["tiles"] == [64, 16]
    assert main([*words, "--resume"]) == 2
    assert "was made with tiles = [64, 16], now it is None" in capsys.readouterr().err


def test_eval_in_tiles_on_the_command_line(tiny_model, tiny_dataset, tmp_path, capsys):
    words = ["eval", "--model", str(tiny_model), "--data", str(tiny_dataset), "--output", str(tmp_path / "out")]
    words += ["--limit", "2"]
    assert main([*words, "--tiles", "4096", "--json"]) == 0
    tiled = json.loads(capsys.readouterr().out)
    assert main([*words, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert tiled["tiles"] == [4096, 1024]
    assert whole["tiles"] is None
    assert tiled["all"] == whole["all"]
    for more in (["--tune"], ["--tasks", "semantic"]):
        assert main([*words, "--tiles", "64", *more]) == 2
        assert "--tiles gives panoptic results only" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["x", "64x16", "64,", "-64", "64,16,4", "1e3"])
def test_an_invalid_tile_size_is_one_line(text, capsys):
    assert main(["predict", "image.png", f"--tiles={text}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--tiles {text}: give SIDE or SIDE,OVERLAP in pixels, such as 512 or 512,128" in line
