"""Segmentation and tracking quality (STQ): how well pixels are associated over time, and how well they are classified.

The definitions are at the top of `yoso.evaluation.video_quality`.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from yoso.evaluation.tubes import SharedPixels, Tube, VideoTubes


@dataclass(frozen=True)
class AssociationCounts:
    """What STQ is made of, over one video or many; add two with `+`.

    Attributes:
        association: association qualities of the true thing tracks, added up.
        num_tracks: how many there are.
        confusion: (K, K+1) int64, pixels per true class and predicted class; the last column is void.
    """

    association: float
    num_tracks: int
    confusion: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> "AssociationCounts":
        """Return the counts of no video at all."""
        return cls(0.0, 0, np.zeros((num_classes, num_classes + 1), np.int64))

    def __add__(self, other: "AssociationCounts") -> "AssociationCounts":
        return AssociationCounts(
            self.association + other.association,
            self.num_tracks + other.num_tracks,
            self.confusion + other.confusion,
        )

    def association_quality(self) -> float:
        """Return AQ; nan if there is no true thing."""
        return self.association / self.num_tracks if self.num_tracks else float("nan")

    def segmentation_quality(self) -> float:
        """Return SQ, the mean IoU of the classes that occur; nan if none does."""
        right = self.confusion[:, :-1].diagonal()
        union = self.confusion.sum(1) + self.confusion[:, :-1].sum(0) - right
        occurs = union > 0
        return float((right[occurs] / union[occurs]).mean()) if occurs.any() else float("nan")


class Associations:
    """Counts the pixels that true and predicted tracks have and share, over the frames of one video."""

    def __init__(self, tubes: VideoTubes) -> None:
        """Count nothing yet; `tubes` are those of the frames to come."""
        self._tubes = tubes
        self._pixels: Counter[tuple[int, int]] = Counter()

    def add(self, frame: SharedPixels) -> None:
        """Count one frame."""
        for gt, pred, pixels in zip(*(column.tolist() for column in frame.pairs), strict=True):
            self._pixels[gt, pred] += pixels

    def counts(self) -> AssociationCounts:
        """Return the counts of the frames so far."""
        categories = self._tubes.gt.categories
        confusion = np.zeros((len(categories), len(categories) + 1), np.int64)
        gt_area: Counter[int] = Counter()
        pred_area: Counter[int] = Counter()
        shared: Counter[tuple[int, int]] = Counter()
        for (gt_number, pred_number), pixels in self._pixels.items():
            gt, pred = self._tubes.gt.tube(gt_number), self._tubes.pred.tube(pred_number)
            if gt is not None:
                confusion[gt.class_index, -1 if pred is None else pred.class_index] += pixels
            true, predicted = _track_id(gt), _track_id(pred)
            if true is not None:
                gt_area[true] += pixels
            if predicted is not None and not (gt is not None and gt.is_crowd and categories[gt.class_index].is_thing):
                pred_area[predicted] += pixels
                if true is not None:
                    shared[true, predicted] += pixels
        association = sum(
            pixels * pixels / (gt_area[gt] + pred_area[pred] - pixels) / gt_area[gt]
            for (gt, pred), pixels in shared.items()
        )
        return AssociationCounts(float(association), len(gt_area), confusion)


def _track_id(tube: Tube | None) -> int | None:
    """Return the identity of a pixel: the track id of a thing, None for stuff, crowds and void."""
    return None if tube is None or tube.is_crowd else tube.track_id
