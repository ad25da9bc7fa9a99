"""Masks that are cropped to their boxes: what is compared is never larger than the objects."""

from typing import NamedTuple

import numpy as np


class CroppedMask(NamedTuple):
    """One segment's pixels.

    Attributes:
        left: first column of the box in the frame.
        top: first row of the box in the frame.
        pixels: (h, w) bool, True where the box belongs to the segment.
        area: number of True pixels.
    """

    left: int
    top: int
    pixels: np.ndarray
    area: int

    @classmethod
    def of(cls, segmentation: np.ndarray, segment_id: int, bbox: tuple[int, int, int, int]) -> "CroppedMask":
        """Cut a segment out of an id map (H, W); `bbox` is x, y, width, height."""
        left, top, width, height = bbox
        pixels = segmentation[top : top + height, left : left + width] == segment_id
        return cls(left, top, pixels, int(np.count_nonzero(pixels)))

    def moved(self, dx: float, dy: float) -> "CroppedMask":
        """Return the mask at another place, rounded to whole pixels."""
        return self._replace(left=self.left + round(dx), top=self.top + round(dy))


def mask_iou(one: CroppedMask, other: CroppedMask) -> float:
    """Return the intersection over union of two masks, 0 to 1."""
    left, right = max(one.left, other.left), min(one.left + one.pixels.shape[1], other.left + other.pixels.shape[1])
    top, bottom = max(one.top, other.top), min(one.top + one.pixels.shape[0], other.top + other.pixels.shape[0])
    if left >= right or top >= bottom:
        return 0.0
    shared = np.count_nonzero(
        one.pixels[top - one.top : bottom - one.top, left - one.left : right - one.left]
        & other.pixels[top - other.top : bottom - other.top, left - other.left : right - other.left]
    )
    return shared / (one.area + other.area - shared)
