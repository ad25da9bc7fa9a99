"""Instance and semantic results on torch tensors, from the same logits as the panoptic one."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from yoso.postprocess.segments import Sizes
from yoso.postprocess.upsampling import upsampled_strips


@dataclass(frozen=True)
class InstanceResult:
    """The best (query, class) pairs of one image, best first. Masks may overlap, and one mask may occur twice.

    Attributes:
        scores: class probability x mean mask probability inside the mask, 0 to 1, descending.
        class_indices: 0 to K-1.
        masks: at the output's size.
        areas: pixels of each mask; 0 is possible, with score 0.
    """

    scores: Float[Tensor, " I"]
    class_indices: Int[Tensor, " I"]
    masks: Bool[Tensor, "I H W"]
    areas: Int[Tensor, " I"]


@torch.no_grad()
def instances(
    class_logits: Float[Tensor, "N L"], mask_logits: Float[Tensor, "N h w"], sizes: Sizes, top_k: int = 100
) -> InstanceResult:
    """Return the `top_k` best (query, class) pairs as instances, for mask AP.

    The published code ranks by class probability alone to choose the pairs; the score is then multiplied by the mean
    of sigmoid(mask) over the pixels with a positive logit. Classes are not restricted to things.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        top_k: how many at most; fewer if there are fewer pairs.

    Returns:
        Up to `top_k` instances; their masks take `top_k` x H x W bytes.
    """
    probabilities = torch.softmax(class_logits.float(), -1)[:, :-1]
    num_classes = probabilities.shape[1]
    flat = probabilities.flatten()
    scores, pairs = flat.topk(min(top_k, len(flat)))
    queries, place = (pairs // num_classes).unique(return_inverse=True)

    masks = torch.empty(len(pairs), *sizes.output, dtype=torch.bool, device=mask_logits.device)
    areas = torch.zeros(len(queries), dtype=torch.int64, device=mask_logits.device)
    totals = torch.zeros(len(queries), device=mask_logits.device)
    for rows, logits in upsampled_strips(mask_logits, queries, sizes):
        inside = logits > 0
        areas += inside.flatten(1).sum(1)
        totals += (logits.sigmoid_() * inside).flatten(1).sum(1)
        masks[:, rows] = inside[place]

    scores = scores * (totals / (areas + 1e-6))[place]
    order = scores.argsort(descending=True, stable=True)
    return InstanceResult(scores[order], (pairs % num_classes)[order], masks[order], areas[place][order])


@torch.no_grad()
def semantic(
    class_logits: Float[Tensor, "N L"], mask_logits: Float[Tensor, "N h w"], sizes: Sizes
) -> Float[Tensor, "K H W"]:
    """Return a score per class and pixel: the sum over the queries of class probability x sigmoid(mask).

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.

    Returns:
        Non-negative float32 scores at `sizes.output`, 4 K H W bytes; they do not add up to 1. The argmax over
        classes is the semantic segmentation.
    """
    probabilities = torch.softmax(class_logits.float(), -1)[:, :-1]
    scores = probabilities.new_zeros(probabilities.shape[1], *sizes.output)
    queries = torch.arange(len(probabilities), device=mask_logits.device)
    for rows, masks in upsampled_strips(mask_logits, queries, sizes):
        scores[:, rows] = torch.einsum("qk,qrw->krw", probabilities, masks.sigmoid_())
    return scores
