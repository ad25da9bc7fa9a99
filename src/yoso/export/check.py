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

LOOSE_LOGITS = 0.05
"""The same where pixels of hard masks fall on the other side of zero: a stage sums features under such masks, so one
pixel of a small mask changes what the query sees. Where backbone and aggregator are in float16 that is usual, and a
trained network differed by up to 0.01; in float32 four photographs in 60 did by up to 0.02, the others by 3e-6."""


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
        turned: how many photographs differ by more than rounding, as a pixel of a hard mask fell on the other side;
            all figures but `resized` leave them out.
    """

    photographs: int
    pixels: float
    score: float
    resized: float
    logits: float | None
    turned: int


@dataclass(frozen=True)
class _Differences:
    """Of one photograph, named as in `Parity`."""

    pixels: float
    score: float
    resized: float
    logits: float | None

    def strict(self) -> bool:
        """Return whether nothing but rounding differs."""
        alike = self.pixels <= MOST_DIFFERING and self.score <= MOST_SCORE
        return alike and (self.logits or 0.0) <= LOGIT_TOLERANCE

    def loose(self) -> bool:
        """Return whether pixels of hard masks may be all that differs."""
        return self.resized <= MOST_RESIZED and (self.logits or 0.0) <= LOOSE_LOGITS


def check_parity(
    exported: Predictor, original: Predictor, photographs: Iterable[np.ndarray], half: bool = False
) -> Parity:
    """Compare an exported file with the network.

    An operator that does something else shows on every photograph, a pixel of a hard mask that turned on one of many:
    a quarter of them, or one of two or three, may differ by more than rounding.

    Args:
        exported: reads the file.
        original: the same model in PyTorch.
        photographs: uint8 (H, W, 3), RGB; at least one.
        half: the file's backbone is in float16, so that segments at a threshold may come or go; logits and the classes
            of pixels are what must agree.

    Raises:
        ExportError: they differ by more than that.
    """
    found = [_differences(exported, original, photograph) for photograph in photographs]
    counted = found if half else [each for each in found if each.strict()]
    turned = len(found) - len(counted)
    worst = _worst(counted or found)
    if turned > max(len(found) // 4, min(1, len(found) - 1)) or not all(each.loose() for each in found):
        worst = _worst(found)
        raise ExportError(
            f"the exported network is not the original: {100 * worst.pixels:.2f}% of a photograph's pixels, "
            f"{worst.score:.1e} of a score, {worst.logits or 0.0:.1e} of the logits differ, and "
            f"{100 * worst.resized:.1f}% of the classes after resizing; nothing was written. "
            "If it is so with more photographs, please report it"
        )
    return Parity(len(found), worst.pixels, worst.score, _worst(found).resized, worst.logits, turned)


def _differences(exported: Predictor, original: Predictor, photograph: np.ndarray) -> _Differences:
    small = resize(photograph, resized_size(photograph.shape[:2], original.inference.input_size))
    share, difference = _segments(exported, original, small)
    resized = float(np.mean(_classes(exported(photograph)) != _classes(original(photograph))))
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
