"""Is an exported file the network it was made from? Both segment the same photographs, and the results are compared."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from yoso.errors import ConfigError, ExportError
from yoso.inference.predictor import Predictor, Result
from yoso.preprocess import resize, resized_size

MOST_DIFFERING = 1e-3
"""Share of a photograph's pixels that may belong to another segment, because two tie."""

MOST_SCORE = 1e-3
"""Difference that the score of a segment may have."""

MOST_RESIZED = 0.05
"""Share of a photograph's pixels that may have another class where the file resizes the photograph itself: single
values differ by one level then, and a segment that is only just there may go."""

LOGIT_TOLERANCE = 1e-3
"""Difference of logits on the same pixels, relative to the largest absolute value of each tensor; what was measured is
below 1e-5, and a wrong operator is far above."""

HALF_TOLERANCE = 0.05
"""The same where backbone and aggregator are in float16. Rounding turns single pixels of the masks that features are
summed under, so a trained network differed by up to 0.01."""


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with PyTorch.

    Attributes:
        photographs: how many were compared.
        pixels: largest share of a photograph's pixels in another segment, both given the same resized photograph; 1 if
            they do not find the same segments.
        score: largest difference of a segment's score, likewise.
        resized: largest share of a photograph's pixels of another class, each resizing for itself.
        logits: largest difference of logits, relative to the largest absolute value; None if the file gives none.
    """

    photographs: int
    pixels: float
    score: float
    resized: float
    logits: float | None


def check_parity(
    exported: Predictor, original: Predictor, photographs: Iterable[np.ndarray], half: bool = False
) -> Parity:
    """Compare an exported file with the network.

    Args:
        exported: reads the file.
        original: the same model in PyTorch.
        photographs: uint8 (H, W, 3), RGB.
        half: the file's backbone is in float16, so that segments at a threshold may come or go; logits and the classes
            of pixels are what must agree.

    Raises:
        ExportError: they differ by more than rounding.
    """
    count, pixels, score, resized, logits = 0, 0.0, 0.0, 0.0, None
    for photograph in photographs:
        count += 1
        small = resize(photograph, resized_size(photograph.shape[:2], original.inference.input_size))
        share, difference = _segments(exported, original, small)
        pixels, score = max(pixels, share), max(score, difference)
        resized = max(resized, float(np.mean(_classes(exported(photograph)) != _classes(original(photograph)))))
        relative = _logits(exported, original, small)
        if relative is not None:
            logits = max(logits or 0.0, relative)
    parity = Parity(count, pixels, score, resized, logits)
    worst = [resized / MOST_RESIZED, (logits or 0.0) / (HALF_TOLERANCE if half else LOGIT_TOLERANCE)]
    if not half:
        worst += [pixels / MOST_DIFFERING, score / MOST_SCORE]
    if max(worst) > 1:
        raise ExportError(
            f"the exported network is not the original: {100 * pixels:.2f}% of a photograph's pixels, {score:.1e} of a "
            f"score, {logits or 0.0:.1e} of the logits differ, and {100 * resized:.1f}% of the classes after resizing; "
            "nothing was written. Please report it"
        )
    return parity


def _classes(result: Result) -> np.ndarray:
    """Return 1 + the class index of every pixel, 0 where it is void."""
    table = np.array([0, *(info["label_id"] + 1 for info in result["segments_info"])])
    return table[result["segmentation"]]


def _segments(exported: Predictor, original: Predictor, photograph: np.ndarray) -> tuple[float, float]:
    theirs, ours = (predictor(photograph, input_size="native") for predictor in (exported, original))
    share = float(np.mean(theirs["segmentation"] != ours["segmentation"]))
    labels = [[info["label_id"] for info in result["segments_info"]] for result in (theirs, ours)]
    if labels[0] != labels[1]:
        return 1.0, 1.0
    pairs = zip(theirs["segments_info"], ours["segments_info"], strict=True)
    return share, max((abs(a["score"] - b["score"]) for a, b in pairs), default=0.0)


def _logits(exported: Predictor, original: Predictor, photograph: np.ndarray) -> float | None:
    try:
        theirs = exported.outputs(photograph, input_size="native")
    except ConfigError:
        return None
    worst = 0.0
    for a, b in zip(theirs[:2], original.outputs(photograph, input_size="native")[:2], strict=True):
        difference = float((a - b.cpu()).abs().max() / b.abs().max())
        # Overflow makes NaN, which no comparison would find.
        worst = max(worst, math.inf if math.isnan(difference) else difference)
    return worst


def drawn_photographs(size: tuple[int, int]) -> list[np.ndarray]:
    """Return two drawn scenes, for when there is no photograph at hand.

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
