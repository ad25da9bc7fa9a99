"""Where panoptic quality is lost: which classes are confused, and the quality of things by size.

Both add up exactly to the true positives, false positives and false negatives of panoptic quality.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.evaluation.matching import MatchCounts, Matching
from yoso.evaluation.quality import panoptic_quality

SIZES = ("small", "medium", "large")
SIZE_BOUNDS = (32**2, 96**2)
"""Areas in pixels, as in COCO: small is below the first, large is not below the second."""


@dataclass(frozen=True)
class Confusion:
    """Confusion matrices of one image or many; add two with `+`.

    A matrix has a row per class of the ground truth, then a row "nothing" and a row "void"; and a column per predicted
    class, then a column "nothing".

    In `segments`, every ground-truth segment that is not a crowd is counted once, and every predicted segment:

    - a match of panoptic quality is on the diagonal;
    - two segments of **different** classes with an IoU above 0.5 (without void in the union) are one count in the row
      of the true and the column of the predicted class, if the prediction is a false positive. A segment has at most
      one such partner;
    - any other false negative is in the column "nothing", any other false positive in the row "nothing";
    - a prediction that panoptic quality ignores, because more than half of it lies on void or crowd, is in the row
      "void".

    So the row of a class adds up to its true positives and false negatives, and its column, without the row "void", to
    its true positives and false positives.

    In `pixels`, every pixel is counted once, by the class of its ground-truth segment, crowds included, and by the
    class of its predicted segment. Row "void" is id 0 of the ground truth, row "nothing" an id that the ground truth
    does not list, column "nothing" a pixel without a prediction.

    Attributes:
        segments: (K + 2, K + 1) int64.
        pixels: (K + 2, K + 1) int64.
    """

    segments: np.ndarray
    pixels: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> "Confusion":
        """Return the counts of no images."""
        return cls(*(np.zeros((num_classes + 2, num_classes + 1), np.int64) for _ in range(2)))

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.segments + other.segments, self.pixels + other.pixels)


@dataclass(frozen=True)
class Breakdown:
    """Confusion and counts by size, of one image or many; add two with `+`.

    Attributes:
        confusion: of classes.
        by_size: counts (3, K) of the things of each of `SIZES`. Stuff is left out, because it is one segment per image
            and class. A ground-truth segment counts by its own area, a false positive by its own.
    """

    confusion: Confusion
    by_size: MatchCounts

    @classmethod
    def zeros(cls, num_classes: int) -> "Breakdown":
        """Return the counts of no images."""
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
        true_positive: matches.
        false_positive: unmatched predictions that are not ignored.
        false_negative: unmatched ground-truth segments.
    """

    pq: float
    sq: float
    rq: float
    n: int
    true_positive: int
    false_positive: int
    false_negative: int


class ClassConfusion(NamedTuple):
    """A pair of classes that are confused.

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
        matching: its matched and unmatched segments.
        categories: the classes of the data set.
    """
    return Breakdown(
        Confusion(_segment_confusion(matching, len(categories)), _pixel_confusion(matching, len(categories))),
        _counts_by_size(matching, np.array(categories.is_thing)),
    )


def quality_by_size(by_size: MatchCounts, categories: Categories) -> dict[str, SizeQuality]:
    """Return the panoptic quality of the things of each size.

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


def largest_confusions(confusion: Confusion, limit: int) -> list[ClassConfusion]:
    """Return the pairs of different classes with the largest shares of the true class's pixels, largest first.

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
        ClassConfusion(r, c, float(share[r, c]), int(pixels[r, c]), int(confusion.segments[r, c]))
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        if pixels[r, c]
    ]


def _segment_confusion(matching: Matching, num_classes: int) -> np.ndarray:
    nothing, void = num_classes, num_classes + 1
    match = matching.same_class
    confused = ~match & matching.false_positive[matching.pred_index]
    true_class = matching.gt.classes[matching.gt_index]
    predicted = matching.pred.classes[matching.pred_index]
    only_gt, only_pred = matching.false_negative.copy(), matching.false_positive.copy()
    only_gt[matching.gt_index[confused]] = False
    only_pred[matching.pred_index[confused]] = False
    ignored = ~matching.false_positive
    ignored[matching.pred_index[match]] = False

    paired = match | confused
    shape = (num_classes + 2, num_classes + 1)
    table = _table(shape, true_class[paired], predicted[paired])
    table[:num_classes, nothing] = np.bincount(matching.gt.classes[only_gt], minlength=num_classes)
    table[nothing, :num_classes] = np.bincount(matching.pred.classes[only_pred], minlength=num_classes)
    table[void, :num_classes] = np.bincount(matching.pred.classes[ignored], minlength=num_classes)
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
        _table(shape, pred_size[matching.false_positive], matching.pred.classes[matching.false_positive]) * is_thing,
        _table(shape, gt_size[matching.false_negative], matching.gt.classes[matching.false_negative]) * is_thing,
    )


def _table(
    shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    return np.bincount(rows * shape[1] + columns, weights, shape[0] * shape[1]).reshape(shape)
