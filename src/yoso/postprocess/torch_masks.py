"""Instance and semantic results on torch tensors, from the same logits as the panoptic one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
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


class InstanceMask(NamedTuple):
    """One query's mask with the instances that share it.

    Attributes:
        mask: (H, W) bool, at the output's size.
        area: its pixels, at least 1.
        class_indices: of the instances, all different.
        scores: of each instance, class probability x mean mask probability inside the mask, 0 to 1.
    """

    mask: np.ndarray
    area: int
    class_indices: list[int]
    scores: list[float]


@torch.no_grad()
def instances(
    class_logits: Float[Tensor, "N L"], mask_logits: Float[Tensor, "N h w"], sizes: Sizes, top_k: int = 100
) -> InstanceResult:
    """Return the `top_k` best (query, class) pairs as instances, for mask AP.

    As in the official implementation, the pairs are chosen by class probability alone; their score is then multiplied
    by the mean of sigmoid(mask) over the pixels with a positive logit. Classes are not restricted to things.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        top_k: maximum number of instances.

    Returns:
        Up to `top_k` instances; their masks take `top_k` x H x W bytes.
    """
    scores, all_queries, class_indices = _best_pairs(class_logits, top_k)
    queries, place = all_queries.unique(return_inverse=True)

    masks = torch.empty(len(scores), *sizes.output, dtype=torch.bool, device=mask_logits.device)
    areas = torch.zeros(len(queries), dtype=torch.int64, device=mask_logits.device)
    totals = torch.zeros(len(queries), device=mask_logits.device)
    for rows, logits in upsampled_strips(mask_logits, queries, sizes):
        inside = logits > 0
        areas += inside.flatten(1).sum(1)
        totals += (logits.sigmoid_() * inside).flatten(1).sum(1)
        masks[:, rows] = inside[place]

    scores = scores * (totals / (areas + 1e-6))[place]
    order = scores.argsort(descending=True, stable=True)
    return InstanceResult(scores[order], class_indices[order], masks[order], areas[place][order])


@torch.no_grad()
def instance_masks(
    class_logits: Float[Tensor, "N L"],
    mask_logits: Float[Tensor, "N h w"],
    sizes: Sizes,
    is_thing: Sequence[bool],
    top_k: int = 100,
) -> Iterator[InstanceMask]:
    """Yield the things that `instances` returns, one mask at a time, in query order.

    As in the official evaluation, the pairs are chosen among all classes, and stuff is left out afterwards. Masks
    without a pixel are left out too. At most one float32 mask, or a strip of it, exists at any time.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.
        is_thing: per class index.
        top_k: maximum number of (query, class) pairs.
    """
    table = torch.stack([column.double() for column in _best_pairs(class_logits, top_k)]).cpu().numpy()
    things = np.array(is_thing, bool)[table[2].astype(np.int64)]
    scores, queries, class_indices = table[0, things], table[1, things], table[2, things]
    for query in np.unique(queries).astype(np.int64):
        mask = torch.empty(sizes.output, dtype=torch.bool, device=mask_logits.device)
        total = torch.zeros((), device=mask_logits.device)
        for rows, logits in upsampled_strips(mask_logits, torch.tensor([query], device=mask_logits.device), sizes):
            mask[rows] = logits[0] > 0
            total += (logits[0].sigmoid_() * mask[rows]).sum()
        if area := int(mask.sum()):
            own = queries == query
            mean = float(total) / (area + 1e-6)
            yield InstanceMask(
                mask.cpu().numpy(), area, class_indices[own].astype(int).tolist(), (scores[own] * mean).tolist()
            )


def _best_pairs(
    class_logits: Float[Tensor, "N L"], top_k: int
) -> tuple[Float[Tensor, " I"], Int[Tensor, " I"], Int[Tensor, " I"]]:
    """Return probability, query and class index of the `top_k` most probable (query, class) pairs."""
    probabilities = torch.softmax(class_logits.float(), -1)[:, :-1]
    num_classes = probabilities.shape[1]
    flat = probabilities.flatten()
    scores, pairs = flat.topk(min(top_k, len(flat)))
    return scores, pairs // num_classes, pairs % num_classes


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
    scores = class_logits.new_zeros(class_logits.shape[1] - 1, *sizes.output, dtype=torch.float32)
    for rows, part in _semantic_strips(class_logits, mask_logits, sizes):
        scores[:, rows] = part
    return scores


@torch.no_grad()
def semantic_classes(
    class_logits: Float[Tensor, "N L"], mask_logits: Float[Tensor, "N h w"], sizes: Sizes
) -> Int32[Tensor, "H W"]:
    """Return the argmax over classes of `semantic`, without its K full-size maps.

    Args:
        class_logits: after the temperature; the last of the L = K + 1 is `no_object`.
        mask_logits: any size; usually stride 4 of the padded image.
        sizes: padded, image and output size in pixels.

    Returns:
        The class index of every pixel, 0 to K-1; 0 everywhere if there is no query.
    """
    classes = torch.zeros(sizes.output, dtype=torch.int32, device=mask_logits.device)
    for rows, part in _semantic_strips(class_logits, mask_logits, sizes):
        classes[rows] = part.argmax(0)
    return classes


def _semantic_strips(
    class_logits: Float[Tensor, "N L"], mask_logits: Float[Tensor, "N h w"], sizes: Sizes
) -> Iterator[tuple[slice, Float[Tensor, "K rows W"]]]:
    probabilities = torch.softmax(class_logits.float(), -1)[:, :-1]
    queries = torch.arange(len(probabilities), device=mask_logits.device)
    for rows, masks in upsampled_strips(mask_logits, queries, sizes):
        yield rows, torch.einsum("qk,qrw->krw", probabilities, masks.sigmoid_())
