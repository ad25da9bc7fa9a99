"""The semantic loss: the class of each position of the features S, for training only.

A query learns from one mask at a time, and only once that mask is roughly right. Classifying every position with a
linear layer trains the features from the start.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from yoso.loss.comparison import covered_share
from yoso.structures import Target


def semantic_loss(class_logits: Float[Tensor, "B K h w"], targets: Sequence[Target]) -> Float[Tensor, ""]:
    """Return the cross-entropy of the classes at all labelled positions, averaged over images.

    Within an image a class weighs as the square root of its area, so that small classes count for more than their
    share.

    Args:
        class_logits: without `no_object`.
        targets: one per image; a position under several targets counts for each by its covered share.
    """
    batch, num_classes, *size = class_logits.shape
    log_probabilities = class_logits.float().log_softmax(1)
    losses = []
    for image, target in zip(log_probabilities, targets, strict=True):
        share = covered_share(target.masks, (size[0], size[1]))
        truth = image.new_zeros(num_classes, *size).index_add_(0, target.labels.long(), share)
        area = truth.sum((1, 2), keepdim=True)
        truth = truth * area.clamp(min=1).rsqrt()
        losses.append(-(truth * image).sum() / truth.sum().clamp(min=1e-6))
    return torch.stack(losses).sum() / batch
