"""Losses of single positions of the features S, for training only.

A query learns from one mask at a time, and only once its mask is about right. Two plain questions, asked at every
position, teach the features sooner: which class is here, and where is the centre of the object that this belongs to?
Linear layers answer them, so that what they need lies open in S, where kernels can use it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from yoso.loss.comparison import covered_share
from yoso.structures import Target


def semantic_loss(class_logits: Float[Tensor, "B K h w"], targets: Sequence[Target]) -> Float[Tensor, ""]:
    """Return the cross-entropy of the classes at all labelled positions, averaged over images.

    Within an image a class weighs as the square root of its area: small ones count for more than their share.

    Args:
        class_logits: without `no_object`.
        targets: one per image; positions under several targets count for each by its share.
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


def center_loss(
    codes: Float[Tensor, "B D h w"],
    targets: Sequence[Target],
    is_thing: Bool[Tensor, " K"],
    num_targets: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Return the squared error of the code of the centre of each position's object: mean per object, summed over them.

    Args:
        codes: what the network says; D is a multiple of 4, see `center_codes`.
        targets: one per image.
        is_thing: per class index.
        num_targets: what the sum is divided by.
    """
    size, total = (codes.shape[2], codes.shape[3]), codes.float().sum() * 0
    for said, target in zip(codes.float(), targets, strict=True):
        share = covered_share(target.masks[is_thing[target.labels.long()]], size)
        area = share.sum((1, 2))
        share, area = share[area > 0].flatten(1), area[area > 0]
        wanted = center_codes(share.unflatten(1, size), codes.shape[1] // 4)
        said = said.flatten(1)
        # |a - b|^2 = |a|^2 - 2 a b + |b|^2, so that one matrix product serves all objects and positions.
        error = said.square().sum(0) - 2 * wanted @ said + wanted.square().sum(1, keepdim=True)
        total = total + ((error * share).sum(1) / area).sum() / codes.shape[1]
    return total / num_targets


def center_codes(share: Float[Tensor, "M h w"], frequencies: int) -> Float[Tensor, "M D"]:
    """Return sine and cosine of pi 2^k x and of pi 2^k y for k below `frequencies`, (x, y) the centres of masks.

    Args:
        share: masks of at least some area; x and y run from -1 to 1 over them.
        frequencies: D / 4.
    """
    area = share.sum((1, 2))
    y = torch.linspace(-1, 1, share.shape[1], device=share.device)
    x = torch.linspace(-1, 1, share.shape[2], device=share.device)
    centers = torch.stack([share.sum(1) @ x / area, share.sum(2) @ y / area], dim=1)
    angles = [torch.pi * 2**k * centers for k in range(frequencies)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
