"""Masks at the output's size: all at once where they are small, strip by strip where they are not."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from yoso.postprocess.segments import CONTENDED_ROWS, RowPlan, Sizes, Taps, contenders, plan_rows, strips

WHOLE_BYTES = {"cpu": 2**23, "cuda": 2**29}
"""Float32 masks of one image up to this size are upsampled all at once; other devices count as "cpu"."""

STRIP_BYTES = {"cpu": 2**23, "cuda": 2**28}
"""Larger ones are made in strips of this size: a CPU is fastest if a strip stays in its cache."""


def upsampled_strips(
    mask_logits: Float[Tensor, "N h w"], queries: Int[Tensor, " Q"], sizes: Sizes
) -> Iterator[tuple[slice, Float[Tensor, "Q rows W"]]]:
    """Upsample the mask logits of some queries to the output's size.

    As in the official implementation: bilinear to `sizes.padded`, cropped to `sizes.image`, bilinear to `sizes.output`.
    If strips are needed, vertical steps come before horizontal ones (they commute), so that only one strip exists at
    any time; results differ by rounding only.

    Args:
        mask_logits: of one image, any floating type.
        queries: which masks, on the logits' device.
        sizes: see `Sizes`.

    Yields:
        The slice of output rows, and float32 logits for them, which the caller may overwrite. Nothing if there is no
        query.
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
) -> Iterator[tuple[slice, Int[Tensor, " J"], Float[Tensor, "J rows W"]]]:
    """Upsample as `upsampled_strips` does; on a CPU, only the masks that matter in each strip.

    On other devices every mask is upsampled, because choosing would make the host wait.

    Args:
        mask_logits: of one image, any floating type.
        queries: which masks compete, on the logits' device.
        scores: of those queries.
        sizes: see `Sizes`.

    Yields:
        The slice of output rows, which of `queries` matter there (see `contenders`), and their logits.
    """
    if mask_logits.device.type != "cpu":
        yield from uncontended_strips(mask_logits, queries, sizes)
        return
    for start, stop in strips(len(queries), sizes, STRIP_BYTES["cpu"], CONTENDED_ROWS):
        plan = plan_rows(start, stop, mask_logits.shape[1], sizes)
        needed = mask_logits[queries[:, None], torch.from_numpy(plan.rows)].float()
        largest, smallest = (bound.numpy() for bound in (needed.amax((1, 2)), needed.amin((1, 2))))
        chosen = torch.from_numpy(contenders(largest, smallest, scores.numpy()))
        yield slice(start, stop), chosen, _strip(needed[chosen], plan, sizes)


def uncontended_strips(
    mask_logits: Float[Tensor, "N h w"], queries: Int[Tensor, " Q"], sizes: Sizes
) -> Iterator[tuple[slice, Int[Tensor, " Q"], Float[Tensor, "Q rows W"]]]:
    """Upsample every mask in every strip; the host never waits for the device."""
    everyone = torch.arange(len(queries), device=mask_logits.device)
    for rows, masks in upsampled_strips(mask_logits, queries, sizes):
        yield rows, everyone, masks


def _whole(masks: Float[Tensor, "Q h w"], sizes: Sizes) -> Float[Tensor, "Q H W"]:
    masks = F.interpolate(masks[None], size=sizes.padded, mode="bilinear", align_corners=False)
    masks = masks[:, :, : sizes.image[0], : sizes.image[1]]
    if sizes.image != sizes.output:
        masks = F.interpolate(masks, size=sizes.output, mode="bilinear", align_corners=False)
    return masks[0]


def _strip(masks: Float[Tensor, "J n w"], plan: RowPlan, sizes: Sizes) -> Float[Tensor, "J rows W"]:
    """Make the output rows of a plan from the n rows of the logits that it needs."""
    for step in plan.steps:
        masks = _blended_rows(masks, step)
    masks = F.interpolate(masks, size=sizes.padded[1], mode="linear", align_corners=False)
    masks = masks[:, :, : sizes.image[1]]
    if sizes.image[1] != sizes.output[1]:
        masks = F.interpolate(masks, size=sizes.output[1], mode="linear", align_corners=False)
    return masks


def _blended_rows(masks: Float[Tensor, "J n w"], step: Taps) -> Float[Tensor, "J rows w"]:
    lower, upper, weight = (
        torch.from_numpy(values).to(masks.device, non_blocking=True) for values in (step.lower, step.upper, step.weight)
    )
    weight = weight[:, None]
    return masks.index_select(1, lower).mul_(1 - weight).addcmul_(masks.index_select(1, upper), weight)
