"""Panoptic quality as a torchmetrics metric, for training and for several processes.

The rules are in `yoso.evaluation.matching`, the figures in `yoso.evaluation.quality`; those two, and scoring saved
predictions, do without torch.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from yoso.categories import Categories
from yoso.evaluation.matching import MatchCounts, Segments, count_matches
from yoso.evaluation.quality import PanopticQualityResult, panoptic_quality


class PanopticQuality(Metric):
    """Panoptic quality as a torchmetrics metric: `update` per image, `compute` at the end, summed over processes.

    Called directly, `metric(...)` adds an image and returns the result for that image alone.

    The sums are float64 and int64, so the result does not depend on how images are spread over processes.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    iou_sum: Float[Tensor, " K"]
    true_positive: Int[Tensor, " K"]
    false_positive: Int[Tensor, " K"]
    false_negative: Int[Tensor, " K"]

    def __init__(self, categories: Categories, **kwargs: Any) -> None:
        """Start from zero.

        Args:
            categories: the classes of the data set.
            kwargs: torchmetrics' own options, such as `sync_on_compute`.
        """
        super().__init__(**kwargs)
        self.categories = categories
        k = len(categories)
        self.add_state("iou_sum", torch.zeros(k, dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("true_positive", "false_positive", "false_negative"):
            self.add_state(name, torch.zeros(k, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        pred_id_map: np.ndarray | Int[Tensor, "H W"],
        pred_segments: Segments,
        gt_id_map: np.ndarray | Int[Tensor, "H W"],
        gt_segments: Segments,
        name: str = "image",
    ) -> None:
        """Add one image.

        Args:
            pred_id_map: (H, W) integers, the segment id of each predicted pixel; 0 is void.
            pred_segments: a mapping with `id` and `category_id` per predicted segment; empty is fine.
            gt_id_map: (H, W) integers, the same for the ground truth.
            gt_segments: `id`, `category_id` and `iscrowd` per segment of the ground truth.
            name: what to call the image in an error.

        Raises:
            DatasetError: as `count_matches`.
        """
        counts = count_matches(
            _as_array(gt_id_map), gt_segments, _as_array(pred_id_map), pred_segments, self.categories, name
        )
        self.iou_sum += torch.from_numpy(counts.iou_sum).to(self.iou_sum.device)
        self.true_positive += torch.from_numpy(counts.true_positive).to(self.true_positive.device)
        self.false_positive += torch.from_numpy(counts.false_positive).to(self.false_positive.device)
        self.false_negative += torch.from_numpy(counts.false_negative).to(self.false_negative.device)

    def compute(self) -> PanopticQualityResult:
        """Return the figures of every image so far, over all processes."""
        counts = MatchCounts(
            iou_sum=self.iou_sum.cpu().numpy(),
            true_positive=self.true_positive.cpu().numpy(),
            false_positive=self.false_positive.cpu().numpy(),
            false_negative=self.false_negative.cpu().numpy(),
        )
        return panoptic_quality(counts, self.categories)


def _as_array(id_map: np.ndarray | Tensor) -> np.ndarray:
    return id_map.cpu().numpy() if isinstance(id_map, Tensor) else id_map
