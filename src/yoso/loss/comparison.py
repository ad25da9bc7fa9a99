"""Where predicted masks and targets are compared: at random points, or at every position of the mask logits.

Both classes answer two questions: what to compare when matching one image, and what to compare once the queries are
matched. The letter R counts the matched masks of the whole batch.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from yoso.loss.matcher import Match
from yoso.loss.points import ValidPixels, sample_points, uncertain_points
from yoso.structures import Target


class Comparison(NamedTuple):
    """Predictions and truth at the same positions.

    Attributes:
        logits: one row per predicted mask.
        truth: one row per target, 0 to 1.
        weight: of each position, 0 to 1, for all rows or per row; None means 1 everywhere.
    """

    logits: Float[Tensor, "rows P"]
    truth: Float[Tensor, "targets P"]
    weight: Float[Tensor, " P"] | Float[Tensor, "rows P"] | None


class RandomPoints:
    """Compares masks at random points, as the official implementation does; the paper uses 12,544 per mask."""

    def __init__(
        self,
        targets: Sequence[Target],
        num_points: int,
        oversample_ratio: float,
        importance_ratio: float,
        ignore_void: bool,
    ) -> None:
        """Prepare the targets of a batch.

        Args:
            targets: one per image, all of one padded size.
            num_points: points per mask, P.
            oversample_ratio: candidates per point.
            importance_ratio: share of the points chosen where the prediction is least certain, 0 to 1.
            ignore_void: give points on pixels that are not valid a weight of 0.
        """
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.masks = [target.masks.float() for target in targets]
        self.valid = stack_valid(targets) if ignore_void else None

    def for_matching(self, image: int, logits: Float[Tensor, "N h w"]) -> Comparison:
        """Draw `torch.rand(1, P, 2)` and compare all queries of an image with all its targets at these points."""
        points = torch.rand(1, self.num_points, 2, device=logits.device)
        weight = None
        if self.valid is not None:
            weight = ValidPixels(self.valid, torch.tensor([image], device=logits.device)).at(points)[0].float()
        return Comparison(sample_points(logits, points), sample_points(self.masks[image], points), weight)

    def for_loss(self, logits: Float[Tensor, "R h w"], matches: Sequence[Match]) -> Comparison:
        """Draw points for each matched mask, mostly where it is uncertain, and compare it with its target there."""
        valid = None
        if self.valid is not None:
            counts = torch.tensor([len(match.targets) for match in matches], device=logits.device)
            images = torch.arange(len(matches), device=logits.device).repeat_interleave(counts)
            valid = ValidPixels(self.valid, images)
        points = uncertain_points(logits.detach(), self.num_points, self.oversample_ratio, self.importance_ratio, valid)
        rows = points.split([len(match.targets) for match in matches])
        truth = torch.cat([sample_matched(*each) for each in zip(self.masks, matches, rows, strict=True)])
        weight = None if valid is None else valid.at(points).float()
        return Comparison(sample_points(logits, points), truth, weight)


class EveryPosition:
    """Compares masks at every position of the logits; the truth is the share of the position's pixels in the target.

    Nothing is random, and the targets are reduced once for all stages. The matching, which compares all queries with
    all targets, uses means of 2 x 2 positions: a quarter of the work.
    """

    def __init__(self, targets: Sequence[Target], size: tuple[int, int], ignore_void: bool) -> None:
        """Reduce the targets of a batch to the positions of the logits.

        Args:
            targets: one per image, all of one padded size.
            size: (h, w) of the logits; H and W are multiples of them.
            ignore_void: weigh a position by its share of valid pixels; its truth is the target's share of those.

        Raises:
            ValueError: the size of the targets is not a multiple of `size`.
        """
        self.coarse_size = size if size[0] % 2 or size[1] % 2 else (size[0] // 2, size[1] // 2)
        self.truth, self.weight = [], None
        if not ignore_void:
            self.truth = [covered_share(target.masks, size) for target in targets]
        else:
            valid = stack_valid(targets)
            self.weight = covered_share(valid, size)
            for target, usable, weight in zip(targets, valid, self.weight, strict=True):
                share = covered_share(target.masks & usable, size)
                self.truth.append(torch.where(weight > 0, share / weight, 0))
        self.coarse_truth = [self._coarse(image, truth) for image, truth in enumerate(self.truth)]

    def _coarse(self, image: int, maps: Float[Tensor, "R h w"]) -> Float[Tensor, "R P"]:
        if self.weight is None:
            return mean_of_blocks(maps, self.coarse_size).flatten(1)
        weight = self.weight[image]
        share = mean_of_blocks(weight[None], self.coarse_size)
        return torch.where(share > 0, mean_of_blocks(maps * weight, self.coarse_size) / share, 0).flatten(1)

    def for_matching(self, image: int, logits: Float[Tensor, "N h w"]) -> Comparison:
        """Compare all queries of an image with all its targets."""
        weight = None
        if self.weight is not None:
            weight = mean_of_blocks(self.weight[image][None], self.coarse_size).flatten()
        return Comparison(self._coarse(image, logits), self.coarse_truth[image], weight)

    def for_loss(self, logits: Float[Tensor, "R h w"], matches: Sequence[Match]) -> Comparison:
        """Compare each matched mask with its target."""
        truth = torch.cat([truth[match.targets] for truth, match in zip(self.truth, matches, strict=True)])
        weight = None
        if self.weight is not None:
            counts = torch.tensor([len(match.targets) for match in matches], device=logits.device)
            weight = self.weight.repeat_interleave(counts, 0).flatten(1)
        return Comparison(logits.flatten(1), truth.flatten(1), weight)


def sample_matched(masks: Float[Tensor, "M H W"], match: Match, points: Float[Tensor, "R P 2"]) -> Float[Tensor, "R P"]:
    """Sample the target of each pair at the pair's own points."""
    # Reordering the points instead of the masks saves a copy of all masks, unless a target is unmatched.
    targets, order = match.targets.sort()
    if len(targets) < len(masks):
        masks = masks[targets]
    values = points.new_empty(points.shape[:2])
    values[order] = sample_points(masks, points[order])
    return values


def stack_valid(targets: Sequence[Target]) -> Bool[Tensor, "B H W"]:
    """Return which pixels of each image take part; all of them if a target has no `valid`."""
    return torch.stack(
        [
            target.valid if target.valid is not None else target.masks.new_ones(target.masks.shape[-2:])
            for target in targets
        ]
    )


def covered_share(masks: Bool[Tensor, "M H W"], size: tuple[int, int]) -> Float[Tensor, "M h w"]:
    """Return the share of each block of pixels that a mask covers, 0 to 1.

    Args:
        masks: any number of masks.
        size: (h, w) of the result; H and W are at most 15 times as large, and multiples of it.

    Raises:
        ValueError: they are not.
    """
    (height, width), (rows, columns) = masks.shape[-2:], size
    if height % rows or width % columns or max(height // rows, width // columns) > 15:
        raise ValueError(f"targets of {height}x{width} pixels do not fit mask logits of {rows}x{columns}")
    # Adding bytes is eight times faster on a CPU than averaging a float copy, and 15 x 15 fits into a byte.
    count = sum_of_blocks(masks.contiguous().view(torch.uint8), size)
    return count.float() / (height // rows * (width // columns))


def mean_of_blocks(maps: Float[Tensor, "R h w"], size: tuple[int, int]) -> Float[Tensor, "R rows columns"]:
    """Return the mean of each block of positions; `size` divides (h, w)."""
    rows, columns = size
    return sum_of_blocks(maps, size) / (maps.shape[1] // rows * (maps.shape[2] // columns))


def sum_of_blocks(maps: Shaped[Tensor, "R h w"], size: tuple[int, int]) -> Shaped[Tensor, "R rows columns"]:
    """Return the sum of each block of positions, in the dtype of the maps; `size` divides (h, w)."""
    rows, columns = size
    maps = reduce(torch.add, maps.unflatten(1, (rows, maps.shape[1] // rows)).unbind(2))
    return reduce(torch.add, maps.unflatten(2, (columns, maps.shape[2] // columns)).unbind(3))
