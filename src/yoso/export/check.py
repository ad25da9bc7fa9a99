"""Comparing an exported file with the network it was made from: both segment the same images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from yoso.errors import ConfigError, ExportError
from yoso.inference.predictor import Predictor, Result
from yoso.preprocess import resize, resized_size

PIXEL_TOLERANCE = 1e-3
"""Share of an image's pixels that may belong to another segment, because two segments tie."""

SCORE_TOLERANCE = 1e-3
"""Absolute difference of a segment's score."""

LOGIT_TOLERANCE = 1e-3
"""Difference of logits for the same pixels, relative to the largest absolute value of each tensor. Correct files were
measured below 1e-5; a wrong operator is far above."""

RESIZED_TOLERANCE = 0.05
"""Share of an image's pixels that may have another class if the file resizes the image itself: single values differ by
one level, and a segment near a threshold may disappear."""

FLIPPED_LOGIT_TOLERANCE = 0.05
"""Like `LOGIT_TOLERANCE`, for an image in which a pixel of a hard mask lies on the other side of zero: a stage sums
features under hard masks, so one pixel of a small mask changes the input of its query. With backbone and aggregator in
float16 this is common, and logits of a trained network differed by up to 0.01. In float32 they differed by up to 0.02
for four images of 60, and by 3e-6 for the others."""


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with PyTorch.

    Attributes:
        num_images: number of images compared.
        pixels: largest share of an image's pixels in another segment, given the same resized image; 1 if the segments
            found are not the same.
        score: largest difference of a segment's score, given the same resized image.
        resized: largest share of an image's pixels of another class, if each side resizes the image itself.
        logits: largest difference of logits, relative to the largest absolute value; None if the file gives none.
        num_flipped: images that differ by more than rounding, because a pixel of a hard mask lies on the other side of
            zero. Only `resized` includes them.
    """

    num_images: int
    pixels: float
    score: float
    resized: float
    logits: float | None
    num_flipped: int


@dataclass(frozen=True)
class _Differences:
    """For one image; named as in `Parity`."""

    pixels: float
    score: float
    resized: float
    logits: float | None

    def only_rounding(self) -> bool:
        """Return whether rounding explains the differences."""
        alike = self.pixels <= PIXEL_TOLERANCE and self.score <= SCORE_TOLERANCE
        return alike and (self.logits or 0.0) <= LOGIT_TOLERANCE

    def at_most_flipped(self) -> bool:
        """Return whether pixels of hard masks on the other side of zero explain the differences."""
        return self.resized <= RESIZED_TOLERANCE and (self.logits or 0.0) <= FLIPPED_LOGIT_TOLERANCE


def check_parity(exported: Predictor, original: Predictor, images: Iterable[np.ndarray], half: bool = False) -> Parity:
    """Compare an exported file with the network.

    A wrong operator shows on every image, a flipped pixel of a hard mask on few. So a quarter of the images, or one of
    two or three, may differ by more than rounding.

    Args:
        exported: runs the file.
        original: runs the same model in PyTorch.
        images: uint8 (H, W, 3), RGB; at least one.
        half: the file's backbone is in float16, so segments near a threshold may differ; only logits and the classes of
            pixels must agree.

    Raises:
        ExportError: they differ by more than that.
    """
    found = [_differences(exported, original, image) for image in images]
    counted = found if half else [each for each in found if each.only_rounding()]
    num_flipped = len(found) - len(counted)
    worst = _worst(counted or found)
    if num_flipped > max(len(found) // 4, min(1, len(found) - 1)) or not all(each.at_most_flipped() for each in found):
        worst = _worst(found)
        raise ExportError(
            f"the exported network is not the original: {100 * worst.pixels:.2f}% of an image's pixels, "
            f"{worst.score:.1e} of a score, {worst.logits or 0.0:.1e} of the logits differ, and "
            f"{100 * worst.resized:.1f}% of the classes after resizing; nothing was written. "
            "If more images give the same result, please report it"
        )
    return Parity(len(found), worst.pixels, worst.score, _worst(found).resized, worst.logits, num_flipped)


def _differences(exported: Predictor, original: Predictor, image: np.ndarray) -> _Differences:
    small = resize(image, resized_size(image.shape[:2], original.inference.input_size))
    share, difference = _segments(exported, original, small)
    resized = float(np.mean(_classes(exported(image)) != _classes(original(image))))
    return _Differences(share, difference, resized, _logits(exported, original, small))


def _worst(found: list[_Differences]) -> _Differences:
    logits = [each.logits for each in found if each.logits is not None]
    return _Differences(
        max(each.pixels for each in found),
        max(each.score for each in found),
        max(each.resized for each in found),
        max(logits) if logits else None,
    )


def _classes(result: Result) -> np.ndarray:
    """Return 1 + the class index of every pixel, 0 if it is void."""
    table = np.array([0, *(info["label_id"] + 1 for info in result["segments_info"])])
    return table[result["segmentation"]]


def _segments(exported: Predictor, original: Predictor, image: np.ndarray) -> tuple[float, float]:
    theirs, ours = (predictor(image, input_size="native") for predictor in (exported, original))
    share = float(np.mean(theirs["segmentation"] != ours["segmentation"]))
    labels = [[info["label_id"] for info in result["segments_info"]] for result in (theirs, ours)]
    if labels[0] != labels[1]:
        return 1.0, 1.0
    pairs = zip(theirs["segments_info"], ours["segments_info"], strict=True)
    return share, max((abs(a["score"] - b["score"]) for a, b in pairs), default=0.0)


def _logits(exported: Predictor, original: Predictor, image: np.ndarray) -> float | None:
    try:
        theirs = exported.outputs(image, input_size="native")
    except ConfigError:
        return None
    worst = 0.0
    for a, b in zip(theirs[:2], original.outputs(image, input_size="native")[:2], strict=True):
        difference = float((a - b.cpu()).abs().max() / b.abs().max())
        # Overflow gives NaN, which no comparison would find.
        worst = max(worst, math.inf if math.isnan(difference) else difference)
    return worst


def drawn_images(size: tuple[int, int]) -> list[np.ndarray]:
    """Return two drawn scenes to compare on if there are no real images.

    Args:
        size: (height, width) in pixels.
    """
    height, width = size
    scenes = []
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        rows = np.linspace(0, 1, height)[:, None, None]
        sky = (1 - rows) * (120, 160, 230) + rows * (90, 110, 80) + random.normal(0, 6, (height, width, 3))
        picture = Image.fromarray(sky.clip(0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for _ in range(24):
            left, top = random.integers((0, height // 4), (width, height)).tolist()
            wide, high = random.integers(4, (width // 3 + 5, height // 3 + 5)).tolist()
            red, green, blue = random.integers(0, 256, 3).tolist()
            draw.rectangle((left, top, left + wide, top + high), fill=(red, green, blue))
        scenes.append(np.asarray(picture))
    return scenes
