"""The settings of the loss. Loads no torch, so that a command line is parsed at once."""

from dataclasses import dataclass
from typing import Literal

from yoso.errors import ConfigError


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms, used in the loss and in the matching, and where masks are compared.

    Attributes:
        class_weight: of the classes: cross-entropy in the loss, minus the target's class probability in the matching.
        mask_weight: of the masks' binary cross-entropy.
        dice_weight: of the masks' dice loss.
        no_object_weight: of the `no_object` class within the cross-entropy.
        num_points: points per mask, for "points".
        oversample_ratio: candidates per point, at least 1, for "points".
        importance_ratio: share of the points chosen where the prediction is least certain, 0 to 1, for "points".
        mask_sampling: "points" compares masks at random points, as in the paper; "dense" compares them at every
            position of the mask logits and matches on means of 2 x 2 positions, which is deterministic and faster on
            a CPU.
        ignore_void: leave void and crowd pixels out of the mask terms; in the paper they are negatives.
        forced_weight: of the terms of a second run of the stages, in which each matched query pools features under
            its target's mask, so that a stage learns from good masks early. 0, as in the paper, for no second run.
            Training only.
        semantic_weight: of the semantic loss, which classifies each position of the features with a linear layer. 0,
            as in the paper, for none. Training only.
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
    forced_weight: float = 0.0
    semantic_weight: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a weight is negative, there are no points, or a ratio is out of range.
        """
        weights = ("class_weight", "mask_weight", "dice_weight", "no_object_weight")
        for name in (*weights, "forced_weight", "semantic_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"loss.{name} is {getattr(self, name)}; it must not be negative")
        if self.num_points < 1:
            raise ConfigError(f"loss.num_points is {self.num_points}; it must be at least 1")
        if self.oversample_ratio < 1:
            raise ConfigError(f"loss.oversample_ratio is {self.oversample_ratio}; it must be at least 1")
        if not 0 <= self.importance_ratio <= 1:
            raise ConfigError(f"loss.importance_ratio is {self.importance_ratio}; it must be from 0 to 1")
