"""Panoptic quality from counts: PQ = SQ x RQ, per class and averaged over all classes, things and stuff.

Per class, SQ is the mean IoU of the matches and RQ = TP / (TP + FP/2 + FN/2). The averages are over the classes that
occur in the ground truth or the prediction; the others have no value. All values are between 0 and 1. See
`yoso.evaluation.matching` for what a match is.
"""

from typing import NamedTuple

import numpy as np

from yoso.categories import Categories
from yoso.evaluation.matching import MatchCounts


class Quality(NamedTuple):
    """Means over the classes of a group.

    Attributes:
        pq: panoptic quality, 0 to 1; nan, like the next two, if no class of the group occurs.
        sq: segmentation quality, 0 to 1.
        rq: recognition quality, 0 to 1.
        n: how many classes the means are over.
    """

    pq: float
    sq: float
    rq: float
    n: int


class ClassQuality(NamedTuple):
    """Panoptic quality of one class, with the sums it comes from.

    Attributes:
        pq: panoptic quality, 0 to 1; nan, like the next two, if the class does not occur.
        sq: segmentation quality, 0 to 1; 0 if nothing matched.
        rq: recognition quality, 0 to 1.
        iou_sum: sum of the IoUs of the matches.
        true_positive: matches.
        false_positive: unmatched predictions that are not ignored.
        false_negative: unmatched ground-truth segments.
    """

    pq: float
    sq: float
    rq: float
    iou_sum: float
    true_positive: int
    false_positive: int
    false_negative: int


class PanopticQualityResult(NamedTuple):
    """Panoptic quality of a set of images.

    Attributes:
        all: means over every class that occurs.
        things: means over the things that occur.
        stuff: means over the stuff that occurs.
        per_class: one entry per class of the data set, in class-index order.
    """

    all: Quality
    things: Quality
    stuff: Quality
    per_class: tuple[ClassQuality, ...]


def panoptic_quality(counts: MatchCounts, categories: Categories) -> PanopticQualityResult:
    """Return the panoptic quality of some counts.

    Args:
        counts: sums over any number of images, arrays of length K.
        categories: the K classes.
    """
    pq, sq, rq = figures = _per_class(counts)
    is_thing = np.array(categories.is_thing)
    per_class = tuple(
        ClassQuality(
            pq=float(pq[index]),
            sq=float(sq[index]),
            rq=float(rq[index]),
            iou_sum=float(counts.iou_sum[index]),
            true_positive=int(counts.true_positive[index]),
            false_positive=int(counts.false_positive[index]),
            false_negative=int(counts.false_negative[index]),
        )
        for index in range(len(categories))
    )
    return PanopticQualityResult(
        all=_mean(figures, np.ones(len(categories), bool)),
        things=_mean(figures, is_thing),
        stuff=_mean(figures, ~is_thing),
        per_class=per_class,
    )


def image_quality(counts: MatchCounts) -> Quality:
    """Return the means over the classes that occur in one image, for ranking images.

    Their mean over many images is not the panoptic quality of the set.

    Args:
        counts: the counts of one image.
    """
    return _mean(_per_class(counts), np.ones(len(counts.iou_sum), bool))


def _per_class(counts: MatchCounts) -> np.ndarray:
    """Return (3, K): PQ, SQ and RQ, nan where a class does not occur."""
    matched = counts.true_positive.astype(np.float64)
    weight = matched + (counts.false_positive + counts.false_negative) / 2
    figures = np.full((3, len(matched)), np.nan)
    occurs = weight > 0
    figures[0, occurs] = counts.iou_sum[occurs] / weight[occurs]
    figures[1, occurs] = counts.iou_sum[occurs] / np.maximum(matched[occurs], 1)
    figures[2, occurs] = matched[occurs] / weight[occurs]
    return figures


def _mean(figures: np.ndarray, members: np.ndarray) -> Quality:
    chosen = figures[:, members & ~np.isnan(figures[0])]
    n = chosen.shape[1]
    pq, sq, rq = chosen.mean(axis=1).tolist() if n else [float("nan")] * 3
    return Quality(pq, sq, rq, n)
