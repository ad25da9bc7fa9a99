"""An exported file may differ from the network by rounding, and on few images by a flipped pixel of a hard mask."""

import numpy as np
import pytest
import torch

from yoso.errors import ConfigError, ExportError
from yoso.export.check import check_parity
from yoso.inference.predictor import Predictor
from yoso.postprocess import Sizes
from yoso.settings import InferenceConfig


class StandIn(Predictor):
    """Finds one segment in every image, whose first value is its number; some results are changed."""

    def __init__(self, pixels=None, scores=None, labels=None, logits=None):
        self.inference = InferenceConfig(0.5, 0.5, None)
        self.pixels, self.scores, self.labels, self.logits = (item or {} for item in (pixels, scores, labels, logits))
        self.gives_logits = logits is not None

    def __call__(self, image, input_size=None):
        number = int(image[0, 0, 0])
        segmentation = np.ones((100, 100), np.int32)
        segmentation.flat[: self.pixels.get(number, 0)] = 0
        info = {"label_id": self.labels.get(number, 2), "score": 0.9 + self.scores.get(number, 0.0)}
        return {"segmentation": segmentation, "segments_info": [info]}

    def outputs(self, image, input_size):
        if not self.gives_logits:
            raise ConfigError("no logits")
        logits = torch.tensor([-2.0, 4.0])
        return logits, logits * (1 + self.logits.get(int(image[0, 0, 0]), 0.0)), Sizes(*[(100, 100)] * 3)


def images(count):
    return [np.full((100, 100, 3), number, np.uint8) for number in range(count)]


def parity(count, half=False, **touched):
    original = StandIn(logits={} if "logits" in touched else None)
    return check_parity(StandIn(**touched), original, images(count), half)


def test_rounding_is_reported():
    found = parity(3, pixels={0: 4, 2: 9}, scores={1: 1e-4}, logits={1: 1e-5})
    assert (found.num_images, found.num_flipped) == (3, 0)
    assert (found.pixels, found.resized) == (9e-4, 9e-4)
    assert found.score == pytest.approx(1e-4)
    assert found.logits == pytest.approx(1e-5, rel=0.01)
    assert parity(1).logits is None


@pytest.mark.parametrize(("count", "flipped"), [(2, 1), (3, 1), (4, 1), (40, 10)])
@pytest.mark.parametrize("touch", [{"pixels": 302}, {"scores": 0.002}, {"logits": 0.02}])
def test_a_pixel_may_flip_on_some_images(count, flipped, touch):
    [(what, amount)] = touch.items()
    found = parity(count, **{what: dict.fromkeys(range(flipped), amount)})
    assert found.num_flipped == flipped
    assert (found.pixels, found.score) == (0.0, 0.0)
    assert found.resized == (0.0302 if what == "pixels" else 0.0)
    with pytest.raises(ExportError, match=r"is not the original: .* nothing was written"):
        parity(count, **{what: dict.fromkeys(range(flipped + 1), amount)})


def test_a_single_image_may_not_differ():
    with pytest.raises(ExportError, match=r"3\.02% of an image's pixels"):
        parity(1, pixels={0: 302})


@pytest.mark.parametrize("touch", [{"pixels": 501}, {"labels": 1}, {"logits": 0.06}, {"logits": float("nan")}])
@pytest.mark.parametrize("half", [False, True])
def test_no_image_may_be_segmented_otherwise(touch, half):
    [(what, amount)] = touch.items()
    with pytest.raises(ExportError, match="is not the original"):
        parity(60, half, **{what: {7: amount}})


def test_in_half_precision_a_pixel_may_flip_on_every_image():
    found = parity(3, True, pixels={0: 302, 1: 302, 2: 200}, logits={0: 0.01, 1: 0.04, 2: 0.02})
    assert (found.num_flipped, found.pixels) == (0, 0.0302)
    assert found.logits == pytest.approx(0.04, rel=0.01)
