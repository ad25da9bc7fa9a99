"""Masks at the output's size, all at once where they are small and strip by strip where they are not."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from yoso.postprocess.segments import CONTENDED_ROWS, RowPlan, Sizes, Taps, contenders, plan_rows, strips

WHOLE_BYTES = {"cpu": 2**23, "cuda": 2**29}
"""Up to this much for the float32 masks of one image they are enlarged all at once; other devices count as "cpu"."""

STRIP_BYTES = {"cpu": 2**23, "cuda": 2**28}
"""Above it they are made in strips of this size: a CPU is fastest where a strip stays in its cache."""


def upsampled_strips(
    mask_logits: Float[Tensor, "N h w"], queries: Int[Tensor, " Q"], sizes: Sizes
) -> Iterator[tuple[slice, Float[Tensor, "Q rows W"]]]:
    """Enlarge the mask logits of some queries to the output's size.

    Bilinear to `sizes.padded`, cropped to `sizes.image`, bilinear to `sizes.output`, as the published code does.
    When strips are needed, vertical steps come before horizontal ones (they commute), so that no more than the strip
    exists at any time and the results differ by rounding only.

    Args:
        mask_logits: of one image, any floating type.
        queries: which masks, on the logits' device.
        sizes: see `Sizes`.

    Yields:
        The slice of output rows, and float32 logits for them, which the caller may overwrite. Nothing at all if there
        is no query.
    """
    num_masks, device = len(queries), mask_logits.device.type
    if num_masks == 0:
        return
    largest = max(sizes.padded[0] * sizes.padded[1], sizes.output[0] * sizes.output[1])
    if 4 * num_masks * largest <= WHOLE_BYTES.get(device, WHOLE_BYTES["cpu"]):
        yield slice(0, sizes.output[0]), _whole(mask_logits[queries].float(), sizes)
        return
    for start, stop in strips(num_masks, sizes, STRIP_BYTES.get(device, STRIP_BYTES["cpu"])):
        plan = plan_rows(start, stop, mask_logits.shape[1], sizes)
        needed = torch.from_numpy(plan.rows).to(mask_logits.device, non_blocking=True)
        yield slice(start, stop), _strip(mask_logits[queries[:, None], needed].float(), plan, sizes)


def contended_strips(
    mask_logits: Float[Tensor, "N h w"], queries: Int[Tensor, " Q"], scores: Float[Tensor, " Q"], sizes: Sizes
) -> Iterator[tuple[slice, Int[Tensor, " C"], Float[Tensor, "C rows W"]]]:
    """Enlarge likewise, but on a CPU only the masks that matter in a strip; elsewhere choosing would cost a wait.

    Args:
        mask_logits: of one image, any floating type.
        queries: which masks compete, on the logits' device.
        scores: of those.
        sizes: see `Sizes`.

    Yields:
        The slice of output rows, which of `queries` matter there (see `contenders`), and the logits of those.
    """
    if mask_logits.device.type != "cpu":
        yield from uncontended_strips(mask_logits, queries, sizes)
        return
    for start, stop in strips(len(queries), sizes, STRIP_BYTES["cpu"], CONTENDED_ROWS):
        plan = plan_rows(start, stop, mask_logits.shape[1], sizes)
        needed = mask_logits[queries[:, None], torch.from_numpy(plan.rows)].float()
        largest, least = (bound.numpy() for bound in (needed.amax((1, 2)), needed.amin((1, 2))))
        chosen = torch.from_numpy(contenders(largest, least, scores.numpy()))
        yield slice(start, stop), chosen, _strip(needed[chosen], plan, sizes)


def uncontended_strips(
    mask_logits: Float[Tensor, "N h w"], queries: Int[Tensor, " Q"], sizes: Sizes
) -> Iterator[tuple[slice, Int[Tensor, " Q"], Float[Tensor, "Q rows W"]]]:
    """Enlarge likewise, every mask in every strip, which asks nothing of the device."""
    everyone = torch.arange(len(queries), device=mask_logits.device)
    for rows, masks in upsampled_strips(mask_logits, queries, sizes):
        yield rows, everyone, masks


def _whole(masks: Float[Tensor, "Q h w"], sizes: Sizes) -> Float[Tensor, "Q H W"]:
    masks = F.interpolate(masks[None], size=sizes.padded, mode="bilinear", align_corners=False)
    masks = masks[:, :, : sizes.image[0], : sizes.image[1]]
    if sizes.image != sizes.output:
        masks = F.interpolate(masks, size=sizes.output, mode="bilinear", align_corners=False)
    return masks[0]


def _strip(masks: Float[Tensor, "Q n w"], plan: RowPlan, sizes: Sizes) -> Float[Tensor, "Q rows W"]:
    """Enlarge the rows that a plan needs."""
    for step in plan.steps:
        masks = _blended_rows(masks, step)
    masks = F.interpolate(masks, size=sizes.padded[1], mode="linear", align_corners=False)
    masks = masks[:, :, : sizes.image[1]]
    if sizes.image[1] != sizes.output[1]:
        masks = F.interpolate(masks, size=sizes.output[1], mode="linear", align_corners=False)
    return masks


def _blended_rows(masks: Float[Tensor, "Q a w"], step: Taps) -> Float[Tensor, "Q b w"]:
    lower, upper, weight = (
        torch.from_numpy(values).to(masks.device, non_blocking=True) for values in (step.lower, step.upper, step.weight)
    )
    weight = weight[:, None]
    return masks.index_select(1, lower).mul_(1 - weight).addcmul_(masks.index_select(1, upper), weight)
