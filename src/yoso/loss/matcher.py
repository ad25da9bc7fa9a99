"""Bipartite matching of queries and targets (paper, section 3.1)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from yoso.errors import NonFiniteError


class Match(NamedTuple):
    """The matched pairs of one image: query `queries[i]` with target `targets[i]`.

    Attributes:
        queries: query indices in ascending order; min(N, M) of them.
        targets: target index of each; no target occurs twice.
    """

    queries: Int[Tensor, " R"]
    targets: Int[Tensor, " R"]


def class_cost(logits: Float[Tensor, "N L"], labels: Int[Tensor, " M"]) -> Float[Tensor, "N M"]:
    """Return minus the probability that each query assigns to each target's class, -1 to 0.

    Args:
        logits: class logits, the last one `no_object`.
        labels: class index per target, 0 to L - 2.
    """
    return -logits.softmax(-1)[:, labels.long()]


def mask_cost(
    logits: Float[Tensor, "N P"], truth: Float[Tensor, "M P"], weight: Float[Tensor, " P"] | None = None
) -> Float[Tensor, "N M"]:
    """Return the mean binary cross-entropy of every query with every target.

    Since bce(x, t) = softplus(x) - x t, one matrix product computes all pairs.

    Args:
        logits: of each query's mask, at P positions.
        truth: of each target at the same positions, 0 to 1.
        weight: of each position, 0 to 1; None means 1 everywhere. The sum is divided by the sum of the weights, or by
            1 if that is smaller.
    """
    if weight is None:
        return (F.softplus(logits).sum(1, keepdim=True) - logits @ truth.T) / logits.shape[1]
    positive = (F.softplus(logits) @ weight)[:, None]
    return (positive - logits @ (truth * weight).T) / weight.sum().clamp(min=1)


def dice_cost(
    logits: Float[Tensor, "N P"], truth: Float[Tensor, "M P"], weight: Float[Tensor, " P"] | None = None
) -> Float[Tensor, "N M"]:
    """Return the dice loss of every query with every target, 1 - (2 |a b| + 1) / (|a| + |b| + 1), 0 to 1.

    Args:
        logits: of each query's mask, at P positions; a is their sigmoid.
        truth: of each target at the same positions, 0 to 1; b above.
        weight: of each position in the sums, 0 to 1; None means 1 everywhere.
    """
    inside = logits.sigmoid()
    if weight is None:
        common, sizes = inside @ truth.T, inside.sum(1)[:, None] + truth.sum(1)
    else:
        truth = truth * weight
        common, sizes = inside @ truth.T, (inside @ weight)[:, None] + truth.sum(1)
    return 1 - (2 * common + 1) / (sizes + 1)


def assign(costs: Mapping[str, Float[Tensor, "N M"]], image: str, stage: int) -> Match:
    """Return the one-to-one assignment of min(N, M) pairs with the lowest total cost.

    Args:
        costs: weighted terms by name; their sum is minimised.
        image: name of the image, for the error message.
        stage: decoder stage, for the error message.

    Returns:
        The pairs, on the device of the costs.

    Raises:
        NonFiniteError: a term contains NaN or infinity.
    """
    terms = list(costs.values())
    total = torch.stack(terms).sum(0).cpu().numpy()
    if not np.isfinite(total).all():
        bad = [name for name, cost in costs.items() if not bool(torch.isfinite(cost).all())]
        raise NonFiniteError(
            f"{image}: the {' and '.join(bad) or 'total'} cost of matching at stage {stage} is not finite. Lower the "
            "learning rate, train in float32, or start from other weights."
        )
    queries, targets = linear_sum_assignment(total)
    return Match(*(torch.as_tensor(index, device=terms[0].device) for index in (queries, targets)))
