"""Identities over time: switches and IDF1. The definitions are at the top of `yoso.evaluation.video_quality`."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from yoso.evaluation.matching import match_pairs
from yoso.evaluation.tubes import SharedPixels, VideoTubes
from yoso.installation import optional_packages


@dataclass(frozen=True)
class IdentityCounts:
    """Switches and what IDF1 is made of, over one video or many; add two with `+`.

    Attributes:
        switches: matches of a true thing with another track than at its previous match.
        matched: matches of the tracks that are paired over the whole video.
        num_true: segments of things in the ground truth.
        num_predicted: predicted segments of things, those that panoptic quality ignores left out.
    """

    switches: int = 0
    matched: int = 0
    num_true: int = 0
    num_predicted: int = 0

    def __add__(self, other: "IdentityCounts") -> "IdentityCounts":
        return IdentityCounts(
            self.switches + other.switches,
            self.matched + other.matched,
            self.num_true + other.num_true,
            self.num_predicted + other.num_predicted,
        )

    def f1(self) -> float:
        """Return IDF1; nan if there are no things."""
        total = self.num_true + self.num_predicted
        return 2 * self.matched / total if total else float("nan")


class Identities:
    """Follows which track each true thing is matched with, over the frames of one video.

    Raises:
        ConfigError: SciPy is not installed.
    """

    def __init__(self, tubes: VideoTubes) -> None:
        """Count nothing yet; `tubes` are those of the frames to come."""
        with optional_packages("IDF1", "video"):
            from scipy.optimize import linear_sum_assignment

        self._assign = linear_sum_assignment
        self._tubes = tubes
        self._last: dict[int, int] = {}
        self._matches: Counter[tuple[int, int]] = Counter()
        self._switches = self._num_true = self._num_predicted = 0

    def add(self, frame: SharedPixels) -> None:
        """Match one frame."""
        categories = self._tubes.gt.categories
        matching = match_pairs(frame.pairs, frame.gt, frame.pred, categories, "frame")
        counts, is_thing = matching.counts(len(categories)), np.array(categories.is_thing)
        true_positive = counts.true_positive[is_thing].sum()
        self._num_true += int(true_positive + counts.false_negative[is_thing].sum())
        self._num_predicted += int(true_positive + counts.false_positive[is_thing].sum())
        same = matching.same_class
        gt_numbers = matching.gt.ids[matching.gt_index[same]].tolist()
        pred_numbers = matching.pred.ids[matching.pred_index[same]].tolist()
        for gt_number, pred_number in zip(gt_numbers, pred_numbers, strict=True):
            gt, pred = self._tubes.gt.tubes[gt_number - 1].track_id, self._tubes.pred.tubes[pred_number - 1].track_id
            if gt is not None and pred is not None:
                self._switches += self._last.setdefault(gt, pred) != pred
                self._last[gt] = pred
                self._matches[gt, pred] += 1

    def counts(self) -> IdentityCounts:
        """Return the counts of the frames so far, the tracks paired one to one."""
        table = np.zeros((0, 0), np.int64)
        if self._matches:
            pairs = np.array(list(self._matches))
            _, rows = np.unique(pairs[:, 0], return_inverse=True)
            _, columns = np.unique(pairs[:, 1], return_inverse=True)
            table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
            table[rows, columns] = list(self._matches.values())
        matched = int(table[self._assign(table, maximize=True)].sum())
        return IdentityCounts(self._switches, matched, self._num_true, self._num_predicted)
