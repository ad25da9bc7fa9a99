"""Masks that are cropped to their boxes, so that comparing two costs as much as the objects are large."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class CroppedMask:
    """The pixels of one segment.

    Attributes:
        left: first column of the box in the frame; a prediction may lie between pixels or outside the frame.
        top: first row of the box in the frame.
        pixels: (h, w) bool, True where the box belongs to the segment.
        area: number of True pixels.
        centre: (2,) mean x and y of the True pixels in the frame.
    """

    left: int | float
    top: int | float
    pixels: np.ndarray
    area: int
    centre: np.ndarray

    @classmethod
    def of(cls, segmentation: np.ndarray, segment_id: int, box: tuple[int, int, int, int]) -> "CroppedMask":
        """Cut a segment out of an id map.

        Args:
            segmentation: (H, W) integers.
            segment_id: whose pixels to take.
            box: x, y, width and height that hold the segment.
        """
        left, top, width, height = box
        pixels = segmentation[top : top + height, left : left + width] == segment_id
        # Products are several times faster than sums of bool arrays along an axis.
        ones, (x_sums, y_sums) = pixels.astype(np.float32), (_ramp(side) for side in pixels.shape[::-1])
        by_column, by_row = y_sums[0] @ ones, ones @ x_sums[0]
        area = int(by_row.sum())
        x, y = float(by_column @ x_sums[1]) / max(area, 1), float(by_row @ y_sums[1]) / max(area, 1)
        return cls(left, top, pixels, area, np.array([left + x + 0.5, top + y + 0.5]))

    def moved(self, shift: np.ndarray) -> "CroppedMask":
        """Return the mask at another place.

        Args:
            shift: (2,) pixels to the right and down.
        """
        x, y = shift.tolist()
        return CroppedMask(self.left + x, self.top + y, self.pixels, self.area, self.centre + shift)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First column, first row, and the column and row behind the last ones, in whole pixels."""
        left, top = round(self.left), round(self.top)
        return left, top, left + self.pixels.shape[1], top + self.pixels.shape[0]


@lru_cache(4096)
def _ramp(length: int) -> np.ndarray:
    """Return ones, and the numbers from 0 on, as the rows of (2, length) float32."""
    return np.stack([np.ones(length, np.float32), np.arange(length, dtype=np.float32)])


def boxes_of(masks: list[CroppedMask]) -> np.ndarray:
    """Return the boxes (n, 4) of n masks."""
    return np.array([mask.box for mask in masks], np.int64).reshape(-1, 4)


def shared_pixels(ones: list[CroppedMask], others: list[CroppedMask]) -> np.ndarray:
    """Count the pixels that each of m masks shares with each of n others, (m, n) float64."""
    shared = np.zeros((len(ones), len(others)))
    boxes, other_boxes = boxes_of(ones), boxes_of(others)
    begin = np.maximum(boxes[:, None, :2], other_boxes[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], other_boxes[None, :, 2:])
    rows, columns = np.nonzero((end > begin).all(2))
    parts = np.concatenate([begin[rows, columns], end[rows, columns]], 1)
    own = (parts - np.tile(boxes[rows, :2], 2)).tolist()
    theirs = (parts - np.tile(other_boxes[columns, :2], 2)).tolist()
    for row, column, (a, b, c, d), (e, f, g, h) in zip(rows.tolist(), columns.tolist(), own, theirs, strict=True):
        shared[row, column] = np.count_nonzero(ones[row].pixels[b:d, a:c] & others[column].pixels[f:h, e:g])
    return shared
