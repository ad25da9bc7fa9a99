"""Where panoptic quality is lost: which class was taken for which, and how well things of each size are found.

Both are made of the matches, mistakes and misses that panoptic quality counts, and add up to them exactly.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.evaluation.matching import MatchCounts, Matching
from yoso.evaluation.quality import panoptic_quality

SIZES = ("small", "medium", "large")
SIZE_BOUNDS = (32**2, 96**2)
"""COCO's areas in pixels: small is below the first, large is not below the second."""


@dataclass(frozen=True)
class Confusion:
    """Which class was taken for which, over one image or many; add two with `+`.

    A matrix has a row per class of the ground truth, then a row "nothing" and a row "void"; and a column per predicted
    class, then a column "nothing".

    In `segments`, every segment of the ground truth that is no crowd is counted once, and every predicted segment:

    - a match of panoptic quality is on the diagonal;
    - two segments of **different** classes with an IoU above 0.5 (void left out of the union, as everywhere) are one
      count in the row of the true and the column of the predicted class, if panoptic quality calls the prediction a
      mistake. At most one such partner exists;
    - any other missed segment is in the column "nothing", any other mistaken prediction in the row "nothing";
    - a prediction that panoptic quality excuses, because more than half of it lies on void or crowd, is in the row
      "void".

    So a class's row adds up to its matched and missed segments, and its column, without the row "void", to its matched
    and mistaken ones.

    In `pixels`, every pixel of the images is counted once, by the class of its segment in the ground truth, crowds
    included, and by that of its predicted segment. Row "void" is id 0 of the ground truth, row "nothing" an id that its
    list lacks, column "nothing" a pixel that no prediction has.

    Attributes:
        segments: (K + 2, K + 1) int64.
        pixels: (K + 2, K + 1) int64.
    """

    segments: np.ndarray
    pixels: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> "Confusion":
        """Return the counts of no image at all."""
        return cls(*(np.zeros((num_classes + 2, num_classes + 1), np.int64) for _ in range(2)))

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.segments + other.segments, self.pixels + other.pixels)


@dataclass(frozen=True)
class Breakdown:
    """Where the panoptic quality of one image or many is lost; add two with `+`.

    Attributes:
        confusion: which class was taken for which.
        by_size: counts (3, K) of the things of each of `SIZES`; stuff, which is one region however large, is left out.
            A segment of the ground truth, matched or missed, counts by its own area, a mistaken prediction by its own.
    """

    confusion: Confusion
    by_size: MatchCounts

    @classmethod
    def zeros(cls, num_classes: int) -> "Breakdown":
        """Return the counts of no image at all."""
        shape = (len(SIZES), num_classes)
        sums = MatchCounts(np.zeros(shape), *(np.zeros(shape, np.int64) for _ in range(3)))
        return cls(Confusion.zeros(num_classes), sums)

    def __add__(self, other: "Breakdown") -> "Breakdown":
        return Breakdown(self.confusion + other.confusion, self.by_size + other.by_size)


class SizeQuality(NamedTuple):
    """Panoptic quality of the things of one size.

    Attributes:
        pq: mean over the classes that occur at this size, 0 to 1; nan, like the next two, if none does.
        sq: segmentation quality, 0 to 1.
        rq: recognition quality, 0 to 1.
        n: how many classes the means are over.
        true_positive: matched segments.
        false_positive: predicted segments without a partner.
        false_negative: ground-truth segments without a partner.
    """

    pq: float
    sq: float
    rq: float
    n: int
    true_positive: int
    false_positive: int
    false_negative: int


class Mixup(NamedTuple):
    """One pair of classes that were confused.

    Attributes:
        truth: class index in the ground truth.
        prediction: class index that was predicted, or K for nothing.
        share: pixels divided by all pixels of the true class, 0 to 1.
        pixels: how many pixels of the true class.
        segments: how many segments of the true class.
    """

    truth: int
    prediction: int
    share: float
    pixels: int
    segments: int


def break_down(matching: Matching, categories: Categories) -> Breakdown:
    """Return the breakdown of one image.

    Args:
        matching: what became of its segments.
        categories: the classes of the data set.
    """
    return Breakdown(
        Confusion(_segment_confusion(matching, len(categories)), _pixel_confusion(matching, len(categories))),
        _counts_by_size(matching, np.array(categories.is_thing)),
    )


def quality_by_size(by_size: MatchCounts, categories: Categories) -> dict[str, SizeQuality]:
    """Return the figures of the things of each size.

    Args:
        by_size: counts (3, K) in the order of `SIZES`.
        categories: the K classes.
    """
    figures = {}
    for row, name in enumerate(SIZES):
        fields = (by_size.true_positive[row], by_size.false_positive[row], by_size.false_negative[row])
        things = panoptic_quality(MatchCounts(by_size.iou_sum[row], *fields), categories).things
        figures[name] = SizeQuality(*things, *(int(field.sum()) for field in fields))
    return figures


def largest_mixups(confusion: Confusion, limit: int) -> list[Mixup]:
    """Return the pairs of different classes with the largest share of the true class's pixels, largest first.

    Args:
        confusion: of any number of images.
        limit: how many at most.
    """
    num_classes = confusion.pixels.shape[1] - 1
    pixels = confusion.pixels[:num_classes].copy()
    totals = pixels.sum(1, keepdims=True)
    np.fill_diagonal(pixels, 0)
    share = pixels / np.maximum(totals, 1)
    order = np.argsort(-share, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, share.shape)
    return [
        Mixup(r, c, float(share[r, c]), int(pixels[r, c]), int(confusion.segments[r, c]))
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        if pixels[r, c]
    ]


def _segment_confusion(matching: Matching, num_classes: int) -> np.ndarray:
    nothing, void = num_classes, num_classes + 1
    match = matching.same_class
    taken = ~match & matching.mistaken[matching.pred_index]
    true_class = matching.gt.classes[matching.gt_index]
    predicted = matching.pred.classes[matching.pred_index]
    unseen, unfounded = matching.missed.copy(), matching.mistaken.copy()
    unseen[matching.gt_index[taken]] = False
    unfounded[matching.pred_index[taken]] = False
    excused = ~matching.mistaken
    excused[matching.pred_index[match]] = False

    paired = match | taken
    shape = (num_classes + 2, num_classes + 1)
    table = _table(shape, true_class[paired], predicted[paired])
    table[:num_classes, nothing] = np.bincount(matching.gt.classes[unseen], minlength=num_classes)
    table[nothing, :num_classes] = np.bincount(matching.pred.classes[unfounded], minlength=num_classes)
    table[void, :num_classes] = np.bincount(matching.pred.classes[excused], minlength=num_classes)
    return table


def _pixel_confusion(matching: Matching, num_classes: int) -> np.ndarray:
    nothing, void = num_classes, num_classes + 1
    row_of = np.array([void, *matching.gt.classes, nothing])
    column_of = np.array([nothing, *matching.pred.classes])
    overlaps = matching.overlaps
    table = _table(
        (num_classes + 2, num_classes + 1), row_of[overlaps.rows], column_of[overlaps.columns], overlaps.pixels
    )
    return table.astype(np.int64)


def _counts_by_size(matching: Matching, is_thing: np.ndarray) -> MatchCounts:
    match = matching.same_class
    g, iou = matching.gt_index[match], matching.iou[match]
    gt_size, pred_size = (np.digitize(area, SIZE_BOUNDS) for area in (matching.gt_area, matching.pred_area))
    shape = (len(SIZES), len(is_thing))
    return MatchCounts(
        _table(shape, gt_size[g], matching.gt.classes[g], iou) * is_thing,
        _table(shape, gt_size[g], matching.gt.classes[g]) * is_thing,
        _table(shape, pred_size[matching.mistaken], matching.pred.classes[matching.mistaken]) * is_thing,
        _table(shape, gt_size[matching.missed], matching.gt.classes[matching.missed]) * is_thing,
    )


def _table(
    shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    return np.bincount(rows * shape[1] + columns, weights, shape[0] * shape[1]).reshape(shape)
