"""Teacher forcing: the stages run a second time with the target's mask for every matched query."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from yoso.loss.comparison import covered_share
from yoso.loss.matcher import Match
from yoso.structures import StageOutputs, Target

GIVEN_LOGIT = 10.0
"""Logit inside a given mask; outside it is the negative."""


class Forced(NamedTuple):
    """The second run of the stages.

    Attributes:
        stages: outputs of the stages 1..T.
        matches: per image, which query was given the mask of which target.
    """

    stages: list[StageOutputs]
    matches: list[Match]


def masks_given(
    mask_logits: Float[Tensor, "B N h w"], targets: Sequence[Target], matches: Sequence[Match]
) -> Float[Tensor, "B N h w"]:
    """Return mask logits in which every matched query has its target's mask; other queries keep their own.

    Args:
        mask_logits: of the proposal stage.
        targets: one per image, with masks of one padded size.
        matches: of the proposal stage.
    """
    given = mask_logits.detach().float().clone()
    size = (given.shape[2], given.shape[3])
    for logits, target, match in zip(given, targets, matches, strict=True):
        covered = covered_share(target.masks[match.targets], size) >= 0.5
        logits[match.queries] = GIVEN_LOGIT * (2.0 * covered - 1)
    return given
