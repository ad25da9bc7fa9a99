"""What training minimises: classes, masks and dice at every stage, after matching each stage on its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from yoso.errors import NonFiniteError
from yoso.loss.matcher import Match, assign, class_cost, dice_cost, mask_cost
from yoso.loss.points import sample_points, uncertain_points
from yoso.structures import StageOutputs, Target


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, in the loss and in the matching alike, and where masks are compared.

    Attributes:
        class_weight: on cross-entropy.
        mask_weight: on the masks' binary cross-entropy.
        dice_weight: on the masks' dice loss.
        no_object_weight: weight of the `no_object` class within the cross-entropy.
        num_points: points per mask.
        oversample_ratio: candidates per point.
        importance_ratio: share of points chosen where the prediction is least sure.
        mask_sampling: "points" compares at sampled points (official); "dense" at every position of the logits with
            area-averaged targets: no randomness, and faster on a CPU.
        ignore_void: void and crowd pixels take no part in the mask terms; officially they are negatives.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_ratio: float = 0.75
    mask_sampling: Literal["points", "dense"] = "points"
    ignore_void: bool = False


class Criterion(nn.Module):
    """The set criterion."""

    class_weights: Tensor

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        """Prepare for K classes."""
        super().__init__()
        self.config = config
        weights = torch.ones(num_classes + 1)
        weights[-1] = config.no_object_weight
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, stages: Sequence[StageOutputs], targets: Sequence[Target]) -> dict[str, Float[Tensor, ""]]:
        """Return weighted terms `stage{i}/class`, `stage{i}/mask`, `stage{i}/dice`; their sum is the loss."""
        device = stages[0].mask_logits.device
        with torch.autocast(device.type, enabled=False):
            dense = None
            if self.config.mask_sampling == "dense":
                dense = [pooled(target, stages[0].mask_logits.shape[-2:]) for target in targets]
            normaliser = mean_target_count(targets, device)
            terms: dict[str, Tensor] = {}
            for index, stage in enumerate(stages):
                terms |= self._stage(index, stage, targets, dense, normaliser)
        return terms

    def _stage(self, index, stage, targets, dense, normaliser):
        classes = None if stage.class_logits is None else stage.class_logits.float()
        masks = stage.mask_logits.float()
        matches = [self._match(index, image, classes, masks, targets, dense) for image in range(len(targets))]
        terms = {}
        if classes is not None:
            terms["class"] = self.config.class_weight * self._class_loss(classes, targets, matches)
        bce, dice = self._mask_losses(masks, targets, matches, dense)
        terms["mask"] = self.config.mask_weight * bce / normaliser
        terms["dice"] = self.config.dice_weight * dice / normaliser
        for name, value in terms.items():
            if not bool(torch.isfinite(value)):
                names = ", ".join(target.name or f"image {i}" for i, target in enumerate(targets))
                raise NonFiniteError(f"the {name} loss of stage {index} became {value.item()} on {names}")
        return {f"stage{index}/{name}": value for name, value in terms.items()}

    @torch.no_grad()
    def _match(self, index, image, classes, masks, targets, dense) -> Match:
        target, logits = targets[image], masks[image]
        if dense is not None:
            truth, weight = dense[image]
            logits = logits.flatten(1)
        else:
            points = torch.rand(1, self.config.num_points, 2, device=logits.device)
            truth, weight = sampled(target, points.expand(len(target.labels), -1, -1)) if len(target.labels) else (
                logits.new_zeros(0, self.config.num_points), logits.new_ones(self.config.num_points))
            logits = sample_points(logits, points)
            if weight.dim() == 2:
                weight = weight[0]
        costs = {
            "mask": self.config.mask_weight * mask_cost(logits, truth, weight),
            "dice": self.config.dice_weight * dice_cost(logits, truth, weight),
        }
        if classes is not None:
            costs["class"] = self.config.class_weight * class_cost(classes[image], target.labels)
        return assign(costs, f"{target.name or f'image {image}'}, stage {index}")

    def _class_loss(self, classes, targets, matches):
        truth = torch.full(classes.shape[:2], classes.shape[-1] - 1, dtype=torch.int64, device=classes.device)
        for row, target, match in zip(truth, targets, matches, strict=True):
            row[match.queries] = target.labels[match.targets].long()
        return F.cross_entropy(classes.flatten(0, 1), truth.flatten(), self.class_weights)

    def _mask_losses(self, masks, targets, matches, dense):
        logits = torch.cat([image[match.queries] for image, match in zip(masks, matches, strict=True)])
        if len(logits) == 0:
            zero = masks.sum() * 0
            return zero, zero
        if dense is not None:
            truth = torch.cat([pair[0][match.targets] for pair, match in zip(dense, matches, strict=True)])
            weight = torch.cat([pair[1].expand(len(match.targets), -1) for pair, match in zip(dense, matches, strict=True)])
            values = logits.flatten(1)
        else:
            points = uncertain_points(logits.detach(), self.config.num_points, self.config.oversample_ratio, self.config.importance_ratio)
            pairs, start = [], 0
            for target, match in zip(targets, matches, strict=True):
                mine = points[start : start + len(match.targets)]
                pairs.append(sampled(target, mine, match.targets))
                start += len(match.targets)
            truth = torch.cat([pair[0] for pair in pairs])
            weight = torch.cat([pair[1] for pair in pairs])
            values = sample_points(logits, points)
        bce = F.binary_cross_entropy_with_logits(values, truth, weight, reduction="none").sum(1) / weight.sum(1).clamp(min=1)
        inside, truth = values.sigmoid() * weight, truth * weight
        dice = 1 - (2 * (inside * truth).sum(1) + 1) / (inside.sum(1) + truth.sum(1) + 1)
        return bce.sum(), dice.sum()


def sampled(target: Target, points, rows=None):
    """Truth and weight at points (R, P, 2)."""
    masks = target.masks if rows is None else target.masks[rows]
    truth = sample_points(masks.float(), points)
    if target.valid is None:
        return truth, torch.ones_like(truth)
    weight = (sample_points(target.valid.float().expand(len(points), -1, -1), points) >= 0.5).float()
    return truth, weight


def pooled(target: Target, size):
    """Truth (M, hw) and weight (hw)."""
    truth = F.adaptive_avg_pool2d(target.masks.float()[None], size)[0].flatten(1) if len(target.labels) else target.masks.new_zeros(0, size[0] * size[1], dtype=torch.float)
    if target.valid is None:
        return truth, truth.new_ones(size[0] * size[1])
    return truth, F.adaptive_avg_pool2d(target.valid.float()[None, None], size).flatten()


def mean_target_count(targets, device) -> float:
    """Mean number of targets per process, at least 1."""
    count = torch.tensor(float(sum(len(target.labels) for target in targets)), device=device)
    world = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        world = torch.distributed.get_world_size()
    return max(count.item() / world, 1.0)
