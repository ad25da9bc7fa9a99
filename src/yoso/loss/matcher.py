"""Bipartite matching: which query answers for which target."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from yoso.errors import NonFiniteError


class Match(NamedTuple):
    """Pairs of one image: `queries[i]` answers for `targets[i]`."""

    queries: Int[Tensor, " R"]
    targets: Int[Tensor, " R"]


def mask_cost(
    logits: Float[Tensor, "N P"], truth: Float[Tensor, "M P"], weight: Float[Tensor, " P"]
) -> Float[Tensor, "N M"]:
    """Binary cross-entropy of every query with every target, averaged over the weighted points.

    bce(x, t) = softplus(x) - x t, so all pairs cost one matrix product.
    """
    softplus = (F.softplus(logits) * weight).sum(1, keepdim=True)
    return (softplus - logits @ (truth * weight).T) / weight.sum().clamp(min=1)


def dice_cost(
    logits: Float[Tensor, "N P"], truth: Float[Tensor, "M P"], weight: Float[Tensor, " P"]
) -> Float[Tensor, "N M"]:
    """Dice loss of every query with every target: 1 - (2 |a b| + 1) / (|a| + |b| + 1)."""
    inside, truth = logits.sigmoid() * weight, truth * weight
    return 1 - (2 * inside @ truth.T + 1) / (inside.sum(1)[:, None] + truth.sum(1) + 1)


def class_cost(logits: Float[Tensor, "N L"], labels: Int[Tensor, " M"]) -> Float[Tensor, "N M"]:
    """Minus the probability of each target's class."""
    return -logits.softmax(-1)[:, labels]


def assign(costs: dict[str, Float[Tensor, "N M"]], where: str) -> Match:
    """Return the cheapest assignment of min(N, M) pairs.

    Args:
        costs: weighted terms by name; their sum is minimised.
        where: image and stage, for the message.

    Raises:
        NonFiniteError: a term is NaN or infinite.
    """
    for name, cost in costs.items():
        if not bool(torch.isfinite(cost).all()):
            raise NonFiniteError(
                f"{where}: the matching cost '{name}' is not finite; the training diverged or the weights are "
                "damaged. Lower the learning rate, or start from another checkpoint"
            )
    total = sum(costs.values())
    queries, targets = linear_sum_assignment(total.cpu().numpy())
    return Match(torch.as_tensor(queries).to(total.device), torch.as_tensor(targets).to(total.device))
